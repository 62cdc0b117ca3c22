"""Histories side by side in lanes, segment by segment: numpy only, the same on every run.

Letters for shapes:
    S  steps of a segment
    B  lanes (histories read side by side)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.training.history_targets import HistoryBatch, HistoryTargets


@dataclass(frozen=True, slots=True)
class SegmentBatch(HistoryBatch):
    """The next segment of B histories, (S, B). Steps behind the end of a history hold zeros.

    Attributes:
        continues: (B,) int64: the column of the batch before whose history this column goes on
            with, or -1 where a history begins.
        users: (B,): of the columns.
    """

    continues: NDArray[np.int64]


class SegmentBatches:
    """Reads histories in lanes, segment by segment, each history from its beginning.

    A lane that has finished a history goes on with the next one, in an order drawn anew for every
    epoch; it closes when none is left, so that no batch holds an idle lane. Each target is that of
    exactly one step per epoch. Histories without a target are left out.

    Args:
        histories, half_life, time_gaps, seed: see `HistoryTargets`.
        num_lanes: histories side by side.
        num_steps: steps of a segment (bptt).
    """

    def __init__(
        self,
        histories: Histories,
        *,
        num_lanes: int,
        num_steps: int,
        half_life: float | None,
        time_gaps: bool,
        seed: tuple[int, ...],
    ) -> None:
        self._of = HistoryTargets(histories, half_life=half_life, time_gaps=time_gaps, seed=seed)
        self._num_lanes = num_lanes
        self._num_steps = num_steps
        self.num_examples = self._of.num_targets

    def epoch(self, epoch: int) -> Iterator[SegmentBatch]:
        """Yield the batches of one epoch."""
        order = self._of.order(epoch)
        num_begun = min(self._num_lanes, len(order))
        users, steps_done = order[:num_begun], np.zeros(num_begun, dtype=np.int64)
        continues = np.full(num_begun, -1)
        while len(users):
            yield self._segment(users, steps_done, continues)
            steps_done = steps_done + self._num_steps
            finished = self._of.begins[users] + steps_done >= self._of.ends[users] - 1
            continues = np.where(finished, -1, np.arange(len(users)))
            replaced = np.flatnonzero(finished)[: len(order) - num_begun]
            users, steps_done = users.copy(), np.where(finished, 0, steps_done)
            users[replaced] = order[num_begun : num_begun + len(replaced)]
            num_begun += len(replaced)
            open_lanes = ~finished
            open_lanes[replaced] = True
            users, steps_done, continues = (
                part[open_lanes] for part in (users, steps_done, continues)
            )

    def _segment(
        self, users: NDArray[np.int64], steps_done: NDArray[np.int64], continues: NDArray[np.int64]
    ) -> SegmentBatch:
        starts = self._of.begins[users] + steps_done
        places = starts + np.arange(self._num_steps)[:, None]  # (S, B), of the inputs
        is_read = places + 1 < self._of.ends[users]
        places = np.where(is_read, places, starts)
        inputs = self._of.before(places, self._of.begins[users], is_read)
        targets, weights, seen, contexts = self._of.after(users, places, is_read)
        return SegmentBatch(inputs, targets, weights, seen, contexts, users, continues)
