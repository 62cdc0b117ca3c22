"""Who asks a release, for what, and what is to be searched with: before any list is made."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.dataset.histories import offsets_of
from raysys.errors import InvalidInputError
from raysys.index.home import keys_of_items
from raysys.index.put_items import PutItems
from raysys.serving.anchors import Anchor, Anchors
from raysys.serving.asked import Asked
from raysys.serving.context_codes import ContextCodes
from raysys.serving.exchange import EncodeRequest
from raysys.serving.filtering import GatewayFilters
from raysys.serving.item_vectors import ItemVectors
from raysys.serving.messages import Query, Source
from raysys.serving.observer import Trace
from raysys.serving.parts import Parts
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.visitors import Visitor, Visitors
from raysys.state.user_state import NO_STATE, UserState

_MAX_CACHED_VISITORS = 16_384  # about 1.5 KB each at width 160 and 150 seen items


class Placing:
    """Finds it out for one release, and keeps what it has learnt of users and items meanwhile.

    Args:
        put: what was put since the release, as it is known now.
    """

    def __init__(
        self,
        config: ServingConfig,
        release: ReleaseParts,
        parts: Parts,
        filters: GatewayFilters,
        item_vectors: ItemVectors,
        put: Callable[[], PutItems],
    ) -> None:
        self._exclude_seen = config.exclude_seen
        self._release = release
        self._parts = parts
        self._filters = filters
        self._put = put
        self._visitors = Visitors(
            release.items,
            release.histories,
            release.feedback,
            release.event_types,
            history_length=release.history_length,
            max_seen_items=config.max_seen_items,
            max_cached=_MAX_CACHED_VISITORS,
        )
        self._context_codes = ContextCodes(release.context)
        self._anchors = Anchors(release, parts, item_vectors)

    def check(self, query: Query) -> None:
        """Raise InvalidInputError where the release needs to know more."""
        if query.user_id is None and query.item_id is None and self._release.for_everybody is None:
            raise InvalidInputError(
                "1 validation error detected: userId and itemId are both null; give userId for "
                "what a user may like, or itemId for items like another one"
            )

    async def place(self, batch: Sequence[Asked], trace: Trace) -> None:
        """Say of each query who asks and what they must not get, and give a vector to those that
        are to be searched with; the others get the popular list, with the reason."""
        about_items = [asked for asked in batch if self._is_about_item(asked.query)]
        item_ids = [asked.query.item_id or "" for asked in about_items]
        anchors, _ = await asyncio.gather(
            self._anchors.of(item_ids, self._put()),
            self._place_users([each for each in batch if each.query.user_id is not None], trace),
        )
        self._obey([asked for asked in batch if asked.query.user_id is None], {}, trace)
        for asked in batch:
            if self._release.for_everybody is not None:
                self._show_everybodys(asked, self._release.for_everybody)
        for asked, item_id in zip(about_items, item_ids, strict=True):
            _ask_about(asked, anchors[item_id])

    def may_explore(self, query: Query) -> bool:
        """Return whether a list is one user's own: that of an item, and that of everybody, are what
        they are."""
        is_own = query.user_id is not None and self._release.for_everybody is None
        return is_own and not self._is_about_item(query)

    def _is_about_item(self, query: Query) -> bool:
        """Return whether a list is of items like one."""
        if query.item_id is None or self._release.for_everybody is not None:
            return False
        return query.user_id is None or self._release.asks_by_item

    def _show_everybodys(self, asked: Asked, source: Source) -> None:
        asked.source = source
        if asked.query.user_id is None and asked.query.item_id is not None:
            [key] = keys_of_items([asked.query.item_id], self._release.items).tolist()
            _leave_out(asked, key)  # it is what somebody looks at

    async def _place_users(self, batch: Sequence[Asked], trace: Trace) -> None:
        """Say what is known of the users who ask, and give vectors to lists for known ones."""
        if not batch:
            return
        user_ids = [asked.query.user_id or "" for asked in batch]
        with trace.stage("read"):
            states = await self._parts.state.user_states(user_ids)
            # Without the database, what the release knows is better than no answer.
            visitors = self._visitors.look_up(user_ids, states or {}, is_current=states is not None)
        for asked, user_id in zip(batch, user_ids, strict=True):
            self._recognise(asked, visitors[user_id], is_current=states is not None)
        self._obey(batch, states or {}, trace)
        if self._release.for_everybody is None:
            own = [asked for asked in batch if not self._is_about_item(asked.query)]
            await self._give_vectors(own, visitors, trace)

    def _recognise(self, asked: Asked, visitor: Visitor, *, is_current: bool) -> None:
        asked.is_degraded = not is_current
        asked.history = visitor.item_nums
        if self._exclude_seen:
            asked.banned, asked.banned_keys = visitor.seen, visitor.seen_keys

    def _obey(self, batch: Sequence[Asked], states: Mapping[str, UserState], trace: Trace) -> None:
        """Say of each query that has a filter what that demands of it."""
        filtered = [(asked, asked.applied) for asked in batch if asked.applied is not None]
        if not filtered:
            return
        with trace.stage("filter"):
            for asked, applied in filtered:
                state = states.get(asked.query.user_id or "", NO_STATE)
                asked.obey(self._filters.demand(applied, asked.query, state))

    async def _give_vectors(
        self, batch: Sequence[Asked], visitors: Mapping[str, Visitor], trace: Trace
    ) -> None:
        user_ids = [asked.query.user_id or "" for asked in batch]
        codes = [self._context_codes.of(asked.query.context) for asked in batch]
        wanted = [
            (user_id, visitors[user_id], code)
            for user_id, code in dict.fromkeys(zip(user_ids, codes, strict=True))
            if visitors[user_id].is_known and code not in visitors[user_id].vectors
        ]
        encoded = await self._encode(wanted, trace)
        for asked, user_id, code in zip(batch, user_ids, codes, strict=True):
            visitor = visitors[user_id]
            vector = encoded.get((user_id, code), visitor.vectors.get(code))
            if not visitor.is_known:
                asked.reason = "unknown-user"
            elif vector is None:
                asked.go_without("encoder-unavailable")
            else:
                trace.num_cached += (user_id, code) not in encoded
                asked.search_with(vector, "model")

    async def _encode(
        self, wanted: Sequence[tuple[str, Visitor, int]], trace: Trace
    ) -> dict[tuple[str, int], NDArray[np.float32]]:
        """Return the queries of users, each in the context of a code; none without an encoder."""
        if not wanted:
            return {}
        visitors = [visitor for _, visitor, _ in wanted]
        request = EncodeRequest(
            self._release.name,
            [user_id for user_id, _, _ in wanted],
            offsets_of([len(visitor.item_nums) for visitor in visitors]),
            np.concatenate([visitor.item_nums for visitor in visitors]),
            np.concatenate([visitor.occurred_at_us for visitor in visitors]),
            np.concatenate([visitor.event_types for visitor in visitors]),
            np.array([code for _, _, code in wanted], dtype=np.int64),
            {
                row: visitor.properties
                for row, visitor in enumerate(visitors)
                if visitor.properties is not None
            },
        )
        with trace.stage("encode"):
            vectors = await self._parts.encode(request)
        if vectors is None:
            return {}
        trace.num_encoded += len(vectors)
        found = {}
        for (user_id, visitor, code), vector in zip(wanted, vectors, strict=True):
            visitor.keep(code, vector)
            found[user_id, code] = vector
        return found


def _leave_out(asked: Asked, key: int) -> None:
    if key > 0:
        asked.banned = np.append(asked.banned, np.int32(key))
    else:
        asked.banned_keys = np.append(asked.banned_keys, key)


def _ask_about(asked: Asked, anchor: Anchor) -> None:
    """Let a query ask for items like its own, which it does not get itself."""
    _leave_out(asked, anchor.key)
    if anchor.vector is not None:
        asked.search_with(anchor.vector, "similar-items")
        asked.by_cosine = anchor.by_cosine
    elif anchor.away is not None:
        asked.go_without(anchor.away)
    else:
        asked.reason = "unknown-item"
