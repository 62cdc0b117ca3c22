"""Which items the same people had to do with: nearest neighbors by co-interaction.

similarity(i, j) = c(i, j) / (c(i)^(1 - d) c(j)^d + shrinkage), where c(i) is how many users
interacted with item i, c(i, j) with both, and d is how much the neighbor's popularity is
discounted. With d = 1/2 it is the cosine of the two columns of the matrix of users by items, shrunk
towards 0 where few users speak for it.

Letters for shapes:
    U  users    N  items, with numbers 1 to N    T  pairs of a user and an item
    B  histories

Sources:
    Deshpande and Karypis, Item-Based Top-N Recommendation Algorithms, TOIS 2004,
    doi:10.1145/963770.963776; asymmetric cosine: Aiolli, Efficient Top-N Recommendation for Very
    Large Scale Binary Rated Datasets, RecSys 2013, doi:10.1145/2507157.2507189.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories, offsets_of, rows_of_offsets
from raysys.errors import ConfigError
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.baselines.history_items import (
    check_decay,
    known_items,
    weighted_items,
)
from raysys.evaluation.baselines.over_ranking import (
    NeighborLists,
    neighbors_of,
    popularity_shares,
    top_k_over_ranking,
)
from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.topk import TopK

NEIGHBORS_MAX_PAIRS = 20_000_000_000
"""Pairs of items that some user had both to do with, user by user; that many take some minutes."""
NEIGHBORS_MAX_KEPT = 200_000_000
"""Items times neighbors: 12 bytes each are kept."""
MAX_USER_ITEMS = 1000
"""The newest different items of a user that count, so that a crawler's pairs stay few."""

_POPULARITY_FILL = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ItemNeighbors:
    """The most similar items of each item, best first; of equals, the lower number first."""

    offsets: NDArray[np.int64]
    """(N + 2,): the neighbors of item i lie from `offsets[i]` to `offsets[i + 1]`."""
    nums: NDArray[np.int32]
    similarities: NDArray[np.float64]
    popularity: NDArray[np.int64]
    """(N + 1,) users of each item, c(i)."""

    @classmethod
    def fit(
        cls,
        train: Iterable[Histories],
        num_items: int,
        *,
        num_neighbors: int = 100,
        shrinkage: float = 10.0,
        popularity_discount: float = 0.5,
        min_users: int = 1,
    ) -> "ItemNeighbors":
        """Find the neighbors of every item.

        Args:
            train: the users that it learns from, some at a time; they are read once.
            num_items: N.
            num_neighbors: kept of each item.
            shrinkage: added to the denominator, at least 0.
            popularity_discount: d, in [0, 1]. Amazon Personalize's SIMS calls it
                popularity_discount_factor.
            min_users: pairs of items with fewer common users are no neighbors. SIMS has
                min_cointeraction_count 3.

        Raises:
            ConfigError: a setting is out of range, or the log is too large.
        """
        _check(num_items, num_neighbors, shrinkage, popularity_discount, min_users)
        offsets, items = _user_items(train, num_items)
        counts = np.bincount(items, minlength=num_items + 1)
        heads = counts ** (1 - popularity_discount)
        tails = counts**popularity_discount
        lists = []
        for item, others, common in _co_interactions(offsets, items, num_items):
            is_pair = (common >= min_users) & (others != item)
            others, common = others[is_pair], common[is_pair]
            similarity = common / (heads[item] * tails[others] + shrinkage)
            best = np.lexsort((others, -similarity))[:num_neighbors]
            lists.append((others[best], similarity[best]))
        lengths = [0, *(len(nums) for nums, _ in lists)]
        return cls(
            offsets_of(lengths),
            np.concatenate([np.zeros(0, np.int32), *(nums for nums, _ in lists)], dtype=np.int32),
            np.concatenate([np.zeros(0), *(values for _, values in lists)]),
            counts,
        )


class SimilarItems:
    """Ranks by similarity to the newest item of a history, as `similarity(newest, j)`.

    Where its neighbors end, and for who has no history, the most popular items follow.
    """

    def __init__(self, neighbors: ItemNeighbors) -> None:
        self._neighbors = neighbors
        self._fill = _POPULARITY_FILL * popularity_shares(neighbors.popularity)
        self._ranking = FixedRanking(self._fill)

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        """Return the k most similar items for each history, but for its row of `excluded`."""
        newest = known_items(histories, len(self._fill) - 1).last(1)
        asked, places = neighbors_of(self._neighbors.offsets, newest.item_nums)
        nums = self._neighbors.nums[places]
        keys = (rows_of_offsets(newest.offsets)[asked] << 32) | nums
        order = np.argsort(keys, kind="stable")
        scores = (self._neighbors.similarities[places] + self._fill[nums])[order]
        return top_k_over_ranking(self._ranking, keys[order], scores, len(histories), k, excluded)


