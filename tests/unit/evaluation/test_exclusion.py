import numpy as np
import pytest

from raysys.dataset.histories import Histories
from raysys.evaluation.exclusion import Exclusions, mask_excluded

DENSE = np.array([2, 3, 5], np.int32)  # found by a table
SPARSE = np.array([2, 3, 50_000], np.int32)  # found by a binary search


@pytest.mark.parametrize("nums", [DENSE, SPARSE])
def test_only_the_items_of_a_query_are_masked_for_it(nums: np.ndarray):
    scores = np.zeros((3, 3))
    last = int(nums[-1])
    excluded = Exclusions.from_lists([[last, 1, last + 1], [], [2, 4, 0, 3, 2, 2**31 - 1]])
    mask_excluded(scores, nums, excluded, slice(0, 3))
    assert np.isneginf(scores).tolist() == [
        [False, False, True],
        [False, False, False],
        [True, True, False],
    ]


@pytest.mark.parametrize("nums", [DENSE, SPARSE])
def test_a_block_of_queries_uses_its_own_rows(nums: np.ndarray):
    scores = np.zeros((1, 3))
    mask_excluded(scores, nums, Exclusions.from_lists([[2], [3]]), slice(1, 2))
    assert np.isneginf(scores).tolist() == [[False, True, False]]


def test_histories_are_exclusions():
    scores = np.zeros((2, 3))
    histories = Histories.from_lists(["ann", "bob"], [[5], [2, 3]], [[1], [1, 2]])
    mask_excluded(scores, DENSE, histories, slice(0, 2))
    assert np.isneginf(scores).tolist() == [[False, False, True], [True, True, False]]


def test_nothing_excluded_masks_nothing():
    scores = np.zeros((1, 3))
    mask_excluded(scores, DENSE, None, slice(0, 1))
    mask_excluded(scores, DENSE, Exclusions.from_lists([[]]), slice(0, 1))
    assert not np.isneginf(scores).any()
