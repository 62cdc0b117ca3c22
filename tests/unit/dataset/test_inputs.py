"""What is read of interactions: items, types of events, and gaps in numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.dataset.histories import Histories
from raysys.dataset.inputs import NUM_GAPS, gap_numbers, inputs_at, newest_inputs
from tests.unit.histories import histories_of

SECOND_US = 1_000_000
DAY_US = 86_400 * SECOND_US
# ann: 4 interactions, bob: none, cat: 1
ANN_BOB_CAT = Histories.from_lists(
    ["ann", "bob", "cat"],
    [[7, 8, 7, 9], [], [5]],
    [np.array([0, 0, 3, 1003]) * SECOND_US, [], [DAY_US]],
    event_types=[[1, 2, 0, 2], [], [1]],
)


@pytest.mark.parametrize(
    ("gap_us", "number"),
    [
        (0, 1),
        (SECOND_US - 1, 1),
        (SECOND_US, 2),
        (2 * SECOND_US - 1, 2),
        (2 * SECOND_US, 3),
        (3 * SECOND_US, 3),
        (DAY_US, 18),  # 2 ** 16 <= 86,400 < 2 ** 17
        (2**28 * SECOND_US, 30),
        (2**29 * SECOND_US, 31),
        (2**60, 31),
    ],
)
def test_the_number_of_a_gap_grows_by_1_where_the_gap_doubles(gap_us: int, number: int) -> None:
    assert gap_numbers(np.array([gap_us])).tolist() == [number]
    assert number < NUM_GAPS


def test_the_newest_stand_on_the_right_and_the_first_that_is_read_has_no_gap() -> None:
    inputs = newest_inputs(ANN_BOB_CAT, np.array([2, 0, 1, 0]), 3, time_gaps=True)
    assert inputs.item_nums.tolist() == [[0, 0, 5], [8, 7, 9], [0, 0, 0], [8, 7, 9]]
    assert inputs.event_types is not None
    assert inputs.event_types.tolist() == [[0, 0, 1], [2, 0, 2], [0, 0, 0], [2, 0, 2]]
    assert inputs.gaps is not None
    # 3 s; 1,000 s, where 2 ** 9 <= 1,000 < 2 ** 10. Before 8 there was something, 0 s before.
    assert inputs.gaps.tolist() == [[0, 0, 0], [0, 3, 11], [0, 0, 0], [0, 3, 11]]
    assert inputs.item_nums.dtype == inputs.gaps.dtype == np.int64


def test_what_was_cut_off_before_changes_nothing() -> None:
    whole = newest_inputs(ANN_BOB_CAT, np.array([0]), 2, time_gaps=True)
    cut = newest_inputs(ANN_BOB_CAT.last(2), np.array([0]), 2, time_gaps=True)
    assert [part.tolist() for part in whole] == [part.tolist() for part in cut]


def test_what_nobody_reads_is_not_there() -> None:
    assert newest_inputs(ANN_BOB_CAT, np.array([0]), 2, time_gaps=False).gaps is None
    untyped = histories_of([[1, 2]])
    assert newest_inputs(untyped, np.array([0]), 2, time_gaps=True).event_types is None


@given(
    st.lists(st.lists(st.integers(0, 5), max_size=8), min_size=1, max_size=6), st.integers(1, 10)
)
def test_padded_rows_end_with_the_history(lists: list[list[int]], length: int) -> None:
    inputs = newest_inputs(histories_of(lists), np.arange(len(lists)), length, time_gaps=True)
    for row, history in enumerate(lists):
        newest = history[-length:]
        assert inputs.item_nums[row].tolist() == [0] * (length - len(newest)) + newest


def test_a_place_that_only_fills_a_batch_is_read_as_nothing() -> None:
    places, firsts = np.array([[0, 3], [4, 1]]), np.array([0, 0])
    is_read = np.array([[True, True], [False, True]])
    inputs = inputs_at(ANN_BOB_CAT, places, firsts, is_read, time_gaps=True)
    assert inputs.item_nums.tolist() == [[7, 9], [0, 8]]
    assert inputs.gaps is not None
    assert inputs.gaps.tolist() == [[0, 11], [0, 1]]
