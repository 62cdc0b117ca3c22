"""A linear model of which items go together, in closed form.

Letters for shapes:
    B  histories    N  items, with numbers 1 to N
"""

import itertools
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.errors import ConfigError
from raysys.evaluation.baselines.history_items import check_decay, weighted_items
from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.scoring import blocks
from raysys.evaluation.topk import TopK, top_k_of_scores

EASE_MAX_ITEMS = 20_000
"""Beyond it EASE's N x N matrices, of which three exist at once, take more than 10 GB."""

_USER_BLOCK = 1024


class Ease:
    """A linear model of which items go together, solved in closed form.

    With X the matrix of who interacted with what (0 or 1), and P = inverse(X'X + l2 I), the weight
    of item i for item j is B[i, j] = -P[i, j] / P[j, j], and 0 for itself. A history scores every
    item by the sum of its distinct items' rows of B, each times decay^age; the newest has age 0.

    With a decay of 0.9 it beats most neural models on MovieLens-100K in half a second: whoever
    compares with a linear model that forgets the order compares with too little.

    Args:
        train: the users that it learns from, some at a time; they are read once.
        num_items: N.
        l2: strength of the regularisation, > 0.
        decay: in [0, 1]; 1 forgets the order, as in the paper.

    Raises:
        ConfigError: N is above `EASE_MAX_ITEMS`, or l2 or decay is out of range.

    Source:
        Steck, Embarrassingly Shallow Autoencoders for Sparse Data, WWW 2019,
        doi:10.1145/3308558.3313710.
    """

    def __init__(
        self,
        train: Iterable[Histories],
        num_items: int,
        *,
        l2: float = 300.0,
        decay: float = 1.0,
    ) -> None:
        if num_items > EASE_MAX_ITEMS:
            raise ConfigError(
                f"EASE was asked to learn {num_items:,} items, but stops at {EASE_MAX_ITEMS:,}: it "
                f"inverts a matrix of items by items, whose memory grows with the square of their "
                f"number. Compare with popularity instead."
            )
        if not l2 > 0:
            raise ConfigError(f"l2 of EASE must be above 0, but got {l2:g}.")
        check_decay(decay)
        self._decay = decay
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
        read, weights = weighted_items(histories, len(self._nums), self._decay)
        scores = np.empty((len(histories), len(self._nums)))
        for row, (start, end) in enumerate(itertools.pairwise(read.offsets)):
            rows = self._weights[read.item_nums[start:end] - 1]
            rows *= weights[start:end, None]
            # Row after row, so that a score does not depend on the batch, as in a matrix product.
            scores[row] = np.add.reduce(rows, axis=0)
        return top_k_of_scores(scores, self._nums, k, excluded)


def _add_co_occurrences(gram: NDArray[np.float64], train: Histories) -> None:
    """Add how many users interacted with both items, (N, N)."""
    for rows in blocks(len(train), _USER_BLOCK):
        span = slice(train.offsets[rows.start], train.offsets[rows.stop])
        users = np.repeat(np.arange(rows.stop - rows.start), train.lengths[rows])
        interacted = np.zeros((rows.stop - rows.start, len(gram) + 1), dtype=np.float32)
        interacted[users, train.item_nums[span]] = 1.0
        gram += interacted[:, 1:].T @ interacted[:, 1:]  # whole numbers up to 1,024: exact
