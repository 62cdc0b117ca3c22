from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.dataset.histories import Histories
from raysys.training.segment_batches import SegmentBatches
from tests.unit.histories import (
    LENGTHS,
    check_that_batches_say_what_each_target_came_after,
    check_that_each_interaction_but_the_first_is_learnt_once,
    histories_of,
    numbered,
    with_weights,
)


def segments(
    histories: Histories, lanes: int = 2, steps: int = 3, half_life=None, seed=(0,), time_gaps=False
):
    return SegmentBatches(
        histories,
        num_lanes=lanes,
        num_steps=steps,
        half_life=half_life,
        time_gaps=time_gaps,
        seed=seed,
    )


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(1, 9), st.integers(0, 5))
def test_every_interaction_but_the_first_is_learnt_once_per_epoch(lengths, lanes, steps, epoch):
    histories = numbered(lengths)
    batches = segments(histories, lanes, steps)
    check_that_each_interaction_but_the_first_is_learnt_once(
        histories, batches.epoch(epoch), batches.num_examples
    )


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
            first = int(batch.inputs.item_nums[0, column])
            if continued < 0:
                assert first in firsts
            else:
                last = int(before.inputs.item_nums[-1, continued])  # a segment that goes on is full
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
    assert batch.inputs.item_nums[:, 0].tolist() == [5, 6, 0, 0]
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
    check_that_batches_say_what_each_target_came_after(
        histories, segments(histories, lanes, steps).epoch(0)
    )


def test_an_unknown_item_is_read_but_never_learnt():
    (batch,) = segments(histories_of([[1, 0, 2]])).epoch(0)
    assert batch.inputs.item_nums[:, 0].tolist() == [1, 0, 0]
    assert batch.targets[:, 0].tolist() == [0, 2, 0]
    assert batch.weights[:, 0].tolist() == [0, 1, 0]


def test_what_weighs_nothing_is_read_but_never_learnt():
    batches = segments(with_weights(1, 0, 0.25), half_life=None)
    (batch,) = batches.epoch(0)
    assert batch.inputs.item_nums[:, 0].tolist() == [1, 2, 0]
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


def test_an_epoch_is_the_same_on_every_run_and_differs_from_the_next():
    def order(epoch: int, seed: int = 0) -> list[int]:
        batches = segments(numbered([3] * 20), lanes=1, seed=(seed,)).epoch(epoch)
        return [int(batch.inputs.item_nums[0, 0]) for batch in batches]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, seed=1)


def test_types_and_gaps_stand_beside_their_items_and_go_on_in_the_next_segment():
    histories = Histories.from_lists(
        ["ann"],
        [[1, 2, 3, 4, 5]],
        [np.array([0, 1, 3, 7, 15]) * 1_000_000],
        event_types=[[1, 2, 1, 2, 1]],
    )
    first, second = segments(histories, steps=3, time_gaps=True).epoch(0)
    assert first.inputs.event_types[:, 0].tolist() == [1, 2, 1]
    assert first.inputs.gaps[:, 0].tolist() == [0, 2, 3]  # 1 s and 2 s
    assert second.inputs.item_nums[:, 0].tolist() == [4, 0, 0]
    assert second.inputs.event_types[:, 0].tolist() == [2, 0, 0]
    assert second.inputs.gaps[:, 0].tolist() == [4, 0, 0]  # 4 s after what the first read last


def test_nothing_that_is_read_tells_when_a_target_was_taken():
    def inputs(newest_s: int) -> list[list[int]]:
        times = np.array([0, 1, newest_s]) * 1_000_000
        histories = Histories.from_lists(["ann"], [[1, 2, 3]], [times])
        (batch,) = segments(histories, time_gaps=True).epoch(0)
        return batch.inputs.gaps.tolist()

    assert inputs(2) == inputs(10**6)


def test_the_contexts_are_those_of_the_targets_in_their_order():
    histories = replace(
        histories_of([[1, 2, 3, 4], [5, 0, 6]]), contexts=np.array([10, 20, 30, 40, 50, 60, 70])
    )
    context_of = {2: 20, 3: 30, 4: 40, 6: 70}
    for batch in segments(histories).epoch(0):
        found = [context_of[item] for item in batch.targets.ravel().tolist() if item]
        assert batch.contexts.tolist() == found
