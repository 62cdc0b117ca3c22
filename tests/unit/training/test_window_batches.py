from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.dataset.histories import Histories
from raysys.training.window_batches import WindowBatches
from tests.unit.histories import (
    LENGTHS,
    check_that_batches_say_what_each_target_came_after,
    check_that_each_interaction_but_the_first_is_learnt_once,
    histories_of,
    numbered,
    with_weights,
)


def windows(
    histories: Histories, rows: int = 2, window: int = 4, half_life=None, seed=(0,), time_gaps=False
):
    return WindowBatches(
        histories,
        num_rows=rows,
        window=window,
        half_life=half_life,
        time_gaps=time_gaps,
        seed=seed,
    )


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(2, 9), st.integers(0, 5))
def test_every_interaction_but_the_first_is_learnt_once_per_epoch(lengths, rows, window, epoch):
    histories = numbered(lengths)
    batches = windows(histories, rows, window)
    check_that_each_interaction_but_the_first_is_learnt_once(
        histories, batches.epoch(epoch), batches.num_examples
    )


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(2, 9))
def test_what_a_user_had_seen_stands_beside_each_target_also_behind_a_cut(lengths, rows, window):
    histories = numbered(lengths)
    check_that_batches_say_what_each_target_came_after(
        histories, windows(histories, rows, window).epoch(0)
    )


@settings(max_examples=60, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(2, 9))
def test_a_piece_is_a_stretch_of_one_history_and_of_a_row_at_most_one_piece(lengths, rows, window):
    histories = numbered(lengths)
    owner = {
        int(item): row for row in range(len(histories)) for item in histories.of(row)[0].tolist()
    }
    for batch in windows(histories, rows, window).epoch(0):
        for inputs, pieces in zip(batch.inputs.item_nums, batch.pieces, strict=True):
            is_item = pieces > 0
            owners = [owner[int(item)] for item in inputs[is_item]]
            for place in range(1, len(owners)):
                is_same = pieces[place] == pieces[place - 1]
                assert is_same == (owners[place] == owners[place - 1])
                if is_same:
                    assert inputs[place] == inputs[place - 1] + 1
            assert [batch.users[piece - 1] for piece in pieces[is_item]] == owners


@settings(max_examples=30, deadline=None)
@given(LENGTHS, st.integers(1, 8), st.integers(2, 9))
def test_only_the_end_of_the_last_batch_is_padding(lengths, rows, window):
    batches = list(windows(numbered(lengths), rows, window).epoch(0))
    for batch in batches[:-1]:
        assert batch.inputs.item_nums.shape == (rows, window)
        assert batch.inputs.item_nums.all()
    for batch in batches[-1:]:
        pieces = batch.pieces.ravel()
        num_filled = int((pieces > 0).sum())
        assert pieces[:num_filled].all()
        assert len(pieces) - num_filled < window
        assert not batch.inputs.item_nums.ravel()[num_filled:].any()
        assert not batch.targets.ravel()[num_filled:].any()


def test_a_history_longer_than_a_window_goes_on_in_the_next_row():
    (batch,) = windows(histories_of([[1, 2, 3, 4, 5, 6]]), rows=2, window=3).epoch(0)
    assert batch.inputs.item_nums.tolist() == [[1, 2, 3], [4, 5, 0]]
    assert batch.targets.tolist() == [[2, 3, 4], [5, 6, 0]]
    assert batch.pieces.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert batch.weights.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_recency_halves_the_weight_every_half_life_back_from_the_newest():
    # Ages of the targets 2, 3, 4, 5 are 3, 2, 1, 0; half-life 2.
    (batch,) = windows(histories_of([[1, 2, 3, 4, 5]]), half_life=2.0).epoch(0)
    assert batch.weights[0].tolist() == pytest.approx([0.5**1.5, 0.5, 0.5**0.5, 1.0])


def test_age_is_counted_from_the_newest_also_in_later_rows():
    (batch,) = windows(histories_of([[1, 2, 3, 4, 5]]), window=3, half_life=1.0).epoch(0)
    assert batch.weights.ravel().tolist() == pytest.approx([1 / 8, 1 / 4, 1 / 2, 1, 0, 0])


def test_an_unknown_item_is_read_but_never_learnt():
    (batch,) = windows(histories_of([[1, 0, 2]])).epoch(0)
    assert batch.inputs.item_nums[0].tolist() == [1, 0, 0, 0]
    assert batch.targets[0].tolist() == [0, 2, 0, 0]
    assert batch.weights[0].tolist() == [0, 1, 0, 0]
    assert batch.pieces[0].tolist() == [1, 1, 0, 0]


def test_what_weighs_nothing_is_read_but_never_learnt():
    batches = windows(with_weights(1, 0, 0.25))
    (batch,) = batches.epoch(0)
    assert batch.inputs.item_nums[0].tolist() == [1, 2, 0, 0]
    assert batch.targets[0].tolist() == [0, 3, 0, 0]
    assert batch.weights[0].tolist() == [0, 0.25, 0, 0]
    assert batches.num_examples == 1


def test_a_history_without_a_target_is_not_read():
    assert list(windows(with_weights(1, 0, 0)).epoch(0)) == []
    assert list(windows(histories_of([[1, 0, 0], [5], []])).epoch(0)) == []


def test_an_epoch_is_the_same_on_every_run_and_differs_from_the_next():
    def order(epoch: int, seed: int = 0) -> list[int]:
        batches = windows(numbered([3] * 20), seed=(seed,)).epoch(epoch)
        return [int(item) for batch in batches for item in batch.inputs.item_nums.flat]

    assert order(0) == order(0)
    assert order(0) != order(1)
    assert order(0) != order(0, seed=1)


def test_types_and_gaps_stand_beside_their_items_and_a_cut_begins_anew():
    times = [0, 1, 3, 7, 15, 31]  # seconds; gaps of 1, 2, 4, 8, 16, whose numbers are 2 to 6
    histories = Histories.from_lists(
        ["ann", "bob"],
        [[1, 2, 3, 4, 5, 6], [7, 8]],
        [np.array(each) * 1_000_000 for each in (times, [100, 101])],
        event_types=[[1, 2, 1, 2, 1, 2], [1, 0]],
    )
    by_item = {1: (1, 0), 2: (2, 2), 3: (1, 3), 4: (2, 4), 5: (1, 5), 7: (1, 0)}
    for batch in windows(histories, rows=4, window=4, time_gaps=True).epoch(0):
        items, types, gaps = batch.inputs
        for row, place in np.argwhere(items):
            kind, gap = by_item[items[row, place]]
            is_after_a_cut = place == 0 or batch.pieces[row, place] != batch.pieces[row, place - 1]
            assert types[row, place] == kind
            assert gaps[row, place] == (0 if is_after_a_cut else gap)
        assert not types[items == 0].any()
        assert not gaps[items == 0].any()


def test_gaps_are_not_worked_out_where_nobody_reads_them():
    (batch,) = windows(histories_of([[1, 2, 3]])).epoch(0)
    assert batch.inputs.gaps is None
    assert batch.inputs.event_types is None


def test_the_contexts_are_those_of_the_targets_in_their_order():
    histories = replace(
        histories_of([[1, 2, 3, 4], [5, 0, 6]]), contexts=np.array([10, 20, 30, 40, 50, 60, 70])
    )
    context_of = {2: 20, 3: 30, 4: 40, 6: 70}
    for batch in windows(histories, rows=1, window=3).epoch(0):
        found = [context_of[item] for item in batch.targets.ravel().tolist() if item]
        assert batch.contexts.tolist() == found
