"""Sparse rows, checked against the matrices that they stand for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.dataset.bags import Bags, save_bags
from raysys.dataset.histories import offsets_of
from raysys.errors import DatasetError

matrices = st.integers(0, 2**32).map(
    lambda seed: np.random.default_rng(seed).integers(0, 3, (seed % 7, 5)).astype(np.float32)
)


def bags_of(matrix):
    rows, nums = np.nonzero(matrix)
    offsets = offsets_of(np.bincount(rows, minlength=len(matrix)))
    return Bags(nums.astype(np.int32), matrix[rows, nums], offsets)


def matrix_of(bags, width=5):
    matrix = np.zeros((len(bags), width), np.float32)
    rows = np.repeat(np.arange(len(bags)), np.diff(bags.offsets))
    matrix[rows, bags.nums] = bags.values
    return matrix


@given(matrices, st.lists(st.integers(0, 100)))
def test_taken_rows_are_those_of_the_matrix(matrix, rows):
    rows = np.array([row % len(matrix) for row in rows if len(matrix)], np.int64)
    assert np.array_equal(matrix_of(bags_of(matrix).take(rows)), matrix[rows])


@given(matrices)
def test_parts_side_by_side_are_rows_of_all_their_features(matrix):
    left, right = matrix.copy(), matrix.copy()
    left[:, 2:], right[:, :2] = 0, 0
    together = Bags.side_by_side([bags_of(left), bags_of(right)], len(matrix))
    whole = bags_of(matrix)
    assert np.array_equal(matrix_of(together), matrix)
    assert together.nums.tolist() == whole.nums.tolist()  # ascending within a row


def test_rows_without_any_feature_are_rows():
    assert len(Bags.empty(3)) == 3
    assert len(Bags.side_by_side([], 3)) == 3


def test_blocks_are_saved_as_one_and_mapped(tmp_path):
    matrix = np.arange(20, dtype=np.float32).reshape(4, 5) % 3
    blocks = [Bags.empty(1), bags_of(matrix[:1]), bags_of(matrix[1:])]
    save_bags(blocks, tmp_path / "features.arrow", tmp_path)
    opened = Bags.open(tmp_path / "features.arrow")
    assert np.array_equal(matrix_of(opened), np.vstack([np.zeros((1, 5)), matrix]))
    assert not opened.nums.flags.writeable


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "features.arrow").write_bytes(b"no arrow file")
    with pytest.raises(DatasetError, match=r"features\.arrow cannot be opened as features"):
        Bags.open(tmp_path / "features.arrow")
