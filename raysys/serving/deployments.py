"""The parts on Ray Serve: gateway, query encoder, index shards. The rest of the room knows no Ray.

    Gateway          HTTP ingress; owns each request; `engine`
    QueryEncoder     histories -> query vectors; the only process here that imports torch
    IndexShard-<s>   the partitions p with p mod num_shards = s

Every part verifies and loads its own files of the release, in a thread, before it reports ready.
What only one part needs is imported where that part starts, so that the others start sooner.
"""

import asyncio
import gc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from ray import serve

from raysys.config import ServingConfig
from raysys.errors import ReleaseMismatchError
from raysys.release import Release, open_release
from raysys.serving.exchange import EncodeRequest, FreshStatus, SearchRequest, SearchResult
from raysys.serving.listen import check_listen_address
from raysys.serving.log_lines import start_logging
from raysys.serving.nodes import (
    check_database,
    gateway_hosts,
    listen_for_proxy_of_head,
    listen_on_node_address,
)

if TYPE_CHECKING:
    from raysys.serving.engine import Engine
    from raysys.serving.key_ring import KeyRing

# Serve answers 503 in plain text beyond this; the gateway answers 429 in the wire format long
# before. Requests for events and for health come on top of the queue for recommendations.
_MAX_ONGOING_REQUESTS = 100_000
# The lists of a micro-batch are thousands of objects that go when it ends, none in a circle. Python
# would look for circles every 700 objects, several times a batch.
_OBJECTS_PER_GARBAGE_COLLECTION = 10_000
_HEALTH_CHECK_PERIOD_S = 2  # Serve's 10 s is how long a killed shard would stay unnoticed

AsgiBuilder = Callable[["Engine", ServingConfig, "KeyRing | None"], Any]
ResultT = TypeVar("ResultT")


