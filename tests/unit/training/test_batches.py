from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.dataset.histories import Histories
from raysys.training.batches import PairBatches, SegmentBatches


def histories_of(lists: list[list[int]]) -> Histories:
    names = [f"user-{row}" for row in range(len(lists))]
    return Histories.from_lists(names, lists, [range(len(items)) for items in lists])


def numbered(lengths: list[int]) -> Histories:
    """Histories in which no two interactions share an item, so that an item names its place."""
    begins = np.cumsum([1, *lengths])
    return histories_of([list(range(b, b + n)) for b, n in zip(begins, lengths, strict=False)])


def segments(histories: Histories, lanes: int = 2, steps: int = 3, half_life=None, seed=(0,)):
    return SegmentBatches(
        histories, num_lanes=lanes, num_steps=steps, half_life=half_life, seed=seed
    )


LENGTHS = st.lists(st.integers(0, 40), max_size=30)


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(1, 9), st.integers(0, 5))
def test_every_interaction_but_the_first_is_learnt_once_per_epoch(lengths, lanes, steps, epoch):
    histories = numbered(lengths)
    learnt = Counter(
        (int(before), int(after))
        for batch in segments(histories, lanes, steps).epoch(epoch)
        for before, after in zip(batch.inputs.flat, batch.targets.flat, strict=True)
        if after
    )
    expected = Counter(
        (int(before), int(after))
        for row in range(len(histories))
        for before, after in zip(histories.of(row)[0][:-1], histories.of(row)[0][1:], strict=True)
    )
    assert learnt == expected
    assert segments(histories, lanes, steps).num_examples == sum(expected.values())


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(1, 9))
def test_a_state_is_carried_only_along_one_history_and_never_skips(lengths, lanes, steps):
    histories = numbered(lengths)
    owner = {
        int(item): row for row in range(len(histories)) for item in histories.of(row)[0].tolist()
    }
    firsts = {int(histories.of(row)[0][0]) for row in range(len(histories)) if lengths[row]}
    before = None
    for batch in segments(histories, lanes, steps).epoch(0):
        for column, continued in enumerate(batch.continues):
            first = int(batch.inputs[0, column])
            if continued < 0:
                assert first in firsts
            else:
                last = int(before.inputs[-1, continued])  # a segment that goes on is full
                assert owner[first] == owner[last]
                assert first == last + 1
        carried = batch.continues[batch.continues >= 0]
        assert len(set(carried)) == len(carried)
        before = batch


def test_a_batch_holds_no_idle_lane():
    for batch in segments(numbered([9, 2, 5, 30, 1, 3]), lanes=3).epoch(0):
        assert (batch.targets[0] != 0).all()


def test_a_short_last_segment_is_masked():
    (batch,) = segments(histories_of([[5, 6, 7]]), steps=4).epoch(0)
    assert batch.inputs[:, 0].tolist() == [5, 6, 0, 0]
    assert batch.targets[:, 0].tolist() == [6, 7, 0, 0]
    assert batch.weights[:, 0].tolist() == [1, 1, 0, 0]


def test_recency_halves_the_weight_every_half_life_back_from_the_newest():
    # Ages of the targets 2, 3, 4, 5 are 3, 2, 1, 0; half-life 2.
    (batch,) = segments(histories_of([[1, 2, 3, 4, 5]]), steps=4, half_life=2.0).epoch(0)
    by_hand = [0.5**1.5, 0.5, 0.5**0.5, 1.0]
    assert batch.weights[:, 0].tolist() == pytest.approx(by_hand)


def test_age_is_counted_from_the_newest_also_in_later_segments():
    first, second = segments(histories_of([[1, 2, 3, 4, 5]]), steps=3, half_life=1.0).epoch(0)
    assert first.weights[:, 0].tolist() == pytest.approx([1 / 8, 1 / 4, 1 / 2])
    assert second.weights[:, 0].tolist() == pytest.approx([1, 0, 0])


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(1, 9))
def test_a_batch_says_what_each_target_came_after(lengths, lanes, steps):
    histories = numbered(lengths)
    before = {
        int(item): set(histories.of(row)[0][:place].tolist())
        for row in range(len(histories))
        for place, item in enumerate(histories.of(row)[0])
    }
    for batch in segments(histories, lanes, steps).epoch(0):
        targets = batch.targets[batch.targets != 0]
        assert (np.diff(batch.seen.queries) >= 0).all()
        for query, target in enumerate(targets.tolist()):
            seen = batch.seen.item_nums[batch.seen.queries == query]
            assert set(seen.tolist()) == before[target]
            assert len(seen) == len(before[target])


