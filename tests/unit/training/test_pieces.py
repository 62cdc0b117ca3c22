import numpy as np
import pytest

from raysys.config import LeaveLastOut, RandomSplit, TimeSplit
from raysys.dataset.histories import Histories
from raysys.dataset.splits import split
from raysys.training.pieces import needs_all_users, pieces_of, pieces_of_all

CONFIGS = [
    LeaveLastOut(),
    RandomSplit(test_share=0.2, validation_share=0.2, seed=1),
    TimeSplit(test_share=0.2, validation_share=0.2),
]


def some_histories() -> Histories:
    random = np.random.default_rng(0)
    lengths = [5, 1, 9, 2, 7, 3]
    return Histories.from_lists(
        [f"user-{row}" for row in range(6)],
        [random.integers(1, 20, n) for n in lengths],
        [np.sort(random.integers(0, 1000, n)) for n in lengths],
    )


def as_lists(histories: Histories) -> dict[str, list[int]]:
    ids = histories.user_ids.to_pylist()
    return {user: histories.of(row)[0].tolist() for row, user in enumerate(ids)}


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_workers_together_have_the_pieces_that_evaluation_splits_off(config):
    histories = some_histories()
    expected = split(histories, config)
    of_all = pieces_of_all(histories, config) if needs_all_users(config) else None

    parts = [pieces_of(histories.take(rows), of_all) for rows in ([0, 2, 4], [1, 3, 5])]

    assert as_lists(parts[0].train) | as_lists(parts[1].train) == as_lists(expected.train)
    for name in ("histories", "relevant"):
        together = {}
        for part in parts:
            together |= as_lists(getattr(part.validation, name))
        assert together == as_lists(getattr(expected.validation, name))


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.kind)
def test_a_worker_without_users_has_nothing(config):
    histories = some_histories()
    of_all = pieces_of_all(histories, config) if needs_all_users(config) else None
    pieces = pieces_of(histories.take([]), of_all)
    assert (len(pieces.train), len(pieces.validation)) == (0, 0)
