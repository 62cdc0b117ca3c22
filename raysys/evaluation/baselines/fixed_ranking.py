"""One ranking for everybody: the most popular items, or those that gain most.

Letters for shapes:
    B  histories    N  items, with numbers 1 to N    K  results
"""

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.dataset.popularity import best_first
from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.topk import TopK


class FixedRanking:
    """The items of highest score first, the same for everybody; of equals, the lower number first.

    Args:
        scores: (N + 1,) by item number, as those of `dataset.popularity`.
    """

    def __init__(self, scores: NDArray[np.integer] | NDArray[np.floating]) -> None:
        self._ranking = best_first(scores)
        self._scores = scores[self._ranking].astype(np.float64)
        self._places = np.full(len(scores), len(self._ranking), dtype=np.int64)  # by item number
        self._places[self._ranking] = np.arange(len(self._ranking))

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        """Return the k first items for each history, but for its row of `excluded`."""
        return self.first(len(histories), k, excluded)

    def first(self, num_queries: int, k: int, excluded: ItemLists | None) -> TopK:
        """Return the k first items for each of some queries, but for its row of `excluded`."""
        is_open = self._is_open(num_queries, k, excluded)
        position = np.cumsum(is_open, axis=1) - 1
        rows, places = np.nonzero(is_open & (position < k))
        top = TopK(np.zeros((num_queries, k), np.int32), np.full((num_queries, k), -np.inf))
        top.item_nums[rows, position[rows, places]] = self._ranking[places]
        top.scores[rows, position[rows, places]] = self._scores[places]
        return top

    def _is_open(self, num_queries: int, k: int, excluded: ItemLists | None) -> NDArray[np.bool_]:
        """Return which places of the ranking each query may get, as far as anyone reads it."""
        if excluded is None:
            return np.ones((num_queries, min(len(self._ranking), k)), dtype=bool)
        num_excluded = np.diff(excluded.offsets)
        width = min(len(self._ranking), k + int(num_excluded.max(initial=0)))
        is_open = np.ones((num_queries, width), dtype=bool)
        known = np.where(excluded.item_nums < len(self._places), excluded.item_nums, 0)
        places = self._places[known]
        rows = np.repeat(np.arange(num_queries), num_excluded)
        is_open[rows[places < width], places[places < width]] = False
        return is_open
