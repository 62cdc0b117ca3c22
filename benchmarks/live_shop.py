"""A release behind a gateway's engine, with shards and encoder in this process, that lives days.

What a deployment does by itself at intervals of a clock happens here when it is told to: shards and
gateway hear of what was put and counted (`catch_up`), and another release takes over (`open`).
"""

import asyncio
import time
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.dataset.feedback import weights_of_interactions
from raysys.index.filtered import ShardFilters
from raysys.index.fresh import FreshPool
from raysys.index.shard import open_shard
from raysys.policy.policies import draw_policies
from raysys.release import Release
from raysys.serving.encoder import ReleaseEncoder
from raysys.serving.engine import Engine
from raysys.serving.exchange import EncodeRequest, FreshStatus, SearchRequest, SearchResult
from raysys.serving.messages import Answer, Query
from raysys.serving.observer import NoObserver
from raysys.serving.parts import Parts
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.served import ServedRelease
from raysys.serving.shard import answer_search, answer_vectors
from raysys.state.campaigns import CampaignVersion, Plan, Variant
from raysys.state.events import Event
from raysys.state.items import Item
from raysys.state.slate_recorder import Outcome
from raysys.state.store import StateStore

NUM_SHARDS = 2
_GiveT = TypeVar("_GiveT")


class LiveShop:
    """One gateway with all that it asks, and a database that outlives its releases."""

    def __init__(self, directory: Path, settings: Mapping[str, Any]) -> None:
        database = {"database": f"sqlite:///{directory}/state.db"}
        self._config = ServingConfig.model_validate(database | {**settings})
        self.store = StateStore(self._config.database, self._config.dataset_group)
        self._loop = asyncio.new_event_loop()
        self._recorded = _Recorded()
        self._engine = self._run(self._made_engine())
        self._served: ServedRelease | None = None
        self._shards: list[_Shard] = []
        self._num_answers = 0

    def open(self, release: Release) -> None:
        """Answer from this release from now on."""
        if self._served is not None:
            self._run(self._served.close())
        feedback = release.settings().feedback
        self.store.keep(
            self._config.max_seen_items, lambda some: weights_of_interactions(some, feedback)
        )
        self._shards = [_Shard(self._config, release, number) for number in range(NUM_SHARDS)]
        parts = ReleaseParts.load(release)
        hops = Parts(
            parts.name, parts.num_partitions, self._engine.state, _Encoder(release), self._shards
        )
        served = ServedRelease(self._config, parts, hops)
        plan = Plan((Variant(str(release.path), release.name, 1.0),))
        version = CampaignVersion("default", 1, "", plan, "serving", "", 0)
        self._engine.serve([version], lambda _: served, {})
        self._served = served
        self.catch_up()

    def catch_up(self) -> None:
        """Let everybody know what was put, shown and clicked until now."""
        assert self._served is not None
        # Slates are stored by a thread of its own, a second later at most.
        while self._recorded.num_slates < self._num_answers:
            time.sleep(0.01)
        for shard in self._shards:
            shard.follow(self.store)
        self._served.lists.put.catch_up()

    def put_items(self, items: Sequence[Item]) -> None:
        self.store.put_items(items)
        self.catch_up()

    def ask(self, queries: Sequence[Query]) -> list[Answer]:
        """Return an answer to each query, all of which come at once."""

        async def ask() -> list[Answer]:
            return await asyncio.gather(*map(self._engine.recommend, queries))

        self._num_answers += len(queries)
        return self._run(ask())

    def put_events(self, events: Sequence[Event]) -> None:
        self._run(self._engine.put_events(events))

    def close(self) -> None:
        self._run(self._engine.close())
        if self._served is not None:
            self._run(self._served.close())
        self._loop.close()

    async def _made_engine(self) -> Engine:
        return Engine(self._config, self.store, self._recorded)

    def _run(self, given: Coroutine[Any, Any, _GiveT]) -> _GiveT:
        return self._loop.run_until_complete(given)


class _Recorded(NoObserver):
    """Counts the slates that are stored."""

    num_slates = 0

    def slates(self, outcome: Outcome, number: int) -> None:
        assert outcome == "recorded", "a list was not stored"
        self.num_slates += number


class _Encoder:
    def __init__(self, release: Release) -> None:
        self._encoder = ReleaseEncoder.load(release)

    async def encode(self, request: EncodeRequest) -> NDArray[np.float32]:
        return self._encoder.encode(request)

    async def check(self, release: str) -> None: ...


class _Shard:
    def __init__(self, config: ServingConfig, release: Release, number: int) -> None:
        self._index = open_shard(release, number, NUM_SHARDS)
        self._filters = ShardFilters.of_release(release, self._index)
        self._pool = FreshPool.of_release(
            release,
            self._index,
            shard=number,
            num_shards=NUM_SHARDS,
            age_cut_off_days=config.exploration_item_age_cut_off,
        )
        self._policies = draw_policies(config)

    def follow(self, store: StateStore) -> None:
        changes = store.changes(self._pool.version)
        self._pool = self._pool.with_changes(changes, time.time_ns() // 1000)

    async def search(self, request: SearchRequest) -> SearchResult:
        return answer_search(self._index, self._filters, self._pool, self._policies, request)

    async def vectors_of(
        self, release: str, keys: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return answer_vectors(self._index, self._pool, keys)

    async def fresh_status(self, release: str) -> FreshStatus:
        return FreshStatus("replica", len(self._pool), self._pool.version)

    async def check(self, release: str) -> None: ...
