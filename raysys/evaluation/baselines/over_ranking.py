"""Lists of items that something speaks for, filled up from a ranking for everybody.

A sparse model knows a few items per query, and says of all others what everybody is told. The best
of all are then among those few and among the first others of the ranking, so no query needs a
score for every item of the catalogue.

Letters for shapes:
    B  queries    N  items    P  pairs of a query and an item
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories, offsets_of, rows_of_offsets
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.exclusion import Exclusions, ItemLists
from raysys.evaluation.topk import TopK, merge_top_k, top_k_of_pairs


def top_k_over_ranking(
    ranking: FixedRanking,
    keys: NDArray[np.int64],
    scores: NDArray[np.float64],
    num_queries: int,
    k: int,
    excluded: ItemLists | None,
) -> TopK:
    """Return the k best items of each query, of its own and of the ranking's others.

    Args:
        ranking: has the scores of items of which a query has none of its own.
        keys: (P,) query << 32 | item number, ascending, each once.
        scores: (P,) of the pairs, on the scale of the ranking's.
        num_queries: B.
        k: length of a list.
        excluded: item numbers that a query must not get.
    """
    barred = _keys_of(excluded)
    is_open = ~np.isin(keys, barred)
    rows, nums = _query_and_item(keys[is_open])
    own = top_k_of_pairs(rows, nums, scores[is_open], num_queries, k)
    rows, nums = _query_and_item(np.union1d(keys, barred))
    others = Exclusions(offsets_of(np.bincount(rows, minlength=num_queries)), nums)
    return merge_top_k([own, ranking.first(num_queries, k, others)], k)


@dataclass(frozen=True, slots=True, eq=False)
class NeighborLists:
    """What each item says for others, laid end to end."""

    offsets: NDArray[np.int64]
    """(N + 2,): the list of item i lies from `offsets[i]` to `offsets[i + 1]`."""
    nums: NDArray[np.int32]
    """The items that it speaks for."""
    values: NDArray[np.float64]
    """How much."""

    def sums(
        self, read: Histories, weights: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return what the items of each history say together for every item that one speaks for.

        A history's sums do not depend on which others are added up beside it, bit for bit.

        Args:
            read: items from 1 to N.
            weights: what each of them counts, laid end to end as they are.

        Returns:
            (P,) keys of a pair, query << 32 | item number, ascending, and (P,) sums.
        """
        keys, sums = [np.zeros(0, np.int64)], [np.zeros(0)]
        for row, (start, end) in enumerate(itertools.pairwise(read.offsets)):
            asked, places = neighbors_of(self.offsets, read.item_nums[start:end])
            values = self.values[places] * weights[start:end][asked]
            nums, totals = summed_by_item(self.nums[places], values, len(self.offsets) - 2)
            keys.append((row << 32) | nums.astype(np.int64))
            sums.append(totals)
        return np.concatenate(keys), np.concatenate(sums)


def summed_by_item(
    nums: NDArray[np.int32], values: NDArray[np.float64], num_items: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return the different items, ascending, and the sum of each one's values, in their order."""
    if 4 * len(nums) < num_items:  # few of many items: sorting costs less than a table of all
        distinct, places = np.unique(nums, return_inverse=True)
        return distinct, np.bincount(places, values, len(distinct)).astype(np.float64)
    is_named = np.zeros(num_items + 1, dtype=bool)
    is_named[nums] = True
    distinct = np.flatnonzero(is_named).astype(np.int32)
    return distinct, np.bincount(nums, values, num_items + 1)[distinct].astype(np.float64)


def neighbors_of(
    offsets: NDArray[np.int64], item_nums: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the places of all neighbors of some items, whose lists lie end to end.

    Args:
        offsets: (N + 2,): the list of item i lies from `offsets[i]` to `offsets[i + 1]`.
        item_nums: the items that are asked for, one after the other.

    Returns:
        For each neighbor which of the asked items it belongs to, and its place in the lists.
    """
    starts, lengths = offsets[item_nums], offsets[item_nums + 1] - offsets[item_nums]
    ends = np.cumsum(lengths)
    asked = np.repeat(np.arange(len(item_nums)), lengths)
    return asked, np.arange(len(asked)) + np.repeat(starts - (ends - lengths), lengths)


def popularity_shares(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return each item's part of all interactions, (N + 1,); zeros where there are none."""
    return counts / max(1, int(counts.sum()))


def _query_and_item(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    return keys >> 32, (keys & 0xFFFF_FFFF).astype(np.int32)


def _keys_of(lists: ItemLists | None) -> NDArray[np.int64]:
    if lists is None:
        return np.zeros(0, np.int64)
    return (rows_of_offsets(lists.offsets) << 32) | lists.item_nums
