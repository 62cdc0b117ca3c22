"""The order in which training reads interactions: numpy only, seeded, the same on every run.

Letters for shapes:
    S  steps of a segment
    B  lanes (histories read side by side), or interactions of a batch
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories, offsets_of
from raysys.tables import UNKNOWN_NUM
from raysys.training.seen_items import SeenItems, seen_before


@dataclass(frozen=True, slots=True)
class SegmentBatch:
    """The next segment of B histories. Steps behind the end of a history hold zeros.

    Attributes:
        inputs: (S, B) int64: the item read at each step.
        targets: (S, B) int64: the item that came next; 0 where it is none to be found.
        weights: (S, B) float32: what each target counts; 0 where there is nothing to learn.
        continues: (B,) int64: the column of the batch before whose history this column goes on
            with, or -1 where a history begins.
        users: (B,) int64: the rows of the histories.
        seen: what came before each target, of those that are not 0, in the order of `targets.flat`.
    """

    inputs: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    continues: NDArray[np.int64]
    users: NDArray[np.int64]
    seen: SeenItems


class SegmentBatches:
    """Reads histories in lanes, segment by segment, each history from its beginning.

    A lane that has finished a history goes on with the next one, in an order drawn anew for every
    epoch; it closes when none is left, so that no batch holds an idle lane. Each interaction but a
    user's first is the target of exactly one step per epoch, unless its item is unknown or its
    weight is 0. Histories without a target are left out.

    Args:
        histories: all of it is read; nothing may be `SEEN_ONLY`.
        num_lanes: histories side by side.
        num_steps: steps of a segment (bptt).
        half_life: a target that is `age` interactions older than its user's newest counts its
            weight times 0.5 ** (age / half_life); None: its weight.
        seed: draws the order, together with the epoch.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        num_lanes: int,
        num_steps: int,
        half_life: float | None,
        seed: tuple[int, ...],
    ) -> None:
        self._items, self._weights = histories.item_nums, histories.weights
        self._begins, self._ends = histories.offsets[:-1], histories.offsets[1:]
        counts = [targets_after_the_first(block) for block in histories.blocks()]
        num_targets = np.concatenate([np.zeros(0, np.int64), *counts])
        self._learnable = np.flatnonzero(num_targets)
        self._num_lanes = num_lanes
        self._num_steps = num_steps
        self._half_life = half_life
        self._seed = seed
        self.num_examples = int(num_targets.sum())

    def epoch(self, epoch: int) -> Iterator[SegmentBatch]:
        """Yield the batches of one epoch."""
        order = np.random.default_rng((*self._seed, epoch)).permutation(self._learnable)
        num_begun = min(self._num_lanes, len(order))
        users, steps_done = order[:num_begun], np.zeros(num_begun, dtype=np.int64)
        continues = np.full(num_begun, -1)
        while len(users):
            yield self._segment(users, steps_done, continues)
            steps_done = steps_done + self._num_steps
            finished = self._begins[users] + steps_done >= self._ends[users] - 1
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
        begins, ends = self._begins[users], self._ends[users]
        starts = begins + steps_done
        places = starts + np.arange(self._num_steps)[:, None]  # (S, B), of the inputs
        has_target = places + 1 < ends
        places = np.where(has_target, places, starts)
        inputs = np.where(has_target, self._items[places], 0).astype(np.int64)
        targets = np.where(has_target, self._items[places + 1], 0).astype(np.int64)
        weights = (targets != 0).astype(np.float32)
        if self._weights is not None:
            weights *= self._weights[places + 1]
            targets[weights == 0] = 0
        if self._half_life is not None:
            weights *= np.exp2(-(ends - 2 - places) / self._half_life).astype(np.float32)
        steps, lanes = np.nonzero(targets)
        seen = seen_before(self._items, begins[lanes], places[steps, lanes] + 1)
        return SegmentBatch(inputs, targets, weights, continues, users, seen)


@dataclass(frozen=True, slots=True)
class PairBatch:
    """B interactions: `user_nums` and `item_nums`, both (B,) int64, `weights` (B,) float32, and
    `labels` (B,) float32, which are empty where feedback is implicit.
    """

    user_nums: NDArray[np.int64]
    item_nums: NDArray[np.int64]
    weights: NDArray[np.float32]
    labels: NDArray[np.float32]


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
        is_target = _is_known_target(histories)
        self._users = np.repeat(user_nums.astype(np.int64), histories.lengths)[is_target]
        self._items = histories.item_nums[is_target].astype(np.int64)
        self._weights = np.ones(len(self._items), dtype=np.float32)
        if histories.weights is not None:
            self._weights = histories.weights[is_target]
        self.labels = np.zeros(0, dtype=np.float32)
        if histories.labels is not None:
            self.labels = histories.labels[is_target]
        self._batch_size = batch_size
        self._seed = seed
        self.num_examples = len(self._items)

    def epoch(self, epoch: int) -> Iterator[PairBatch]:
        """Yield the batches of one epoch."""
        order = np.random.default_rng((*self._seed, epoch)).permutation(self.num_examples)
        for start in range(0, len(order), self._batch_size):
            rows = order[start : start + self._batch_size]
            labels = self.labels[rows] if len(self.labels) else self.labels
            yield PairBatch(self._users[rows], self._items[rows], self._weights[rows], labels)


def _is_known_target(histories: Histories) -> NDArray[np.bool_]:
    is_known: NDArray[np.bool_] = histories.item_nums != UNKNOWN_NUM
    return is_known & histories.is_target


def targets_after_the_first(histories: Histories) -> NDArray[np.int64]:
    """Return how many targets each user, (U,), has that something comes before."""
    before = offsets_of(_is_known_target(histories) & (histories.places > 0))
    return np.diff(before[histories.offsets])
