"""What any model must beat: the same list for everybody, and a linear model in closed form.

Letters for shapes:
    B  histories    N  items, with numbers 1 to N    K  results
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.errors import ConfigError
from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.scoring import blocks
from raysys.evaluation.topk import TopK, top_k_of_scores

EASE_MAX_ITEMS = 20_000
"""Beyond it EASE's N x N matrices, of which three exist at once, take more than 10 GB."""

_USER_BLOCK = 1024


def popularity_counts(blocks: Iterable[Histories], num_items: int) -> NDArray[np.int64]:
    """Return how often each item was a target, (N + 1,) by item number; row 0 is 0.

    Args:
        blocks: users, some at a time, as `Histories.blocks` gives them.
    """
    counts = np.zeros(num_items + 1, dtype=np.int64)
    for block in blocks:
        counts += np.bincount(block.targets().item_nums, minlength=num_items + 1)
    counts[0] = 0
    return counts


class Popularity:
    """The most frequent items first, the same for everybody; of equals, the lower number first.

    Args:
        counts: (N + 1,) by item number, as `popularity_counts` returns them.
    """

    def __init__(self, counts: NDArray[np.integer]) -> None:
        nums = np.arange(1, len(counts), dtype=np.int32)
        self._ranking = nums[np.lexsort((nums, -counts[1:]))]
        self._scores = counts[self._ranking].astype(np.float64)
        self._places = np.full(len(counts), len(nums), dtype=np.int64)  # by item number
        self._places[self._ranking] = np.arange(len(nums))

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        """Return the k most popular items for each history, but for its row of `excluded`."""
        is_open = self._is_open(len(histories), k, excluded)
        position = np.cumsum(is_open, axis=1) - 1
        rows, places = np.nonzero(is_open & (position < k))
        top = TopK(np.zeros((len(histories), k), np.int32), np.full((len(histories), k), -np.inf))
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


class Ease:
    """A linear model of which items go together, solved in closed form.

    With X the matrix of who interacted with what (0 or 1), and P = inverse(X'X + l2 I), the weight
    of item i for item j is B[i, j] = -P[i, j] / P[j, j], and 0 for itself. A history scores every
    item by the sum of its distinct items' rows of B.

    Args:
        train: the users that it learns from, some at a time; they are read once.
        num_items: N.
        l2: strength of the regularisation, > 0.

    Raises:
        ConfigError: N is above `EASE_MAX_ITEMS`, or l2 is not positive.

    Source:
        Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019,
        doi:10.1145/3308558.3313710.
    """

    def __init__(self, train: Iterable[Histories], num_items: int, *, l2: float = 100.0) -> None:
        if num_items > EASE_MAX_ITEMS:
            raise ConfigError(
                f"EASE was asked to learn {num_items:,} items, but stops at {EASE_MAX_ITEMS:,}: it "
                f"inverts a matrix of items by items, whose memory grows with the square of their "
                f"number. Compare with popularity instead."
            )
        if not l2 > 0:
            raise ConfigError(f"l2 of EASE must be above 0, but got {l2:g}.")
        self._nums = np.arange(1, num_items + 1, dtype=np.int32)
        gram = np.zeros((num_items, num_items))
        for block in train:
            _add_co_occurrences(gram, block.inputs())
        gram[np.diag_indices(num_items)] += l2
        weights = np.linalg.inv(gram)
        weights /= -np.diag(weights)
        weights[np.diag_indices(num_items)] = 0.0
        self._weights = weights  # (N, N); row and column i belong to item number i + 1

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        """Return the k best items for each history, but for its row of `excluded`."""
        scores = np.empty((len(histories), len(self._nums)))
        for row in range(len(histories)):
            items, _ = histories.of(row)
            known = np.unique(items[(items > 0) & (items <= len(self._nums))])
            # Row after row, so that a score does not depend on the batch, as in a matrix product.
            scores[row] = np.add.reduce(self._weights[known - 1], axis=0)
        return top_k_of_scores(scores, self._nums, k, excluded)


def _add_co_occurrences(gram: NDArray[np.float64], train: Histories) -> None:
    """Add how many users interacted with both items, (N, N)."""
    for rows in blocks(len(train), _USER_BLOCK):
        span = slice(train.offsets[rows.start], train.offsets[rows.stop])
        users = np.repeat(np.arange(rows.stop - rows.start), train.lengths[rows])
        interacted = np.zeros((rows.stop - rows.start, len(gram) + 1), dtype=np.float32)
        interacted[users, train.item_nums[span]] = 1.0
        gram += interacted[:, 1:].T @ interacted[:, 1:]  # whole numbers up to 1,024: exact
