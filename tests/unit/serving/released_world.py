"""A release of any model, answered for in this process by all that a deployment consists of."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.index.filtered import ShardFilters
from raysys.index.fresh import FreshPool
from raysys.index.shard import open_shard
from raysys.policy.policies import draw_policies
from raysys.release import Release
from raysys.serving.encoder import ReleaseEncoder
from raysys.serving.engine import Engine
from raysys.serving.exchange import EncodeRequest, FreshStatus, SearchRequest, SearchResult
from raysys.serving.messages import Answer, Query
from raysys.serving.parts import Parts
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.served import ServedRelease
from raysys.serving.shard import answer_search, answer_vectors
from raysys.state.items import Item
from raysys.state.store import StateStore
from tests.unit.serving.world import version

NUM_SHARDS = 2


def answers(
    release: Release,
    directory: Path,
    queries: Sequence[Query],
    *,
    put: Iterable[Item] = (),
    exclude_seen: bool = True,
) -> list[Answer]:
    """Return what a server of two shards answers, exploration being off.

    Args:
        directory: where its database lies.
        put: items that clients put before.
    """
    config = ServingConfig.model_validate(
        {
            "database": f"sqlite:///{directory}/state.db",
            "exploration_weight": 0,
            "exclude_seen": exclude_seen,
        }
    )
    store = StateStore(config.database, config.dataset_group)
    store.put_items([*put])
    shards = [_Shard(config, release, number, store) for number in range(NUM_SHARDS)]

    async def ask() -> list[Answer]:
        engine, parts = Engine(config, store), ReleaseParts.load(release)
        hops = Parts(parts.name, parts.num_partitions, engine.state, _Encoder(release), shards)
        served = ServedRelease(config, parts, hops)
        served.lists.put.catch_up()
        engine.serve([version()], lambda _: served, {})
        try:
            return await asyncio.gather(*map(engine.recommend, queries))
        finally:
            await engine.close()
            await served.close()

    return asyncio.run(ask())


class _Encoder:
    def __init__(self, release: Release) -> None:
        self._encoder = ReleaseEncoder.load(release)

    async def encode(self, request: EncodeRequest) -> NDArray:
        return self._encoder.encode(request)

    async def check(self, release: str) -> None: ...


class _Shard:
    def __init__(
        self, config: ServingConfig, release: Release, number: int, store: StateStore
    ) -> None:
        self._policies = draw_policies(config)
        self._index = open_shard(release, number, NUM_SHARDS)
        self._filters = ShardFilters.of_release(release, self._index)
        pool = FreshPool.of_release(
            release, self._index, shard=number, num_shards=NUM_SHARDS, age_cut_off_days=30
        )
        self._pool = pool.with_changes(store.changes(0), 0)

    async def search(self, request: SearchRequest) -> SearchResult:
        return answer_search(self._index, self._filters, self._pool, self._policies, request)

    async def vectors_of(self, release: str, keys: NDArray) -> tuple[NDArray, NDArray]:
        return answer_vectors(self._index, self._pool, keys)

    async def fresh_status(self, release: str) -> FreshStatus:
        return FreshStatus("replica", len(self._pool), self._pool.version)

    async def check(self, release: str) -> None: ...
