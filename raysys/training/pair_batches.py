"""Pairs of a user and an item in an order drawn anew for every epoch: numpy only, seeded.

Letters for shapes:
    B  interactions of a batch
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.training.history_targets import is_known_target


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B interactions: `user_nums` and `item_nums`, both (B,) int64, `weights` (B,) float32, and
    `labels` (B,) float32, which are empty where feedback is implicit. `contexts`, (B,) int64, is
    None where nothing is known.
    """

    user_nums: NDArray[np.int64]
    item_nums: NDArray[np.int64]
    weights: NDArray[np.float32]
    labels: NDArray[np.float32]
    contexts: NDArray[np.int64] | None = None


class PairBatches:
    """Reads targets of known items in an order drawn anew for every epoch.

    Args:
        user_nums: (U,) the number of each row of `histories`.
        batch_size: interactions of a batch; the last one of an epoch may be smaller.
        seed: draws the order, together with the epoch.
    """

    def __init__(
        self,
        histories: Histories,
        user_nums: NDArray[np.integer],
        *,
        batch_size: int,
        seed: tuple[int, ...],
    ) -> None:
        is_target = is_known_target(histories)
        self._users = np.repeat(user_nums.astype(np.int64), histories.lengths)[is_target]
        self._items = histories.item_nums[is_target].astype(np.int64)
        self._weights = np.ones(len(self._items), dtype=np.float32)
        if histories.weights is not None:
            self._weights = histories.weights[is_target]
        self.labels = np.zeros(0, dtype=np.float32)
        if histories.labels is not None:
            self.labels = histories.labels[is_target]
        self._contexts = None
        if histories.contexts is not None:
            self._contexts = histories.contexts[is_target]
        self._batch_size = batch_size
        self._seed = seed
        self.num_examples = len(self._items)

    def epoch(self, epoch: int) -> Iterator[PairBatch]:
        """Yield the batches of one epoch."""
        order = np.random.default_rng((*self._seed, epoch)).permutation(self.num_examples)
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            labels = self.labels[rows] if len(self.labels) else self.labels
            yield PairBatch(
                self._users[rows],
                self._items[rows],
                self._weights[rows],
                labels,
                None if self._contexts is None else self._contexts[rows],
            )