class ItemKnn:
    """Ranks by the sum of similarities to all items of a history that are neighbors.

    score(i) = sum of decay^age(j) similarity(i, j) over the history's different items j among the
    neighbors of i; the newest item has age 0. A millionth of an item's popularity is added, so that
    of items that nothing speaks for the popular ones come first.

    Args:
        neighbors: which items are similar.
        decay: in [0, 1]; 1 forgets the order.
    """

    def __init__(self, neighbors: ItemNeighbors, *, decay: float = 1.0) -> None:
        check_decay(decay)
        self._decay = decay
        self._fill = _POPULARITY_FILL * popularity_shares(neighbors.popularity)
        self._ranking = FixedRanking(self._fill)
        # Turned round: for each item of a history the items whose neighbor it is.
        order = np.argsort(neighbors.nums, kind="stable")
        self._lists = NeighborLists(
            offsets_of(np.bincount(neighbors.nums, minlength=len(self._fill))),
            rows_of_offsets(neighbors.offsets)[order].astype(np.int32),
            neighbors.similarities[order],
        )

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        """Return the k best items for each history, but for its row of `excluded`."""
        read, weights = weighted_items(histories, len(self._fill) - 1, self._decay)
        keys, sums = self._lists.sums(read, weights)
        scores = sums + self._fill[keys & 0xFFFF_FFFF]
        return top_k_over_ranking(self._ranking, keys, scores, len(histories), k, excluded)


def _user_items(
    train: Iterable[Histories], num_items: int
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return each user's different items laid end to end, (U + 1,) offsets into (T,)."""
    lengths, items = [np.zeros(0, np.int64)], [np.zeros(0, np.int32)]
    for block in train:
        distinct = known_items(block.inputs(), num_items).newest_distinct(MAX_USER_ITEMS)
        lengths.append(distinct.lengths)
        items.append(distinct.item_nums)
    every = np.concatenate(lengths)
    num_pairs = int((every**2).sum())
    if num_pairs > NEIGHBORS_MAX_PAIRS:
        raise ConfigError(
            f"Neighbors of items were to be found from {num_pairs:,} pairs of items of one user, "
            f"but more than {NEIGHBORS_MAX_PAIRS:,} take too long. Learn from fewer users, or "
            f"compare with transitions instead."
        )
    return offsets_of(every), np.concatenate(items)


def _co_interactions(
    offsets: NDArray[np.int64], items: NDArray[np.int32], num_items: int
) -> Iterator[tuple[int, NDArray[np.int32], NDArray[np.int64]]]:
    """Yield for each item which items its users had to do with, and how many of them."""
    users_of = rows_of_offsets(offsets)[np.argsort(items, kind="stable")]
    bounds = offsets_of(np.bincount(items, minlength=num_items + 1))
    for item in range(1, num_items + 1):
        users = users_of[bounds[item] : bounds[item + 1]]
        _, places = neighbors_of(offsets, users)
        if 4 * len(places) < num_items:  # few of many items: sorting costs less than counting
            nums, common = np.unique(items[places], return_counts=True)
        else:
            every = np.bincount(items[places], minlength=num_items + 1)
            nums = np.flatnonzero(every).astype(np.int32)
            common = every[nums]
        yield item, nums, common


def _check(
    num_items: int, num_neighbors: int, shrinkage: float, discount: float, min_users: int
) -> None:
    if num_neighbors < 1 or min_users < 1 or not shrinkage >= 0 or not 0 <= discount <= 1:
        raise ConfigError(
            f"Neighbors need num_neighbors and min_users of at least 1, a shrinkage of at least 0 "
            f"and a popularity_discount in [0, 1], but got {num_neighbors}, {min_users}, "
            f"{shrinkage:g} and {discount:g}."
        )
    if num_items * num_neighbors > NEIGHBORS_MAX_KEPT:
        raise ConfigError(
            f"{num_neighbors} neighbors of each of {num_items:,} items were asked for, but at most "
            f"{NEIGHBORS_MAX_KEPT:,} are kept in all. Ask for fewer neighbors."
        )
