"""One ranking for everybody: the most popular items, or those that gain most.

Letters for shapes:
    B  histories    N  items, with numbers 1 to N    K  results
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.errors import ConfigError
from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.topk import TopK


def trend_scores(
    blocks: Iterable[Histories], num_items: int, *, now_us: int, window_s: float
) -> NDArray[np.float64]:
    """Return how fast each item gains interactions, (N + 1,) by item number; row 0 is 0.

    It is how many more interactions the item had in the newest window than in the one before,
    negative where it lost. To that comes less than 1/2 by its count of all time, so that of items
    that gain alike, most of which stand still, the popular ones come first.

    Args:
        blocks: users, some at a time; they are read once.
        now_us: where the newest window ends, itself included, such as a log's newest interaction;
            microseconds since 1970. What came later does not count.
        window_s: what Amazon Personalize's Trending-Now calls the trend discovery frequency, and
            offers as 30 minutes, 1, 2 or 3 hours, or 1 day.

    Raises:
        ConfigError: the window is not positive.
    """
    window_us = round(window_s * 1e6)
    if window_us < 1:
        raise ConfigError(f"window_s of a trend must be above 0, but got {window_s:g}.")
    gains, counts = np.zeros((2, num_items + 1), dtype=np.int64)
    for block in blocks:
        targets = block.targets()
        windows_ago = (now_us - targets.occurred_at_us) // window_us  # negative: later than now
        for chosen, into, sign in (
            (windows_ago == 0, gains, 1),
            (windows_ago == 1, gains, -1),
            (windows_ago >= 0, counts, 1),
        ):
            into += sign * np.bincount(targets.item_nums[chosen], minlength=num_items + 1)
    scores: NDArray[np.float64] = gains + counts / (2.0 * counts.max() + 1.0)
    scores[0] = 0.0
    return scores


class FixedRanking:
    """The items of highest score first, the same for everybody; of equals, the lower number first.

    Args:
        scores: (N + 1,) by item number, as `popularity_counts` and `trend_scores` return them.
    """

    def __init__(self, scores: NDArray[np.integer] | NDArray[np.floating]) -> None:
        nums = np.arange(1, len(scores), dtype=np.int32)
        self._ranking = nums[np.lexsort((nums, -scores[1:]))]
        self._scores = scores[self._ranking].astype(np.float64)
        self._places = np.full(len(scores), len(nums), dtype=np.int64)  # by item number
        self._places[self._ranking] = np.arange(len(nums))

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
