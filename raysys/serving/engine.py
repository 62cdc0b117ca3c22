"""The engine of a gateway: requests into micro-batches, answers out; events, items, users go in.

For a batch of B queries: one read of the users' states, one call to the query encoder for the
histories that are not cached, one call to each index shard, one merge, one mixing of fresh items.
Plain asyncio; whatever blocks (SQL) runs in threads.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from raysys.config import ServingConfig
from raysys.errors import UnavailableError
from raysys.serving.asked import Asked
from raysys.serving.batcher import Batcher
from raysys.serving.exchange import Encoder, IndexShard
from raysys.serving.intake import Intake
from raysys.serving.list_maker import ListMaker
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.serving.observer import NoObserver, Observer, Trace, report_of
from raysys.serving.pace import Pace
from raysys.serving.parts import Parts
from raysys.serving.release_parts import ReleaseParts
from raysys.state.events import Event
from raysys.state.group_commit import GroupCommitter
from raysys.state.items import Item
from raysys.state.slate_recorder import SlateRecorder
from raysys.state.slates import Slate
from raysys.state.store import StateStore
from raysys.state.users import User

_MAX_BATCHES_IN_FLIGHT = 4

AskedT = TypeVar("AskedT")


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
        self._lists = ListMaker(config, release, self._parts)
        self._observer = observer or NoObserver()
        self._committer = GroupCommitter(store, on_commit=self._observer.events)
        self._intake = Intake(store)
        self._recorder = SlateRecorder(store, on_outcome=self._observer.slates)
        limit = config.max_requests_per_s
        self._pace = Pace(None if limit is None else limit / config.num_gateways)
        self._queries: Batcher[Asked, Answer] = self._batcher(self._lists.make)
        self._rankings: Batcher[tuple[Asked, RankQuery], Answer] = self._batcher(self._lists.rerank)
        self._num_refused = 0
        """Of all that were refused, those that the observer was told of."""
        self._serialise_s = 0.0
        """What answers took to become bytes, of which the observer was not told yet."""

    async def recommend(self, query: Query) -> Answer:
        """Return an answer; parts that are away make it a degraded one, not an error.

        Raises:
            TooManyRequestsError: more come than may, too many wait already, or this one waited too
                long.
            ResourceNotFoundError, InvalidInputError, UnavailableError: see `ListMaker.checked`.
        """
        self._pace.take(time.monotonic())
        return await self._queries.submit(await self._lists.checked(query))

    async def rank(self, query: RankQuery) -> Answer:
        """Return the items of a list, best first; parts that are away make a degraded answer.

        Raises: what `recommend` raises.
        """
        self._pace.take(time.monotonic())
        return await self._rankings.submit(await self._lists.checked_list(query))

    def follow(self) -> None:
        """Catch up with what was put and hidden, then follow it, in a thread. Blocks meanwhile."""
        self._lists.put.start()

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
        await self._intake.put_items(items)

    async def put_users(self, users: Sequence[User]) -> None:
        """Return when the users are committed; the next answer of every gateway knows them."""
        await self._intake.put_users(users)

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
        await asyncio.to_thread(self._lists.put.close)
        await asyncio.to_thread(self._recorder.close)
        await self._parts.close()

    def _batcher(
        self,
        make: Callable[[list[AskedT], Trace], Awaitable[tuple[list[Answer], list[Slate]]]],
    ) -> Batcher[AskedT, Answer]:
        """Return what lets queries travel together, traced, and their slates be remembered."""

        async def answer(batch: list[AskedT]) -> list[Answer]:
            trace = Trace()
            try:
                answers, slates = await make(batch, trace)
                if self.config.record:
                    self._recorder.record(slates)
                return answers
            finally:
                self._observer.work(trace)

        return Batcher(
            answer,
            max_batch_size=self.config.max_batch_size,
            max_in_flight=_MAX_BATCHES_IN_FLIGHT,
            max_queued=self.config.max_queued_requests,
            deadline_s=self.config.deadline_s,
            on_batch=self._report,
        )

    def _report(
        self, answers: Sequence[Answer] | None, size: int, queued_s: float, seconds: float
    ) -> None:
        counters = (self._pace, self._queries, self._rankings)
        num_refused = sum(each.num_refused for each in counters) - self._num_refused
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
