"""Pairs of items that the same user had, drawn anew for every epoch: numpy only, seeded.

Each interaction that counts is the context of one other of its user, the anchor, which is drawn
from those within the window on either side. So an epoch costs what the log has, whatever the
window, and over the epochs all pairs come up, the popular item as often as it is popular.

Letters for shapes:
    B  pairs of a batch    T  interactions
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.tables import UNKNOWN_NUM


@dataclass(frozen=True, slots=True)
class ItemPairs:
    """B pairs: `anchors`, `contexts` and rows of their `users`, (B,) int64, `weights` float32."""

    anchors: NDArray[np.int64]
    contexts: NDArray[np.int64]
    weights: NDArray[np.float32]
    users: NDArray[np.int64]


NO_PAIRS = ItemPairs(
    np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int64)
)


class CoInteractions:
    """Reads pairs in an order drawn anew for every epoch.

    Args:
        histories: of which unknown items are left out, as if they had not been in the log.
        window: interactions from one item of a pair to the other, at most.
        batch_size: interactions of a batch. Those that meet their own item make no pair, so there
            may be fewer pairs.
        seed: draws the order and the pairs, together with the epoch.
    """

    def __init__(
        self, histories: Histories, *, window: int, batch_size: int, seed: tuple[int, ...]
    ) -> None:
        known = histories.where(histories.item_nums != UNKNOWN_NUM)
        self._items = known.item_nums
        self._weights = known.weights
        self._offsets = known.offsets
        self._window = window
        self._batch_size = batch_size
        self._seed = seed
        has_company = np.repeat(known.lengths > 1, known.lengths)
        self._contexts = np.flatnonzero(known.is_target & has_company)
        self.num_examples = len(self._contexts)

    def epoch(self, epoch: int) -> Iterator[ItemPairs]:
        """Yield the batches of one epoch."""
        random = np.random.default_rng((*self._seed, epoch))
        order = random.permutation(self._contexts)
        for start in range(0, len(order), self._batch_size):
            yield self._pairs(order[start : start + self._batch_size], random)

    def _pairs(self, places: NDArray[np.int64], random: np.random.Generator) -> ItemPairs:
        users = np.searchsorted(self._offsets, places, side="right") - 1
        first = np.maximum(places - self._window, self._offsets[users])
        last = np.minimum(places + self._window, self._offsets[users + 1] - 1)
        others = first + random.integers(0, last - first)  # of one fewer, the place itself left out
        others += others >= places
        differ = np.flatnonzero(self._items[others] != self._items[places])
        places, others = places[differ], others[differ]
        weights = np.ones(len(places), dtype=np.float32)
        if self._weights is not None:
            weights = self._weights[places]
        return ItemPairs(
            self._items[others].astype(np.int64),
            self._items[places].astype(np.int64),
            weights,
            users[differ],
        )
