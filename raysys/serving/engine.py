"""The engine: queries in, answers out, each hop once per micro-batch. Plain asyncio.

For a batch of B queries: one read of the users' states, one call to the query encoder for the
histories that are not cached, one call to each index shard, one merge, one mixing of fresh items.
Whatever blocks (SQL) runs in threads.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.dataset.histories import offsets_of
from raysys.errors import UnavailableError
from raysys.serving.answering import answers_of, popular_list
from raysys.serving.asked import Asked
from raysys.serving.batcher import Batcher
from raysys.serving.context_codes import ContextCodes
from raysys.serving.exchange import Encoder, EncodeRequest, IndexShard, SearchResult
from raysys.serving.exploring import decide_to_explore, exploration_of, show_mixed
from raysys.serving.filtering import GatewayFilters, filtering_of, state_of
from raysys.serving.item_intake import ItemIntake
from raysys.serving.item_vectors import ItemVectors
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.serving.observer import NoObserver, Observer, Trace, report_of
from raysys.serving.parts import Parts
from raysys.serving.promoting import leave_to_promoted, promoted_query, show_promoted
from raysys.serving.ranking import merged_results, search_request
from raysys.serving.reasons import find_reasons
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.reranking import asked_of, show_reranked
from raysys.serving.visitors import Visitor, Visitors
from raysys.state.events import Event
from raysys.state.group_commit import GroupCommitter
from raysys.state.items import Item
from raysys.state.slate_recorder import SlateRecorder
from raysys.state.store import StateStore
from raysys.state.user_state import NO_STATE

_MAX_BATCHES_IN_FLIGHT = 4
_MAX_CACHED_VISITORS = 16_384  # about 1.5 KB each at width 160 and 150 seen items


class Engine:
    """One gateway's way from requests to answers, for one release. See `messages.Recommender`."""

    def __init__(
        self,
        config: ServingConfig,
        release: ReleaseParts,
        store: StateStore,
        encoder: Encoder,
        shards: Sequence[IndexShard],
        observer: Observer | None = None,
    ) -> None:
        self.config = config
        self._release = release
        self._parts = Parts(release.name, release.num_partitions, store, encoder, shards)
        self._observer = observer or NoObserver()
        self._committer = GroupCommitter(store, on_commit=self._observer.events)
        self._intake = ItemIntake(store)
        self._recorder = SlateRecorder(store, on_outcome=self._observer.slates)
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
        self._item_vectors = ItemVectors(self._parts)
        self._filters = GatewayFilters(release, self._parts.filters)
        self._batcher: Batcher[Asked, Answer] = Batcher(
            self._answer,
            max_batch_size=config.max_batch_size,
            max_in_flight=_MAX_BATCHES_IN_FLIGHT,
            max_queued=config.max_queued_requests,
            deadline_s=config.deadline_s,
            on_batch=self._report,
        )
        self._rankings: Batcher[tuple[Asked, RankQuery], Answer] = Batcher(
            self._rerank,
            max_batch_size=config.max_batch_size,
            max_in_flight=_MAX_BATCHES_IN_FLIGHT,
            max_queued=config.max_queued_requests,
            deadline_s=config.deadline_s,
            on_batch=self._report,
        )
        self._num_refused = 0
        """Of the batchers', those that the observer was told of."""
        self._serialise_s = 0.0
        """What answers took to become bytes, of which the observer was not told yet."""

    async def recommend(self, query: Query) -> Answer:
        """Return an answer; parts that are away make it a degraded one, not an error.

        Raises:
            TooManyRequestsError: too many requests wait already.
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
        return await self._batcher.submit(asked)

    async def rank(self, query: RankQuery) -> Answer:
        """Return the items of a list, best first; parts that are away make a degraded answer.

        Raises: what `recommend` raises.
        """
        self._release.metadata.check(query.metadata_columns)
        asked = asked_of(query)
        asked.applied = await self._filters.applied(asked.query)
        return await self._rankings.submit((asked, query))

    def serialised(self, seconds: float) -> None:
        """Is told how long it took to put an answer into bytes."""
        self._serialise_s += seconds

    def refused(self, code: str) -> None:
        """Is told that a request was answered with an error."""
        self._observer.error(code)

    async def put_events(self, events: Sequence[Event]) -> None:
        """Return when the events are committed; the next answer of every gateway knows them."""
        await self._committer.submit(events)

    async def put_items(self, items: Sequence[Item]) -> None:
        """Return when the items are committed; the shards hear of them within a second."""
        await self._intake.put(items)

    async def ready(self) -> Mapping[str, str | int]:
        """Return what is served; UnavailableError, naming every part that does not answer."""
        missing = await self._parts.missing()
        if missing:
            raise UnavailableError(f"Not ready to serve: {'; '.join(missing)}.")
        fresh = await self._parts.fresh_statuses()
        return {
            "release": self._release.name,
            "shards": self._parts.num_shards,
            "items": len(self._release.items),
            "users": len(self._release.histories),
            "fresh_items": sum(status.num_items for status in fresh),
            "delta_version": min((status.delta_version for status in fresh), default=0),
        }

    async def close(self) -> None:
        """Commit what waits, then let go of everything."""
        await self._committer.close()
        await self._intake.close()
        await asyncio.to_thread(self._recorder.close)
        await self._parts.close()

    async def _answer(self, batch: list[Asked]) -> list[Answer]:
        trace = Trace()
        try:
            return await self._answer_traced(batch, trace)
        finally:
            self._observer.work(trace)

    async def _answer_traced(self, batch: list[Asked], trace: Trace) -> list[Answer]:
        for asked in batch:
            decide_to_explore(asked, self.config.exploration_weight)
        promoted = [asked.promoted for asked in batch if asked.promoted is not None]
        everybody = [*batch, *promoted]
        by_user = [asked for asked in everybody if asked.query.user_id is not None]
        by_item = [asked for asked in everybody if asked.query.user_id is None]
        await asyncio.gather(self._place_users(by_user, trace), self._place_items(by_item))
        if promoted:
            await self._rank(promoted, trace)
            for asked in batch:
                if asked.promoted is not None:
                    leave_to_promoted(asked, asked.promoted)
        new_ids = await self._rank([each for each in batch if each.query.num_results], trace)
        for asked in batch:
            if asked.promoted is not None:
                show_promoted(asked, asked.promoted)
        await find_reasons(batch, self._release, self._item_vectors.of)
        await asyncio.sleep(0)  # merging took its half millisecond: let others have their turn
        now_us = time.time_ns() // 1000
        with trace.stage("finish"):
            answers, slates = answers_of(batch, self._release, new_ids, now_us)
            self._recorder.record(slates)
        return answers

    async def _rerank(self, lists: list[tuple[Asked, RankQuery]]) -> list[Answer]:
        trace = Trace()
        try:
            batch = [asked for asked, _ in lists]
            await self._place_users(batch, trace)
            with trace.stage("search"):
                new_ids = await show_reranked(
                    lists, self._release, self._filters, self._item_vectors.of
                )
            await find_reasons(batch, self._release, self._item_vectors.of)
            with trace.stage("finish"):
                answers, slates = answers_of(batch, self._release, new_ids, time.time_ns() // 1000)
                self._recorder.record(slates)
            return answers
        finally:
            self._observer.work(trace)

    def _report(
        self, answers: Sequence[Answer] | None, size: int, queued_s: float, seconds: float
    ) -> None:
        num_refused = self._batcher.num_refused + self._rankings.num_refused - self._num_refused
        self._num_refused += num_refused
        serialise_s, self._serialise_s = self._serialise_s, 0.0
        report = report_of(
            answers,
            size=size,
            latency_s=seconds,
            queued_s=queued_s,
            serialise_s=serialise_s,
            num_refused=num_refused,
        )
        self._observer.batch(report)

    async def _place_users(self, batch: list[Asked], trace: Trace) -> None:
        """Find out who asks, and give a vector to each query of a known user."""
        if not batch:
            return
        user_ids = [asked.query.user_id or "" for asked in batch]
        with trace.stage("read"):
            states = await self._parts.user_states(user_ids)
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
            if self.config.exclude_seen:
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
        nums: list[int] = self._release.items.numbers(item_ids).tolist()
        known = {item_id: num for item_id, num in zip(item_ids, nums, strict=True) if num}
        vectors = await self._item_vectors.of(known)
        for asked, num in zip(batch, nums, strict=True):
            vector = vectors.get(num)
            if not num:
                asked.reason = "unknown-item"
            elif vector is None:
                asked.go_without("index-unavailable")
            else:
                asked.banned = np.array([num], dtype=np.int32)
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
            exploration=exploration_of(batch, time.time_ns() // 1000),
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
        for asked, ranked in zip(batch, merged_results(results, request), strict=True):
            if asked.vector is not None:
                asked.ranked = ranked
        with trace.stage("explore"):
            return await self._explore([asked for asked in batch if asked.weight > 0], results)

    async def _give_popular(self, batch: Sequence[Asked]) -> None:
        """Give the most popular items that they may get to queries without a vector."""
        for asked in batch:
            popular = self._release.popular
            if asked.demand is not None:
                popular = await self._filters.popular(asked.demand)
            asked.ranked = popular_list(asked, popular)

    async def _explore(self, batch: list[Asked], results: Sequence[SearchResult]) -> dict[int, str]:
        """Mix fresh items into the lists that explore; return the ids of those that are new."""
        fresh = [result.fresh for result in results if result.fresh is not None]
        if not batch or not fresh:
            return {}
        for _ in show_mixed(batch, [part.draws.candidates for part in fresh]):
            await asyncio.sleep(0)
        for asked in batch:
            asked.delta_version = min(part.delta_version for part in fresh)
        return {key: item_id for part in fresh for key, item_id in part.draws.item_ids.items()}
