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
from raysys.training.history_targets import HistoryBatch, HistoryTargets


@dataclass(frozen=True, slots=True)
class WindowBatch(HistoryBatch):
    """B rows of W positions, (B, W). Behind the last history, in the last batch, they hold zeros.

    Attributes:
        pieces: (B, W) int64: whose history it is, from 1; what it means ends with the batch.
        users: of piece 1, of piece 2, and so on.
    """

    pieces: NDArray[np.int64]


class WindowBatches:
    """Lays histories end to end, in an order drawn anew for every epoch, and cuts rows from them.

    So no position is padding but behind the last history, and a long history is cut in as many
    windows as it needs. What stands behind a cut sees nothing of what is before it; the order
    decides where cuts fall, so in the next epoch they fall elsewhere. Each target is that of
    exactly one position per epoch. Histories without a target are left out.

    Args:
        histories, half_life, time_gaps, seed: see `HistoryTargets`.
        num_rows: rows of a batch.
        window: positions of a row.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        num_rows: int,
        window: int,
        half_life: float | None,
        time_gaps: bool,
        seed: tuple[int, ...],
    ) -> None:
        self._of = HistoryTargets(histories, half_life=half_life, time_gaps=time_gaps, seed=seed)
        self._num_rows = num_rows
        self._window = window
        self.num_examples = self._of.num_targets

    def epoch(self, epoch: int) -> Iterator[WindowBatch]:
        """Yield the batches of one epoch."""
        users = self._of.order(epoch)
        # The newest interaction of a history is a target alone, so a history has one input less.
        offsets = offsets_of(self._of.ends[users] - self._of.begins[users] - 1)
        batch_size = self._num_rows * self._window
        for start in range(0, int(offsets[-1]), batch_size):
            end = min(start + batch_size, int(offsets[-1]))
            yield self._batch(users, offsets, np.arange(start, end))

    def _batch(
        self, users: NDArray[np.int64], offsets: NDArray[np.int64], stream: NDArray[np.int64]
    ) -> WindowBatch:
        """Return the batch of the inputs that stand at these places of all histories end to end."""
        turns = np.searchsorted(offsets, stream, side="right") - 1
        places = self._of.begins[users[turns]] + stream - offsets[turns]
        targets, weights, seen, contexts = self._of.after(users[turns], places)
        since_cut = (stream - stream[0]) % self._window
        firsts = np.maximum(self._of.begins[users[turns]], places - since_cut)
        inputs = self._of.before(places, firsts).changed(self._in_rows)
        pieces, targets, weights = (
            self._in_rows(part) for part in (turns - turns[0] + 1, targets, weights)
        )
        users = users[turns[0] : turns[-1] + 1]
        return WindowBatch(inputs, targets, weights, seen, contexts, users, pieces)

    def _in_rows(self, values: NDArray[Any]) -> NDArray[Any]:
        num_rows = -(-len(values) // self._window)
        rows = np.zeros((num_rows, self._window), dtype=values.dtype)
        rows.reshape(-1)[: len(values)] = values
        return rows
