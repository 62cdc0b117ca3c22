"""From the queries of a micro-batch to lists, by one release alone: who asks, search, mixing."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.dataset.histories import offsets_of
from raysys.filters.masks import EVERYTHING
from raysys.index.home import keys_of_items
from raysys.serving.answering import answers_of, popular_list
from raysys.serving.asked import Asked
from raysys.serving.catalogue_now import Demand
from raysys.serving.context_codes import ContextCodes
from raysys.serving.exchange import EncodeRequest, SearchResult
from raysys.serving.exploring import decide_to_explore, exploration_of, show_mixed
from raysys.serving.filtering import GatewayFilters, filtering_of, state_of
from raysys.serving.item_vectors import ItemVectors
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.serving.observer import Trace
from raysys.serving.parts import Parts
from raysys.serving.promoting import leave_to_promoted, promoted_query, show_promoted
from raysys.serving.put_follower import PutFollower
from raysys.serving.ranking import merged_results, search_request
from raysys.serving.reasons import find_reasons
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.reranking import asked_of, show_reranked
from raysys.serving.visitors import Visitor, Visitors
from raysys.state.slates import Slate
from raysys.state.user_state import NO_STATE

_NO_DEMAND = Demand(EVERYTHING)
_MAX_CACHED_VISITORS = 16_384  # about 1.5 KB each at width 160 and 150 seen items


class ListMaker:
    """Makes the lists of one release, and keeps what it has learnt of users and items meanwhile."""

    def __init__(self, config: ServingConfig, release: ReleaseParts, parts: Parts) -> None:
        self._config = config
        self._release = release
        self._parts = parts
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
        self._item_vectors = ItemVectors(parts)
        self.put = PutFollower(release.items, parts.state.changed_items)
        self._filters = GatewayFilters(release, parts.state.filters, lambda: self.put.items)

    async def checked(self, query: Query) -> Asked:
        """Return what can travel in a batch, since nothing of it can fail there.

        Raises:
            ResourceNotFoundError: it names a filter that does not exist.
            InvalidInputError: the values of a filter do not fit, or it asks for a column that the
                items do not have.
            UnavailableError: whether a filter exists cannot be known now.
        """
        self._release.metadata.check(query.metadata_columns)
        asked = Asked(query, await self._filters.applied(query))
        if query.promotion is not None:
            promoted = promoted_query(query, query.promotion)
            asked.promoted = Asked(promoted, await self._filters.applied(promoted))
        return asked

    async def checked_list(self, query: RankQuery) -> tuple[Asked, RankQuery]:
        """Return the same of a list that is to be ranked. Raises what `checked` raises."""
        self._release.metadata.check(query.metadata_columns)
        asked = asked_of(query)
        asked.applied = await self._filters.applied(asked.query)
        return asked, query

    async def make(self, batch: list[Asked], trace: Trace) -> tuple[list[Answer], list[Slate]]:
        """Return an answer to each query, and what is to be remembered of it."""
        for asked in batch:
            decide_to_explore(asked, self._config.exploration_weight)
        promoted = [asked.promoted for asked in batch if asked.promoted is not None]
        everybody = [*batch, *promoted]
        by_user = [asked for asked in everybody if asked.query.user_id is not None]
        by_item = [asked for asked in everybody if asked.query.user_id is None]
        await asyncio.gather(self._place_users(by_user, trace), self._place_items(by_item))
        new_ids: dict[int, str] = {}
        if promoted:
            new_ids |= await self._rank(promoted, trace)
            for asked in batch:
                if asked.promoted is not None:
                    leave_to_promoted(asked, asked.promoted)
        new_ids |= await self._rank([each for each in batch if each.query.num_results], trace)
        for asked in batch:
            if asked.promoted is not None:
                show_promoted(asked, asked.promoted)
        await find_reasons(batch, self._release, self._item_vectors.of, new_ids)
        await asyncio.sleep(0)  # merging took its half millisecond: let others have their turn
        with trace.stage("finish"):
            return answers_of(batch, self._release, new_ids, self.put.items, _now_us())

    async def rerank(
        self, lists: list[tuple[Asked, RankQuery]], trace: Trace
    ) -> tuple[list[Answer], list[Slate]]:
        """Return each list in the order that its user would like, and what is to be remembered."""
        batch = [asked for asked, _ in lists]
        await self._place_users(batch, trace)
        with trace.stage("search"):
            new_ids = await show_reranked(
                lists, self._release, self.put.items, self._filters, self._item_vectors.of
            )
        await find_reasons(batch, self._release, self._item_vectors.of, new_ids)
        with trace.stage("finish"):
            return answers_of(batch, self._release, new_ids, self.put.items, _now_us())

    async def _place_users(self, batch: list[Asked], trace: Trace) -> None:
        """Find out who asks, and give a vector to each query of a known user."""
        if not batch:
            return
        user_ids = [asked.query.user_id or "" for asked in batch]
        with trace.stage("read"):
            states = await self._parts.state.user_states(user_ids)
            # Without the database, what the release knows is better than no answer.
            visitors = self._visitors.look_up(user_ids, states or {}, is_current=states is not None)
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
            asked.is_degraded = states is None
            asked.history = visitor.item_nums
            if self._config.exclude_seen:
                asked.banned, asked.banned_keys = visitor.seen, visitor.seen_keys
            if asked.applied is not None:
                state = state_of(states, user_id)
                asked.obey(self._filters.demand(asked.applied, asked.query, state))
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

    async def _place_items(self, batch: list[Asked]) -> None:
        """Give the vector of its item to each query for similar items."""
        if not batch:
            return
        item_ids = [asked.query.item_id or "" for asked in batch]
        keys: list[int] = keys_of_items(item_ids, self._release.items).tolist()
        put = self.put.items
        known = {
            item_id: key
            for item_id, key in zip(item_ids, keys, strict=True)
            if key > 0 or key in put.new
        }
        vectors = await self._item_vectors.of(known)
        for asked, item_id, key in zip(batch, item_ids, keys, strict=True):
            vector = vectors.get(key)
            if item_id not in known:
                asked.reason = "unknown-item"
            elif vector is None:
                asked.go_without("index-unavailable")
            else:
                itself = np.array([key])
                asked.banned = itself[itself > 0].astype(np.int32)
                asked.banned_keys = itself[itself < 0]
                asked.search_with(vector, "similar-items")
            if asked.applied is not None:
                asked.obey(self._filters.demand(asked.applied, asked.query, NO_STATE))

    async def _rank(self, batch: list[Asked], trace: Trace) -> dict[int, str]:
        """Find a list for each query of which it is known who asks; returns what `_search` does."""
        await self._give_popular([asked for asked in batch if asked.vector is None])
        return await self._search(
            [asked for asked in batch if asked.vector is not None or asked.weight > 0], trace
        )

    async def _search(self, batch: list[Asked], trace: Trace) -> dict[int, str]:
        """Give what the shards that answer find to each query that searches or explores.

        Returns the ids of the items among it that the release does not know, by key.
        """
        if not batch:
            return {}
        nowhere = np.zeros(self._release.embedding_dim, np.float32)
        request = search_request(
            self._release.name,
            [nowhere if asked.vector is None else asked.vector for asked in batch],
            ks=[0 if asked.vector is None else asked.query.num_results for asked in batch],
            by_cosine=[asked.source == "similar-items" for asked in batch],
            banned=[asked.banned for asked in batch],
            banned_keys=[asked.banned_keys for asked in batch],
            exploration=exploration_of(batch, _now_us()),
            filtering=filtering_of([asked.demand for asked in batch]),
        )
        with trace.stage("search"):
            results = await self._parts.search(request)
        is_degraded = len(results) < self._parts.num_shards
        for asked in batch:
            asked.is_degraded |= is_degraded
        if not results:
            searched = [asked for asked in batch if asked.vector is not None]
            for asked in searched:
                asked.go_without("index-unavailable")
            await self._give_popular(searched)
            return {}
        delta_version = min(result.delta_version for result in results)
        for asked, ranked in zip(batch, merged_results(results, request), strict=True):
            asked.delta_version = delta_version
            if asked.vector is not None:
                asked.ranked = ranked
        new_ids = {key: item_id for result in results for key, item_id in result.new_ids.items()}
        with trace.stage("explore"):
            exploring = [asked for asked in batch if asked.weight > 0]
            return new_ids | await self._explore(exploring, results)

    async def _give_popular(self, batch: Sequence[Asked]) -> None:
        """Give the most popular items that they may get to queries without a vector."""
        for asked in batch:
            popular = self._release.popular
            if asked.demand is not None or self.put.items.hidden:
                popular = await self._filters.popular(asked.demand or _NO_DEMAND)
            asked.ranked = popular_list(asked, popular)

    async def _explore(self, batch: list[Asked], results: Sequence[SearchResult]) -> dict[int, str]:
        """Mix fresh items into the lists that explore; return the ids of those that are new."""
        fresh = [result.fresh for result in results if result.fresh is not None]
        if not batch or not fresh:
            return {}
        for _ in show_mixed(batch, [part.candidates for part in fresh]):
            await asyncio.sleep(0)
        return {key: item_id for part in fresh for key, item_id in part.item_ids.items()}


def _now_us() -> int:
    return time.time_ns() // 1000