def test_an_unknown_item_is_read_but_never_learnt():
    (batch,) = segments(histories_of([[1, 0, 2]])).epoch(0)
    assert batch.inputs[:, 0].tolist() == [1, 0, 0]
    assert batch.targets[:, 0].tolist() == [0, 2, 0]
    assert batch.weights[:, 0].tolist() == [0, 1, 0]


def with_weights(*weights: float) -> Histories:
    """One history of the items 1, 2, … with these weights."""
    items = range(1, len(weights) + 1)
    given = [np.array(weights, np.float32)]
    return Histories.from_lists(["ann"], [items], [range(len(weights))], weights=given)


def test_what_weighs_nothing_is_read_but_never_learnt():
    batches = segments(with_weights(1, 0, 0.25), half_life=None)
    (batch,) = batches.epoch(0)
    assert batch.inputs[:, 0].tolist() == [1, 2, 0]
    assert batch.targets[:, 0].tolist() == [0, 3, 0]
    assert batch.weights[:, 0].tolist() == [0, 0.25, 0]
    assert batches.num_examples == 1


def test_weights_and_recency_multiply():
    # Ages of the targets 2, 3, 4 are 2, 1, 0.
    (batch,) = segments(with_weights(1, 0.5, 1, 0.25), half_life=1.0).epoch(0)
    assert batch.weights[:, 0].tolist() == pytest.approx([0.125, 0.5, 0.25])


def test_a_history_without_a_target_is_not_read():
    assert list(segments(with_weights(1, 0, 0)).epoch(0)) == []
    assert list(segments(histories_of([[1, 0, 0]])).epoch(0)) == []


def test_pairs_have_their_weights_and_those_of_none_are_left_out():
    batches = PairBatches(with_weights(1, 0, 0.25), np.array([7]), batch_size=5, seed=(0,))
    (batch,) = batches.epoch(0)
    assert sorted(zip(batch.item_nums, batch.weights, strict=True)) == [(1, 1), (3, 0.25)]
    assert batches.num_examples == 2


def test_an_epoch_is_the_same_on_every_run_and_differs_from_the_next():
    def order(epoch: int, seed: int = 0) -> list[int]:
        batches = segments(numbered([3] * 20), lanes=1, seed=(seed,)).epoch(epoch)
        return [int(batch.inputs[0, 0]) for batch in batches]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, seed=1)


@settings(max_examples=30, deadline=None)
@given(LENGTHS, st.integers(1, 50))
def test_every_interaction_is_one_pair_per_epoch(lengths, batch_size):
    histories = numbered(lengths)
    user_nums = np.arange(len(lengths)) + 10
    batches = list(PairBatches(histories, user_nums, batch_size=batch_size, seed=(0,)).epoch(0))
    found = Counter(
        (int(user), int(item))
        for batch in batches
        for user, item in zip(batch.user_nums, batch.item_nums, strict=True)
    )
    expected = Counter(
        (row + 10, int(item)) for row in range(len(lengths)) for item in histories.of(row)[0]
    )
    assert found == expected
    assert all(len(batch.item_nums) == batch_size for batch in batches[:-1])


def test_pairs_are_drawn_anew_for_every_epoch_and_alike_on_every_run():
    def order(epoch: int) -> list[int]:
        batches = PairBatches(numbered([20]), np.array([1]), batch_size=7, seed=(0,))
        return [int(item) for batch in batches.epoch(epoch) for item in batch.item_nums]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_pairs_of_unknown_items_are_left_out():
    batches = PairBatches(histories_of([[0, 3, 0]]), np.array([1]), batch_size=5, seed=(0,))
    (batch,) = batches.epoch(0)
    assert batch.item_nums.tolist() == [3]
    assert batches.num_examples == 1
