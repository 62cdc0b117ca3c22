"""Histories end to end in rows of one length: numpy only, seeded, the same on every run.

Letters for shapes:
    B  rows of a batch
    W  positions of a row
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories, offsets_of
from raysys.training.batches import targets_after_the_first
from raysys.training.seen_items import SeenItems, seen_before


@dataclass(frozen=True, slots=True)
class WindowBatch:
    """B rows of W positions. What no history fills, at the end of the last batch, holds zeros.

    Attributes:
        inputs: (B, W) int64: the item at each position.
        pieces: (B, W) int64: whose history it is, from 1; what it means ends with the batch.
        targets: (B, W) int64: the item that came next; 0 where it is none to be found.
        weights: (B, W) float32: what each target counts; 0 where there is nothing to learn.
        users: the row of the histories that piece 1 is of, that of piece 2, and so on.
        seen: what came before each target, of those that are not 0, in the order of `targets.flat`.
    """

    inputs: NDArray[np.int64]
    pieces: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    users: NDArray[np.int64]
    seen: SeenItems


class WindowBatches:
    """Lays histories end to end, in an order drawn anew for every epoch, and cuts rows from them.

    So no position is padding but behind the last history, and a long history is cut in as many
    windows as it needs. What stands behind a cut sees nothing of what is before it; the order
    decides where cuts fall, so in the next epoch they fall elsewhere. Each interaction but a user's
    first is the target of exactly one position per epoch, unless its item is unknown or its weight
    is 0. Histories without a target are left out.

    Args:
        histories: all of it is read; nothing may be `SEEN_ONLY`.
        num_rows: rows of a batch.
        window: positions of a row.
        half_life: a target that is `age` interactions older than its user's newest counts its
            weight times 0.5 ** (age / half_life); None: its weight.
        seed: draws the order, together with the epoch.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        num_rows: int,
        window: int,
        half_life: float | None,
        seed: tuple[int, ...],
    ) -> None:
        self._items, self._weights = histories.item_nums, histories.weights
        self._begins, self._ends = histories.offsets[:-1], histories.offsets[1:]
        counts = [targets_after_the_first(block) for block in histories.blocks()]
        num_targets = np.concatenate([np.zeros(0, np.int64), *counts])
        self._learnable = np.flatnonzero(num_targets)
        self._num_rows = num_rows
        self._window = window
        self._half_life = half_life
        self._seed = seed
        self.num_examples = int(num_targets.sum())

    def epoch(self, epoch: int) -> Iterator[WindowBatch]:
        """Yield the batches of one epoch."""
        users = np.random.default_rng((*self._seed, epoch)).permutation(self._learnable)
        # The newest interaction of a history is a target alone, so a history has one input less.
        offsets = offsets_of(self._ends[users] - self._begins[users] - 1)
        batch_size = self._num_rows * self._window
        for start in range(0, int(offsets[-1]), batch_size):
            end = min(start + batch_size, int(offsets[-1]))
            yield self._batch(users, offsets, np.arange(start, end))

    def _batch(
        self, users: NDArray[np.int64], offsets: NDArray[np.int64], stream: NDArray[np.int64]
    ) -> WindowBatch:
        """Return the batch of the inputs that stand at these places of all histories end to end."""
        turns = np.searchsorted(offsets, stream, side="right") - 1
        places = self._begins[users[turns]] + stream - offsets[turns]
        targets = self._items[places + 1].astype(np.int64)
        weights = (targets != 0).astype(np.float32)
        if self._weights is not None:
            weights *= self._weights[places + 1]
            targets[weights == 0] = 0
        if self._half_life is not None:
            ages = self._ends[users[turns]] - 2 - places
            weights *= np.exp2(-ages / self._half_life).astype(np.float32)
        chosen = np.flatnonzero(targets)
        begins = self._begins[users[turns[chosen]]]
        seen = seen_before(self._items, begins, places[chosen] + 1)
        inputs, pieces = self._items[places].astype(np.int64), turns - turns[0] + 1
        inputs, pieces, targets, weights = (
            self._in_rows(part) for part in (inputs, pieces, targets, weights)
        )
        users = users[turns[0] : turns[-1] + 1]
        return WindowBatch(inputs, pieces, targets, weights, users, seen)

    def _in_rows(self, values: NDArray[Any]) -> NDArray[Any]:
        num_rows = -(-len(values) // self._window)
        rows = np.zeros((num_rows, self._window), dtype=values.dtype)
        rows.reshape(-1)[: len(values)] = values
        return rows
