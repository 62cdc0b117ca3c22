"""What there is to learn of histories, in whatever order they are read: numpy only, seeded."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories, offsets_of
from raysys.dataset.inputs import Inputs, inputs_at
from raysys.tables import UNKNOWN_NUM
from raysys.training.seen_items import SeenItems, seen_before


@dataclass(frozen=True, slots=True)
class HistoryBatch:
    """Places of some histories, two axes of them. What no history fills holds zeros.

    Attributes:
        inputs: what is read at each place.
        targets: int64, alike: the item that came next; 0 where it is none to be found.
        weights: float32, alike: what each target counts; 0 where there is nothing to learn.
        seen: what came before each target, of those that are not 0, in the order of `targets.flat`.
        contexts: int64: the context of each target, in the same order; None: nothing is known.
        users: int64: the rows of the histories.
    """

    inputs: Inputs
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    seen: SeenItems
    contexts: NDArray[np.int64] | None
    users: NDArray[np.int64]


class HistoryTargets:
    """Each interaction but a user's first is to be found from the place before it, unless its item
    is unknown or its weight is 0.

    Args:
        histories: all of it is read; nothing may be `SEEN_ONLY`.
        half_life: a target that is `age` interactions older than its user's newest counts its
            weight times 0.5 ** (age / half_life); None: its weight.
        time_gaps: whether the gaps between interactions are read.
        seed: draws the order of users, together with the epoch.
    """

    def __init__(
        self,
        histories: Histories,
        *,
        half_life: float | None,
        time_gaps: bool,
        seed: tuple[int, ...],
    ) -> None:
        self._histories = histories
        self._time_gaps = time_gaps
        self.items = histories.item_nums
        self.begins, self.ends = histories.offsets[:-1], histories.offsets[1:]
        self._weights = histories.weights
        self._half_life = half_life
        self._seed = seed
        counts = [_targets_after_the_first(block) for block in histories.blocks()]
        of_users = np.concatenate([np.zeros(0, np.int64), *counts])
        self._learnable = np.flatnonzero(of_users)
        self.num_targets = int(of_users.sum())

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the rows of the histories that have a target, in the order of an epoch."""
        order = np.random.default_rng((*self._seed, epoch)).permutation(self._learnable)
        return order

    def before(
        self,
        places: NDArray[np.int64],
        firsts: NDArray[np.int64],
        is_read: NDArray[np.bool_] | None = None,
    ) -> Inputs:
        """Return what is read at some places.

        Args:
            firsts: broadcast to them: the first place that is read together with each.
            is_read: False where a place is only there to fill a batch; None: all are read.
        """
        if is_read is None:
            is_read = np.ones(places.shape, dtype=bool)
        return inputs_at(self._histories, places, firsts, is_read, time_gaps=self._time_gaps)

    def after(
        self,
        users: NDArray[np.int64],
        places: NDArray[np.int64],
        is_read: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], SeenItems, NDArray[np.int64] | None]:
        """Return targets, weights, what was seen and contexts, as `HistoryBatch` has them.

        Args:
            users: whose history each place is in; it need only be broadcast to their shape.
            places: none the last of its history.
            is_read: False where a place is only there to fill a batch; None: all are read.
        """
        targets = self.items[places + 1].astype(np.int64)
        if is_read is not None:
            targets[~is_read] = 0
        weights = (targets != 0).astype(np.float32)
        if self._weights is not None:
            weights *= self._weights[places + 1]
            targets[weights == 0] = 0
        if self._half_life is not None:
            ages = self.ends[users] - 2 - places
            weights *= np.exp2(-ages / self._half_life).astype(np.float32)
        chosen = np.nonzero(targets)
        begins = self.begins[np.broadcast_to(users, places.shape)[chosen]]
        found = places[chosen] + 1
        contexts = self._histories.contexts
        return (
            targets,
            weights,
            seen_before(self.items, begins, found),
            None if contexts is None else contexts[found],
        )


def is_known_target(histories: Histories) -> NDArray[np.bool_]:
    """Return, (T,), whether it counts to find the interaction's item, and it has a number."""
    is_known: NDArray[np.bool_] = histories.item_nums != UNKNOWN_NUM
    return is_known & histories.is_target


def _targets_after_the_first(histories: Histories) -> NDArray[np.int64]:
    """Return how many targets each user, (U,), has that something comes before."""
    before = offsets_of(is_known_target(histories) & (histories.places > 0))
    return np.diff(before[histories.offsets])
