"""What is known of the users who ask: the release's history and what the database has since.

Letters for shapes:
    H  interactions of one user    E  items that the user is not to see again
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raysys.config import FeedbackConfig
from raysys.dataset.event_types import EventTypes
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.index.home import keys_of_new_items
from raysys.serving.past import Past
from raysys.state.user_state import NO_STATE, UserState
from raysys.tables import UNKNOWN_NUM

_MAX_CONTEXTS = 8
"""That the queries of one user are kept of."""

NO_ITEMS: NDArray[np.int32] = np.zeros(0, np.int32)
NO_KEYS: NDArray[np.int64] = np.zeros(0, np.int64)


@dataclass(slots=True, eq=False)
class Visitor:
    """One user at one version of their state.

    Args:
        item_nums: (H,) known items of the newest interactions that a model reads, oldest first.
        occurred_at_us: (H,)
        event_types: (H,)
        seen: (E,) distinct.
        seen_keys: the same, of items that the release does not know: distinct, all below 0.
        properties: the text of a JSON object, as a client put the user; None: nobody did.
        is_known: False once their query turned out to be zeros: the model knows nothing of them.
        vectors: (D,) the encoded queries, by the code of the context that they were asked in.
    """

    version: int
    item_nums: NDArray[np.int32]
    occurred_at_us: NDArray[np.int64]
    event_types: NDArray[np.int16]
    seen: NDArray[np.int32]
    seen_keys: NDArray[np.int64]
    properties: str | None = None
    is_known: bool = True
    vectors: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    def keep(self, code: int, vector: NDArray[np.float32]) -> None:
        """Keep the query in a context; of very many contexts the latest."""
        self.is_known = bool(vector.any())
        if len(self.vectors) >= _MAX_CONTEXTS:
            self.vectors.clear()
        self.vectors[code] = vector


class Visitors:
    """Looks visitors up, and keeps the latest `max_cached` with their encoded queries.

    One instance belongs to one release. A visitor is taken from the cache only at the version of
    the state that it was made for, so that a cached query is never older than the database.

    Args:
        feedback: what the release counts; the database's events are judged by it too.
        event_types: what the release calls the types of both.
        history_length: the newest interactions that an encoder wants.
        max_seen_items: the newest distinct items that count as seen.
    """

    def __init__(
        self,
        items: Vocabulary,
        histories: Histories,
        feedback: FeedbackConfig,
        event_types: EventTypes,
        *,
        history_length: int,
        max_seen_items: int,
        max_cached: int,
    ) -> None:
        self._items = items
        self._histories = histories
        self._feedback = feedback
        self._event_types = event_types
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
        past, seen_keys = Past.of_release(self._histories, row).of_known_items(), NO_KEYS
        if state.interactions:
            new = Past.of_interactions(
                state.interactions, self._feedback, self._items, self._event_types
            )
            past = past.merged(new.of_known_items())
            unknown = np.flatnonzero(new.item_nums == UNKNOWN_NUM).tolist()
            if unknown:
                seen_keys = keys_of_new_items(
                    {state.interactions[place].item_id for place in unknown}
                )
        read = past.where(past.is_read)
        first = max(0, len(read.item_nums) - self._history_length)
        return Visitor(
            version=state.version,
            item_nums=read.item_nums[first:],
            occurred_at_us=read.occurred_at_us[first:],
            event_types=read.event_types[first:],
            seen=past.newest_distinct(self._max_seen_items),
            seen_keys=seen_keys,
            properties=state.properties,
        )
