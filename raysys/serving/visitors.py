"""What is known of the users who ask: the release's history and what the database has since.

Letters for shapes:
    H  interactions of one user    E  items that the user is not to see again
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.index.home import keys_of_new_items
from raysys.state.user_state import NO_STATE, UserState

NO_ITEMS: NDArray[np.int32] = np.zeros(0, np.int32)
NO_TIMES: NDArray[np.int64] = np.zeros(0, np.int64)
NO_KEYS: NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(slots=True, eq=False)
class Visitor:
    """One user at one version of their state.

    Args:
        item_nums: (H,) known items of the newest interactions, oldest first.
        occurred_at_us: (H,)
        seen: (E,) distinct.
        seen_keys: the same, of items that the release does not know: distinct, all below 0.
        is_known: there is something that a query can be made of.
        vector: (D,) the encoded query; None until it was encoded.
    """

    version: int
    item_nums: NDArray[np.int32]
    occurred_at_us: NDArray[np.int64]
    seen: NDArray[np.int32]
    seen_keys: NDArray[np.int64]
    is_known: bool
    vector: NDArray[np.float32] | None = None


class Visitors:
    """Looks visitors up, and keeps the latest `max_cached` with their encoded queries.

    One instance belongs to one release. A visitor is taken from the cache only at the version of
    the state that it was made for, so that a cached query is never older than the database.

    Args:
        history_length: the newest interactions that an encoder wants.
        max_seen_items: the newest distinct items that count as seen.
    """

    def __init__(
        self,
        items: Vocabulary,
        histories: Histories,
        *,
        history_length: int,
        max_seen_items: int,
        max_cached: int,
    ) -> None:
        self._items = items
        self._histories = histories
        self._history_length = history_length
        self._max_seen_items = max_seen_items
        self._max_cached = max_cached
        self._cache: OrderedDict[str, Visitor] = OrderedDict()

    def look_up(
        self, user_ids: Sequence[str], states: Mapping[str, UserState], *, is_current: bool = True
    ) -> dict[str, Visitor]:
        """Return the visitor of each distinct user id; a stranger has an empty history.

        Args:
            is_current: False when `states` could not be read: then the cache, which may be older
                than the database, is as good as it gets, and nothing new enters it.
        """
        visitors: dict[str, Visitor] = {}
        missing: list[str] = []
        for user_id in dict.fromkeys(user_ids):
            cached = self._cache.get(user_id)
            version = states.get(user_id, NO_STATE).version
            if cached is not None and (cached.version == version or not is_current):
                self._cache.move_to_end(user_id)
                visitors[user_id] = cached
            else:
                missing.append(user_id)
        if missing:
            for user_id, row in zip(
                missing, self._histories.rows_of(missing).tolist(), strict=True
            ):
                visitor = self._make(row, states.get(user_id, NO_STATE))
                visitors[user_id] = visitor
                if is_current:
                    self._cache[user_id] = visitor
            while len(self._cache) > self._max_cached:
                self._cache.popitem(last=False)
        return visitors

    def _make(self, row: int, state: UserState) -> Visitor:
        nums, times = self._histories.of(row) if row >= 0 else (NO_ITEMS, NO_TIMES)
        nums, times = _known_only(nums, times)
        seen_keys = NO_KEYS
        if state.item_ids:
            new_nums = self._items.numbers(state.item_ids)
            new_times = np.array(state.occurred_at_us, dtype=np.int64)
            nums, times = merge_interactions(nums, times, *_known_only(new_nums, new_times))
            unknown = {state.item_ids[place] for place in np.flatnonzero(new_nums == 0)}
            if unknown:
                seen_keys = keys_of_new_items(unknown)
        length = self._history_length
        return Visitor(
            version=state.version,
            item_nums=nums[-length:],
            occurred_at_us=times[-length:],
            seen=newest_distinct(nums, self._max_seen_items),
            seen_keys=seen_keys,
            is_known=len(nums) > 0,
        )


def merge_interactions(
    nums: NDArray[np.int32],
    times: NDArray[np.int64],
    new_nums: NDArray[np.int32],
    new_times: NDArray[np.int64],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return a release's interactions of a user and the database's, as one history by time.

    The database may hold what the release was made from as well, so an interaction of both, which
    is one with the same item and time, counts once. Late events, older than the newest of the
    release, find their place by time; of equal times the release's come first.
    """
    if len(times) and len(new_times) and new_times[0] <= times[-1]:
        known = set(zip(nums.tolist(), times.tolist(), strict=True))
        pairs = zip(new_nums.tolist(), new_times.tolist(), strict=True)
        is_new = np.array([pair not in known for pair in pairs], dtype=bool)
        new_nums, new_times = new_nums[is_new], new_times[is_new]
    all_nums, all_times = np.concatenate([nums, new_nums]), np.concatenate([times, new_times])
    if len(all_times) > 1 and (all_times[1:] < all_times[:-1]).any():
        order = np.argsort(all_times, kind="stable")
        all_nums, all_times = all_nums[order], all_times[order]
    return all_nums, all_times


def newest_distinct(item_nums: NDArray[np.int32], n: int) -> NDArray[np.int32]:
    """Return the newest `n` distinct items of a history, as `Histories.newest_distinct` does."""
    distinct, newest_first = np.unique(item_nums[::-1], return_index=True)
    if len(distinct) > n:
        distinct = distinct[np.argsort(newest_first)[:n]]
    return distinct


def _known_only(
    nums: NDArray[np.int32], times: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    is_known = nums > 0
    return (nums, times) if is_known.all() else (nums[is_known], times[is_known])
