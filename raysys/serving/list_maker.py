"""From the queries of a micro-batch to lists, by one release alone: search, merging, mixing."""

import asyncio
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.filters.masks import EVERYTHING
from raysys.serving.answering import answers_of, popular_list
from raysys.serving.asked import Asked
from raysys.serving.catalogue_now import Demand
from raysys.serving.exchange import SearchResult
from raysys.serving.exploring import Tossed, decide_to_explore, exploration_of, show_mixed, toss
from raysys.serving.filtering import GatewayFilters, filtering_of
from raysys.serving.item_vectors import ItemVectors
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.serving.observer import Trace
from raysys.serving.parts import Parts
from raysys.serving.placing import Placing
from raysys.serving.promoting import leave_to_promoted, promoted_query, show_promoted
from raysys.serving.put_follower import PutFollower
from raysys.serving.ranking import Ranked, merged_results, search_request
from raysys.serving.reasons import find_reasons
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.reranking import asked_of, show_reranked
from raysys.state.slates import Slate

_NO_DEMAND = Demand(EVERYTHING)


class ListMaker:
    """Makes the lists of one release, and keeps what it has learnt of users and items meanwhile."""

    def __init__(self, config: ServingConfig, release: ReleaseParts, parts: Parts) -> None:
        self._config = config
        self._release = release
        self._parts = parts
        self.put = PutFollower(release.items, parts.state.changed_items)
        self._item_vectors = ItemVectors(
            parts, lambda key: release.goes_by_put(key, self.put.items)
        )
        self._filters = GatewayFilters(release, parts.state.filters, lambda: self.put.items)
        self._placing = Placing(
            config, release, parts, self._filters, self._item_vectors, lambda: self.put.items
        )

    async def checked(self, query: Query) -> Asked:
        """Return what can travel in a batch, since nothing of it can fail there.

        Raises:
            ResourceNotFoundError: it names a filter that does not exist.
            InvalidInputError: it says neither who asks nor about what, the values of a filter do
                not fit, or it asks for a column that the items do not have.
            UnavailableError: whether a filter exists cannot be known now.
        """
        self._placing.check(query)
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
            decide_to_explore(asked, self._config)
            if not self._placing.may_explore(asked.query):
                asked.weight = 0.0
        promoted = [asked.promoted for asked in batch if asked.promoted is not None]
        await self._placing.place([*batch, *promoted], trace)
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
        await self._placing.place(batch, trace)
        with trace.stage("search"):
            new_ids = await show_reranked(
                lists, self._release, self.put.items, self._filters, self._item_vectors.of
            )
        await find_reasons(batch, self._release, self._item_vectors.of, new_ids)
        with trace.stage("finish"):
            return answers_of(batch, self._release, new_ids, self.put.items, _now_us())

    async def _rank(self, batch: list[Asked], trace: Trace) -> dict[int, str]:
        """Find a list for each query of which it is known who asks; returns what `_search` does."""
        strangers = [asked for asked in batch if asked.vector is None]
        new_ids = await self._give_popular(strangers, trace)
        return new_ids | await self._search(
            [asked for asked in batch if asked.vector is not None or asked.weight > 0], trace
        )

    async def _search(self, batch: list[Asked], trace: Trace) -> dict[int, str]:
        """Give what the shards that answer find to each query that searches or explores.

        Returns the ids of the items among it that the release does not know, by key.
        """
        if not batch:
            return {}
        tossed = toss(batch)
        nowhere = np.zeros(self._release.embedding_dim, np.float32)
        request = search_request(
            self._release.name,
            [nowhere if asked.vector is None else asked.vector for asked in batch],
            ks=[0 if asked.vector is None else asked.query.num_results for asked in batch],
            by_cosine=[asked.by_cosine for asked in batch],
            banned=[asked.banned for asked in batch],
            banned_keys=[asked.banned_keys for asked in batch],
            exploration=None if tossed is None else exploration_of(batch, tossed, _now_us()),
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
            return await self._give_popular(searched, trace)
        delta_version = min(result.delta_version for result in results)
        for asked, ranked in zip(batch, merged_results(results, request), strict=True):
            asked.delta_version = delta_version
            if asked.vector is not None:
                asked.ranked = ranked if asked.has_scores else Ranked(ranked.keys)
        new_ids = {key: item_id for result in results for key, item_id in result.new_ids.items()}
        with trace.stage("explore"):
            return new_ids | await self._explore(tossed, results)

    async def _give_popular(self, batch: Sequence[Asked], trace: Trace) -> dict[int, str]:
        """Give the most popular items that they may get to queries without a vector.

        Returns the ids of those that the release does not know, by key.
        """
        new_ids: dict[int, str] = {}
        for asked in batch:
            popular: NDArray[np.integer] = self._release.popular
            put = self.put.items
            if asked.demand is not None or put.hidden or put.new:
                with trace.stage("filter"):
                    popular = await self._filters.popular(asked.demand or _NO_DEMAND)
            asked.ranked = popular_list(asked, popular)
            new_ids |= put.ids_of(asked.ranked.keys)
        return new_ids

    async def _explore(
        self, tossed: Tossed | None, results: Sequence[SearchResult]
    ) -> dict[int, str]:
        """Mix fresh items into the lists that explore; return the ids of those that are new."""
        fresh = [result.fresh for result in results if result.fresh is not None]
        if tossed is None or not fresh:
            return {}
        for _ in show_mixed(tossed, fresh):
            await asyncio.sleep(0)
        return {key: item_id for part in fresh for key, item_id in part.item_ids.items()}


def _now_us() -> int:
    return time.time_ns() // 1000