class QueryEncoder:
    """One replica of the query encoder."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: ServingConfig, release_path: str
    ) -> None:
        from raysys.serving.encoder import ReleaseEncoder  # imports torch, so only here
        from raysys.serving.metrics import PartMetrics

        start_logging(campaign=config.campaign, part="encoder")
        listen_on_node_address()
        self._worker = _Worker(release_path)
        wants_gpu = config.gpus_per_encoder > 0
        self._encoder = await self._worker.run(ReleaseEncoder.load, self._worker.release, wants_gpu)
        self._metrics = PartMetrics(config.campaign, "encoder")

    async def encode(self, request: EncodeRequest) -> NDArray[np.float32]:
        self._worker.check(request.release)
        with self._metrics.work():
            return await self._worker.run(self._encoder.encode, request)

    async def check(self, release: str) -> None:
        self._worker.check(release)


class IndexShard:
    """One replica of one index shard."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: ServingConfig, release_path: str, shard: int
    ) -> None:
        from raysys.serving.metrics import PartMetrics
        from raysys.serving.shard import ReleaseShard  # imports FAISS, which a gateway needs not

        part = f"shard-{shard}"
        start_logging(campaign=config.campaign, part=part)
        listen_on_node_address()
        await asyncio.to_thread(check_database, config.database)
        self._worker = _Worker(release_path)
        release = self._worker.release
        self._metrics = PartMetrics(config.campaign, part)
        self._shard = await self._worker.run(
            ReleaseShard.load, config, release, shard, self._metrics.fresh_items
        )

    async def search(self, request: SearchRequest) -> SearchResult:
        self._worker.check(request.release)
        with self._metrics.work():
            return await self._worker.run(self._shard.search, request)

    async def vectors_of(
        self, release: str, keys: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        self._worker.check(release)
        return await self._worker.run(self._shard.vectors_of, keys)

    async def fresh_status(self, release: str) -> FreshStatus:
        self._worker.check(release)
        return self._shard.fresh_status(serve.get_replica_context().replica_id.unique_id)

    async def check(self, release: str) -> None:
        self._worker.check(release)

    def __del__(self) -> None:
        if hasattr(self, "_shard"):
            self._shard.close()


class Gateway:
    """One replica of the ingress."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        config: ServingConfig,
        release_path: str,
        build_asgi: AsgiBuilder,
        encoder: Any,
        *shards: Any,
    ) -> None:
        from raysys.dataset.feedback import weights_of_interactions
        from raysys.serving.engine import Engine  # imports SQLAlchemy, which no other part needs
        from raysys.serving.key_ring import open_key_ring
        from raysys.serving.metrics import GatewayMetrics
        from raysys.serving.release_parts import ReleaseParts
        from raysys.state.store import StateStore

        gc.set_threshold(_OBJECTS_PER_GARBAGE_COLLECTION)
        start_logging(campaign=config.campaign, part="gateway")
        listen_on_node_address()
        listen_for_proxy_of_head()
        hosts = await asyncio.to_thread(gateway_hosts)
        for host in hosts:
            check_listen_address(host, config.authentication)
        await asyncio.to_thread(check_database, config.database)
        release = await asyncio.to_thread(open_release, Path(release_path))
        parts = await asyncio.to_thread(ReleaseParts.load, release)
        store = await asyncio.to_thread(
            StateStore,
            config.database,
            config.dataset_group,
            max(config.max_seen_items, parts.history_length),
            weigh=partial(weights_of_interactions, config=parts.feedback),
        )
        metrics = GatewayMetrics(config.campaign, release.name)
        self._in_service = asyncio.create_task(metrics.stay_in_service())
        self._engine = Engine(
            config,
            parts,
            store,
            _Remote(encoder),
            [_Remote(shard) for shard in shards],
            observer=metrics,
        )
        await asyncio.to_thread(self._engine.follow)
        self._keys = await asyncio.to_thread(
            open_key_ring, store.keys, config.authentication, hosts
        )
        self._app = build_asgi(self._engine, config, self._keys)

    def __serve_build_asgi_app__(self) -> Any:
        return self._app

    async def __del__(self) -> None:
        if hasattr(self, "_keys") and self._keys is not None:
            await asyncio.to_thread(self._keys.close)
        if hasattr(self, "_engine"):
            self._in_service.cancel()
            await self._engine.close()


def application(
    config: ServingConfig, release: Release, build_asgi: AsgiBuilder
) -> serve.Application:
    """Return the Serve application of one campaign. Starts nothing.

    Args:
        build_asgi: makes the ASGI application around each gateway's engine, with the keys to ask
            for; picklable.
    """
    path = str(release.path.resolve())
    encoder = _deployment(
        QueryEncoder,
        "QueryEncoder",
        config.num_encoders,
        {"num_cpus": config.cpus_per_encoder, "num_gpus": config.gpus_per_encoder},
    ).bind(config, path)
    shard_place = {"num_cpus": config.cpus_per_shard, "num_gpus": config.gpus_per_shard}
    shards = [
        _deployment(
            IndexShard, f"IndexShard-{shard}", config.num_replicas_per_shard, shard_place
        ).bind(config, path, shard)
        for shard in range(config.num_shards)
    ]
    gateway = _deployment(
        serve.ingress()(Gateway),
        "Gateway",
        config.num_gateways,
        {"num_cpus": config.cpus_per_gateway, "label_selector": config.gateway_nodes},
    )
    bound: serve.Application = gateway.bind(config, path, build_asgi, encoder, *shards)
    return bound


class _Worker:
    """A release, and the one thread that works on it, so that the event loop stays free."""

    def __init__(self, release_path: str) -> None:
        self.release = open_release(Path(release_path))
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="raysys-work")

    async def run(self, work: Callable[..., ResultT], *arguments: Any) -> ResultT:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    def check(self, release: str) -> None:
        """Raise ReleaseMismatchError unless this replica serves `release`."""
        if release != self.release.name:
            raise ReleaseMismatchError(
                f"This replica serves release {self.release.name}, but was asked for {release}. "
                f"No answer may mix two releases; while one is rolled out, ask again."
            )


class _Remote:
    """A deployment behind its handle, as the engine's `Encoder` and `IndexShard` want it."""

    def __init__(self, handle: Any) -> None:
        # Arrays pickle well, and plain pickle takes a third of the time of the default.
        self._handle = handle.options(
            request_serialization="pickle", response_serialization="pickle"
        )

    async def encode(self, request: EncodeRequest) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = await self._handle.encode.remote(request)
        return vectors

    async def search(self, request: SearchRequest) -> SearchResult:
        result: SearchResult = await self._handle.search.remote(request)
        return result

    async def vectors_of(
        self, release: str, keys: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found: tuple[NDArray[np.int64], NDArray[np.float32]]
        found = await self._handle.vectors_of.remote(release, keys)
        return found

    async def fresh_status(self, release: str) -> FreshStatus:
        status: FreshStatus = await self._handle.fresh_status.remote(release)
        return status

    async def check(self, release: str) -> None:
        await self._handle.check.remote(release)


def _deployment(part: Any, name: str, num_replicas: int, place: dict[str, Any]) -> Any:
    """Return a Serve deployment; `place` is what Ray must find on a node, as actor options."""
    is_ingress = name == "Gateway"
    return serve.deployment(
        part,
        name=name,
        num_replicas=num_replicas,
        ray_actor_options=place,
        max_ongoing_requests=_MAX_ONGOING_REQUESTS,
        health_check_period_s=_HEALTH_CHECK_PERIOD_S,
        graceful_shutdown_wait_loop_s=0.1,
        # The gateway logs each request. That it asked its parts on the way is no news.
        logging_config={"enable_access_log": is_ingress},
    )
