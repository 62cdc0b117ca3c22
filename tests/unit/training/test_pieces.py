"""What a worker learns from: its users' train parts, but for the users of unusual length."""

import numpy as np
import pytest

from raysys.config import (
    GruConfig,
    LeaveLastOut,
    PipelineConfig,
    RandomSplit,
    TimeSplit,
    TwoTowerConfig,
)
from raysys.dataset.histories import SEEN_ONLY, Histories
from raysys.dataset.splits import split
from raysys.training.pieces import length_bounds, pieces_of
from tests.unit.dataset.builders import together

SPLITS = [
    LeaveLastOut(),
    RandomSplit(test_share=0.2, validation_share=0.2, seed=1),
    TimeSplit(test_share=0.2, validation_share=0.2),
]


def of_lengths(lengths: list[int]) -> Histories:
    random = np.random.default_rng(0)
    return Histories.from_lists(
        [f"user-{row:03}" for row in range(len(lengths))],
        [random.integers(1, 20, n) for n in lengths],
        [np.sort(random.integers(0, 1000, n)) for n in lengths],
    )


def as_lists(histories: Histories) -> dict[str, list[int]]:
    ids = histories.user_ids.to_pylist()
    return {user: histories.of(row)[0].tolist() for row, user in enumerate(ids)}


@pytest.mark.parametrize("config", SPLITS, ids=lambda config: config.kind)
def test_workers_together_have_the_pieces_that_evaluation_splits_off(config):
    histories = of_lengths([5, 1, 9, 2, 7, 3])
    expected = split(histories, config)
    shares = [histories.take(rows) for rows in ([0, 2, 4], [1, 3, 5], [])]

    parts = together(
        lambda share, total: pieces_of(share, PipelineConfig(split=config), total), shares
    )

    assert as_lists(parts[0].train) | as_lists(parts[1].train) == as_lists(expected.train)
    for name in ("histories", "relevant"):
        found = {}
        for part in parts:
            found |= as_lists(getattr(part.validation, name))
        assert found == as_lists(getattr(expected.validation, name))
    assert (len(parts[2].train), len(parts[2].validation)) == (0, 0)


@pytest.mark.parametrize(
    ("num_users", "low", "high", "expected"),
    [
        (100, 0.0, 1.0, (1, 100)),
        (100, 0.0, 0.99, (1, 99)),  # one of a hundred is above
        (99, 0.0, 0.99, (1, 99)),  # 0.99 users round to none
        (200, 0.05, 0.95, (11, 190)),
        (100, 0.29, 1.0, (30, 100)),  # 0.29 * 100 is 28.999999999999996
        (100, 0.5, 0.5, (51, 50)),  # nobody
        (100, 1.0, 1.0, (100, 100)),
        (100, 0.0, 0.0, (1, 1)),
        (1, 0.3, 0.6, (1, 1)),
    ],
)
def test_the_bounds_leave_the_share_of_users_outside(num_users, low, high, expected):
    assert length_bounds(np.arange(1, num_users + 1), low, high) == expected


def test_users_of_one_length_stay_together():
    assert length_bounds(np.array([2] * 90 + [5] * 10), 0.05, 0.95) == (2, 5)


def test_users_without_interactions_are_no_users():
    assert length_bounds(np.array([0] * 500 + [*range(1, 101)]), 0.01, 0.99) == (2, 99)
    assert length_bounds(np.array([0, 0]), 0.0, 1.0) == (0, 0)


def learnt(histories: Histories, **model: float) -> list[int]:
    config = PipelineConfig(model=GruConfig(**model))
    return pieces_of(histories, config).train.lengths.tolist()


def test_users_with_the_longest_histories_are_not_learnt_if_so_set():
    lengths = [*range(3, 203)]  # two each are held back
    assert learnt(of_lengths(lengths)) == [*range(1, 201)]
    high = {"max_user_history_length_percentile": 0.99}
    assert learnt(of_lengths(lengths), **high) == [*range(1, 199)]
    both = {"min_user_history_length_percentile": 0.1, "max_user_history_length_percentile": 1.0}
    assert learnt(of_lengths(lengths), **both) == [*range(21, 201)]


def test_lengths_are_those_of_all_workers():
    histories = of_lengths([*range(3, 203)])
    shares = [histories.take([*range(150)]), histories.take([*range(150, 200)])]
    config = PipelineConfig(model=GruConfig(max_user_history_length_percentile=0.99))
    parts = together(lambda share, total: pieces_of(share, config, total), shares)
    assert [len(part.train) for part in parts] == [150, 48]


def test_users_of_every_length_are_validated():
    config = PipelineConfig(model=GruConfig(max_user_history_length_percentile=0.99))
    assert len(pieces_of(of_lengths([*range(3, 203)]), config).validation) == 200


def test_a_model_of_users_learns_all_of_them():
    config = PipelineConfig(model=TwoTowerConfig())
    assert len(pieces_of(of_lengths([*range(3, 203)]), config).train) == 200


def test_what_only_counts_as_seen_is_not_learnt_from():
    weights = [np.array([1, SEEN_ONLY, 0, 1, 1], np.float32)]
    histories = Histories.from_lists(["ann"], [[1, 2, 3, 4, 5]], [range(5)], weights=weights)
    pieces = pieces_of(histories, PipelineConfig())
    assert pieces.train.item_nums.tolist() == [1, 3]
    assert pieces.validation.histories.item_nums.tolist() == [1, 2, 3]
