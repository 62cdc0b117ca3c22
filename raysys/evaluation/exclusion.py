"""Items that a query must not get, as one list of item numbers per query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import offsets_of, rows_of_offsets


class ItemLists(Protocol):
    """Item numbers per query: `item_nums[offsets[b]:offsets[b + 1]]`; Histories are such lists."""

    @property
    def offsets(self) -> NDArray[np.int64]: ...
    @property
    def item_nums(self) -> NDArray[np.int32]: ...


@dataclass(frozen=True, slots=True)
class Exclusions:
    """The items that each query must not get, (B + 1,) offsets into (E,) item numbers."""

    offsets: NDArray[np.int64]
    item_nums: NDArray[np.int32]

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int] | NDArray[np.integer]]) -> "Exclusions":
        arrays = [np.asarray(nums, dtype=np.int32) for nums in lists]
        lengths = [len(nums) for nums in arrays]
        return cls(offsets_of(lengths), np.concatenate([np.zeros(0, np.int32), *arrays]))

    @classmethod
    def of_rows(cls, lists: ItemLists, rows: Sequence[int] | NDArray[np.integer]) -> "Exclusions":
        """Return the lists of some queries."""
        starts, ends = lists.offsets[:-1], lists.offsets[1:]
        return cls.from_lists([lists.item_nums[starts[row] : ends[row]] for row in rows])


def mask_excluded(
    scores: NDArray[np.floating],
    candidate_nums: NDArray[np.int32],
    excluded: ItemLists | None,
    rows: slice,
) -> None:
    """Set the excluded items of queries `rows` to -inf."""
    scores[candidate_pairs(candidate_nums, excluded, rows)] = -np.inf


def candidate_pairs(
    candidate_nums: NDArray[np.int32], excluded: ItemLists | None, rows: slice
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, column) of each candidate that a query of `rows` must not get.

    Rows are counted from the first of `rows`.
    """
    if excluded is None or not len(candidate_nums):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    offsets = excluded.offsets[rows.start : rows.stop + 1]
    nums = excluded.item_nums[offsets[0] : offsets[-1]]
    columns = _columns_of(nums, candidate_nums)
    query_rows = rows_of_offsets(offsets)
    is_candidate = columns >= 0
    return query_rows[is_candidate], columns[is_candidate].astype(np.int64)


def _columns_of(nums: NDArray[np.int32], candidate_nums: NDArray[np.int32]) -> NDArray[np.integer]:
    """Return the place of each item number among the candidates, -1 where it has none."""
    first, span = int(candidate_nums[0]), int(candidate_nums[-1]) - int(candidate_nums[0]) + 1
    if span > 16 * (len(nums) + len(candidate_nums)):  # a table would be mostly empty
        columns = np.minimum(np.searchsorted(candidate_nums, nums), len(candidate_nums) - 1)
        return np.where(candidate_nums[columns] == nums, columns, -1)
    table = np.full(span + 1, -1, dtype=np.int32)  # the last entry serves what lies outside
    table[candidate_nums - first] = np.arange(len(candidate_nums), dtype=np.int32)
    places = nums.astype(np.int64) - first
    return table[np.where((places < 0) | (places > span), span, places)]
