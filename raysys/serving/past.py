"""One user's interactions, those of a release and those of the database, as one history.

Letters for shapes:
    H  interactions
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.config import FeedbackConfig
from raysys.dataset.event_types import EventTypes
from raysys.dataset.feedback import weights_of_interactions
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.state.user_state import Interaction
from raysys.tables import UNKNOWN_NUM


@dataclass(frozen=True, slots=True, eq=False)
class Past:
    """What one user did, oldest first."""

    item_nums: NDArray[np.int32]
    """(H,); 0 where the release does not know the item."""
    occurred_at_us: NDArray[np.int64]
    """(H,)"""
    event_types: NDArray[np.int16]
    """(H,) numbers of `EventTypes`."""
    is_read: NDArray[np.bool_]
    """(H,): False where the item counts as seen and no model reads it."""

    @classmethod
    def of_release(cls, histories: Histories, row: int) -> "Past":
        """Return the past of a row; an empty one of a row below 0."""
        if row < 0:
            return _NOTHING
        one = histories.slice(row, row + 1)
        types, is_read = np.zeros(len(one.item_nums), np.int16), np.ones(len(one.item_nums), bool)
        if one.event_types is not None:
            types = one.event_types
        if one.weights is not None:
            is_read = one.weights >= 0
        return cls(one.item_nums, one.occurred_at_us, types, is_read)

    @classmethod
    def of_interactions(
        cls,
        interactions: Sequence[Interaction],
        feedback: FeedbackConfig,
        items: Vocabulary,
        event_types: EventTypes,
    ) -> "Past":
        """Return the past that the database tells, judged as the release judged its own."""
        nums = items.numbers([each.item_id for each in interactions])
        times = np.array([each.occurred_at_us for each in interactions], dtype=np.int64)
        types = event_types.numbers_of_interactions(interactions)
        return cls(nums, times, types, weights_of_interactions(interactions, feedback) >= 0)

    def where(self, keep: NDArray[np.bool_]) -> "Past":
        """Return the interactions that `keep`, (H,), marks."""
        if keep.all():
            return self
        return self._taken(np.flatnonzero(keep))

    def of_known_items(self) -> "Past":
        """Return the interactions with items that the release knows."""
        return self.where(self.item_nums != UNKNOWN_NUM)

    def merged(self, new: "Past") -> "Past":
        """Return a release's interactions of a user and the database's, as one history by time.

        The database may hold what the release was made from as well, so an interaction of both,
        which is one with the same item, time, type and way to count, counts once. Late events,
        older than the newest of the release, find their place by time; of equal times the release's
        come first.
        """
        if not len(new.item_nums):
            return self
        times, new_times = self.occurred_at_us, new.occurred_at_us
        if len(times) and new_times[0] <= times[-1]:
            known = set(self._identities())
            new = new.where(np.array([each not in known for each in new._identities()], dtype=bool))
        together = Past(
            np.concatenate([self.item_nums, new.item_nums]),
            np.concatenate([times, new.occurred_at_us]),
            np.concatenate([self.event_types, new.event_types]),
            np.concatenate([self.is_read, new.is_read]),
        )
        times = together.occurred_at_us
        if len(times) > 1 and (times[1:] < times[:-1]).any():
            return together._taken(np.argsort(times, kind="stable"))
        return together

    def newest_distinct(self, n: int) -> NDArray[np.int32]:
        """Return the newest `n` distinct items, as `Histories.newest_distinct` does."""
        distinct, newest_first = np.unique(self.item_nums[::-1], return_index=True)
        if len(distinct) > n:
            distinct = distinct[np.argsort(newest_first)[:n]]
        return distinct

    def _identities(self) -> Iterable[tuple[int, int, int, bool]]:
        return zip(*(column.tolist() for column in self._columns()), strict=True)

    def _taken(self, places: NDArray[np.int64]) -> "Past":
        nums, times, types, is_read = self._columns()
        return Past(nums[places], times[places], types[places], is_read[places])

    def _columns(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int16], NDArray[np.bool_]]:
        return self.item_nums, self.occurred_at_us, self.event_types, self.is_read


_NOTHING = Past(
    np.zeros(0, np.int32), np.zeros(0, np.int64), np.zeros(0, np.int16), np.zeros(0, bool)
)
