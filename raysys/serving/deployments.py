"""The parts on Ray Serve: gateway, query encoder, index shards. The rest of the room knows no Ray.

    Campaigns        knows what is to be answered from, and leads the others there; `director`.
                     Begins rounds of learning, each in a process of its own; `learning_schedule`
    Gateway          HTTP ingress; owns each request; `engine`
    QueryEncoder     histories -> query vectors; the only process here that imports torch
    IndexShard-<s>   the partitions p with p mod num_shards = s

Every part verifies and loads its own files of each release that a campaign needs, in a thread and
beside those that it has (`release_keeper`). So nothing is started anew for another release.
What only one part needs is imported where that part starts, so that the others start sooner.
"""

import asyncio
import gc
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from ray import serve

from raysys.config import CampaignsConfig, ServingConfig
from raysys.release import Release
from raysys.serving.autoscaling import CALLS, Load, num_replicas_for_calls
from raysys.serving.exchange import EncodeRequest, FreshStatus, SearchRequest, SearchResult
from raysys.serving.listen import check_listen_address
from raysys.serving.log_lines import start_logging
from raysys.serving.nodes import (
    HEAD_RESOURCE,
    check_database,
    gateway_hosts,
    listen_for_proxy_of_head,
    listen_on_node_address,
    node_address,
    running_replicas,
)
from raysys.serving.part_names import ENCODER, GATEWAY, shard_part

if TYPE_CHECKING:
    from raysys.serving.engine import Engine
    from raysys.serving.key_ring import KeyRing
    from raysys.state.campaigns import CampaignTable
    from raysys.state.store import StateStore

# Serve answers 503 in plain text beyond this; the gateway answers 429 in the wire format long
# before. Requests for events and for health come on top of the queue for recommendations.
_MAX_ONGOING_REQUESTS = 100_000
# The lists of a micro-batch are thousands of objects that go when it ends, none in a circle. Python
# would look for circles every 700 objects, several times a batch.
_OBJECTS_PER_GARBAGE_COLLECTION = 10_000
_BY_CALLS = {"policy": {"policy_function": num_replicas_for_calls}}
_HEALTH_CHECK_PERIOD_S = 2  # Serve's 10 s is how long a killed shard would stay unnoticed

AsgiBuilder = Callable[["Engine", ServingConfig, "KeyRing | None"], Any]
HeldT = TypeVar("HeldT")


class Campaigns:
    """Says what the application answers from: its `user_config`, a `CampaignsConfig`.

    There is one replica. Without it everything goes on as it is, and nothing changes.
    """

    async def __init__(self, config: ServingConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        from raysys.serving.director import Director
        from raysys.serving.follower import Follower
        from raysys.serving.learning_job import LearningJob
        from raysys.serving.learning_schedule import LearningSchedule
        from raysys.serving.metrics import DirectorMetrics

        start_logging(part="campaigns")
        listen_on_node_address()
        await asyncio.to_thread(check_database, config.database)
        self._config = config
        self._store = await asyncio.to_thread(_open_store, config)
        self._table = self._store.campaigns(config.application)
        application = serve.get_replica_context().app_name
        parts = _parts(config)
        director = Director(
            self._table,
            lambda: running_replicas(application, parts),
            parts.values(),
            max_loading_s=config.max_loading_s,
        )
        self._schedule = LearningSchedule(self._store, config.application, LearningJob())
        self._metrics = DirectorMetrics(lambda: self._schedule.is_failing)
        self._telling = asyncio.create_task(self._metrics.stay())
        self._followers = [
            Follower("raysys-director", "The campaigns", director.step),
            Follower("raysys-learning", "The rounds of learning", self._schedule.step),
        ]
        for follower in self._followers:
            follower.start()

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take over what the campaigns are to answer from; Serve calls it."""
        from raysys.serving.director import last_followed, take_over

        wanted = await asyncio.to_thread(take_over, user_config, self._config, self._table)
        self._metrics.follows(wanted is not None)
        if wanted is None:  # and this may be a replica that never saw another
            wanted = await asyncio.to_thread(last_followed, self._table)
        if wanted is not None:
            learning = wanted.learning
            is_held = learning is not None and wanted.is_rolled_back(learning.campaign)
            self._schedule.follow(learning, is_held=is_held)

    def __del__(self) -> None:
        if hasattr(self, "_followers"):
            self._telling.cancel()
            for follower in self._followers:
                follower.close()
            self._store.close()


class QueryEncoder:
    """One replica of the query encoder."""

    async def __init__(self, config: ServingConfig) -> None:  # type: ignore[misc]  # Serve awaits it
        from raysys.serving.encoder import ReleaseEncoder  # imports torch, so only here
        from raysys.serving.metrics import PartMetrics

        start_logging(part=ENCODER)
        listen_on_node_address()
        wants_gpu = config.gpus_per_encoder > 0
        metrics = PartMetrics(ENCODER)
        self._worker = worker = _Worker(
            ENCODER, config, lambda release: ReleaseEncoder.load(release, wants_gpu)
        )

        def encode(request: EncodeRequest) -> NDArray[np.float32]:
            encoder = worker.held(request.release)
            with worker.its_turn(), metrics.work():
                return encoder.encode(request)

        await worker.start({"encode": encode})

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what Serve decides by how many there are; Serve calls it."""
        return {CALLS: self._worker.load.take()}

    def __del__(self) -> None:
        if hasattr(self, "_worker"):
            self._worker.close()


class IndexShard:
    """One replica of one index shard."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self, config: ServingConfig, shard: int
    ) -> None:
        from raysys.serving.metrics import PartMetrics
        from raysys.serving.shard import ReleaseShard  # imports FAISS, which a gateway needs not

        part = shard_part(shard)
        start_logging(part=part)
        listen_on_node_address()
        metrics = PartMetrics(part)

        def load(release: Release) -> ReleaseShard:
            on_fresh_items = partial(metrics.fresh_items, release.name)
            return ReleaseShard.load(config, release, shard, on_fresh_items)

        self._worker = worker = _Worker(part, config, load, drop=ReleaseShard.close)

        def search(request: SearchRequest) -> SearchResult:
            held = worker.held(request.release)
            with worker.its_turn():
                with metrics.work():
                    result = held.search(request)
                filter_work = held.take_filter_work()
            metrics.filtered(filter_work)
            return result

        def vectors_of(
            release: str, keys: NDArray[np.int64]
        ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
            held = worker.held(release)
            with worker.its_turn():
                return held.vectors_of(keys)

        def fresh_status(release: str) -> FreshStatus:
            return worker.held(release).fresh_status(_replica_name())

        await worker.start(
            {"search": search, "vectors_of": vectors_of, "fresh_status": fresh_status}
        )

    def record_autoscaling_stats(self) -> dict[str, float]:
        """As of an encoder."""
        return {CALLS: self._worker.load.take()}

    def __del__(self) -> None:
        if hasattr(self, "_worker"):
            self._worker.close()


class Gateway:
    """One replica of the ingress."""

    async def __init__(  # type: ignore[misc]  # Serve awaits it
        self,
        config: ServingConfig,
        build_asgi: AsgiBuilder,
        *_parts: Any,  # bound, so that Serve starts them
    ) -> None:
        from raysys.serving.engine import Engine  # imports SQLAlchemy and more
        from raysys.serving.gateway_releases import GatewayReleases
        from raysys.serving.key_ring import open_key_ring
        from raysys.serving.metrics import GatewayMetrics
        from raysys.serving.part_replicas import PartReplicas, ReplicaFollower

        gc.set_threshold(_OBJECTS_PER_GARBAGE_COLLECTION)
        start_logging(part=GATEWAY)
        listen_on_node_address()
        listen_for_proxy_of_head()
        hosts = await asyncio.to_thread(gateway_hosts)
        for host in hosts:
            check_listen_address(host, config.authentication)
        await asyncio.to_thread(check_database, config.database)
        store = await asyncio.to_thread(_open_store, config)
        metrics = GatewayMetrics()
        self._in_service = asyncio.create_task(metrics.stay_in_service())
        self._engine = Engine(config, store, observer=metrics)
        encoder = PartReplicas(ENCODER)
        shards = [PartReplicas(shard_part(shard)) for shard in range(config.num_shards)]
        endpoints = store.campaigns(config.application).endpoints
        self._replicas = ReplicaFollower(
            endpoints, {each.part: each for each in (encoder, *shards)}
        )
        await self._replicas.start()
        self._releases = GatewayReleases(
            self._engine, store, encoder, shards, replica=_replica_name()
        )
        self._keys = await asyncio.to_thread(
            open_key_ring, store.keys, config.authentication, hosts
        )
        await self._releases.start()
        self._app = build_asgi(self._engine, config, self._keys)

    def __serve_build_asgi_app__(self) -> Any:
        return self._app

    async def __del__(self) -> None:
        if hasattr(self, "_releases"):
            await self._releases.close()
        if hasattr(self, "_replicas"):
            await self._replicas.close()
        if hasattr(self, "_keys") and self._keys is not None:
            await asyncio.to_thread(self._keys.close)
        if hasattr(self, "_engine"):
            self._in_service.cancel()
            await self._engine.close()


def application(
    config: ServingConfig, campaigns: CampaignsConfig | None, build_asgi: AsgiBuilder
) -> serve.Application:
    """Return the Serve application. Starts nothing.

    Args:
        campaigns: what it answers from in the beginning; None where the Serve config that it is
            deployed with says so, in `user_config` of the deployment Campaigns.
        build_asgi: makes the ASGI application around each gateway's engine, with the keys to ask
            for; picklable.
    """
    # On the head node, where relative paths of releases mean what the operator means.
    director = _deployment(
        Campaigns, "Campaigns", (1, None), {"num_cpus": 0, "resources": {HEAD_RESOURCE: 0.001}}
    )
    if campaigns is not None:
        director = director.options(user_config=campaigns.model_dump(mode="json"))
    encoder = _deployment(
        QueryEncoder,
        "QueryEncoder",
        (config.num_encoders, config.max_encoders),
        {"num_cpus": config.cpus_per_encoder, "num_gpus": config.gpus_per_encoder},
        _BY_CALLS,
    ).bind(config)
    shard_place = {"num_cpus": config.cpus_per_shard, "num_gpus": config.gpus_per_shard}
    shards = [
        _deployment(
            IndexShard,
            f"IndexShard-{shard}",
            (config.num_replicas_per_shard, config.max_replicas_per_shard),
            shard_place,
            _BY_CALLS,
        ).bind(config, shard)
        for shard in range(config.num_shards)
    ]
    gateway = _deployment(
        serve.ingress()(Gateway),
        "Gateway",
        (config.num_gateways, config.max_gateways),
        {"num_cpus": config.cpus_per_gateway, "label_selector": config.gateway_nodes},
        {"target_ongoing_requests": max(1.0, config.max_batch_size / 2)},
    )
    bound: serve.Application = gateway.bind(
        config, build_asgi, director.bind(config), encoder, *shards
    )
    return bound


def _parts(config: ServingConfig) -> dict[str, str]:
    """Return what each deployment is called as a part."""
    shards = {f"IndexShard-{shard}": shard_part(shard) for shard in range(config.num_shards)}
    return {"Gateway": GATEWAY, "QueryEncoder": ENCODER, **shards}


def _replica_name() -> str:
    name: str = serve.get_replica_context().replica_id.unique_id
    return name


def _open_store(config: ServingConfig) -> "StateStore":
    from raysys.state.store import StateStore  # imports SQLAlchemy

    return StateStore(config.database, config.dataset_group, config.max_seen_items)


class _Worker(Generic[HeldT]):
    """The releases of one replica, and how gateways call what it does with them."""

    def __init__(
        self,
        part: str,
        config: ServingConfig,
        load: Callable[[Release], HeldT],
        drop: Callable[[HeldT], None] = lambda _: None,
    ) -> None:
        check_database(config.database)
        self.load = Load()
        self._turn = threading.Lock()
        self._part = part
        self._config = config
        self._load = load
        self._drop = drop
        self._store: StateStore | None = None

    @contextmanager
    def its_turn(self) -> Iterator[None]:
        """Wait for what only one thread at a time may do, and do it."""
        with self.load.call(), self._turn:
            yield

    async def start(self, calls: Mapping[str, Callable[..., object]]) -> None:
        """Answer calls, and return when what is served now is loaded, or cannot be."""
        from raysys.serving.call_server import CallServer
        from raysys.serving.release_keeper import ReleaseKeeper

        def check(release: str) -> None:
            self.held(release)

        self._server = CallServer(self._part, node_address(), {**calls, "check": check})
        self._keeper = ReleaseKeeper(
            _replica_name(),
            self._open_table,
            self._load,
            endpoint=self._server.endpoint,
            drop=self._drop,
        )
        self.held = self._keeper.get
        await asyncio.to_thread(self._keeper.start)

    def close(self) -> None:
        if hasattr(self, "_server"):
            self._server.close()
        if hasattr(self, "_keeper"):
            self._keeper.close()
        if self._store is not None:
            self._store.close()

    def _open_table(self) -> "CampaignTable":
        self._store = _open_store(self._config)
        return self._store.campaigns(self._config.application)


def _deployment(
    part: Any,
    name: str,
    num_replicas: tuple[int, int | None],
    place: dict[str, Any],
    policy: dict[str, Any] | None = None,
) -> Any:
    """Return a Serve deployment.

    Args:
        num_replicas: how many there are, and how many there may be under load if that is more.
        place: what Ray must find on a node, as actor options.
        policy: as Serve's `autoscaling_config` has it, by what there are more.
    """
    is_ingress = name == "Gateway"
    fewest, most = num_replicas
    count: dict[str, Any] = {"num_replicas": fewest}
    if most is not None and most > fewest:
        bounds = {"min_replicas": fewest, "max_replicas": most}
        count = {"autoscaling_config": {**bounds, **(policy or {})}}
    return serve.deployment(
        part,
        name=name,
        **count,
        ray_actor_options=place,
        max_ongoing_requests=_MAX_ONGOING_REQUESTS,
        health_check_period_s=_HEALTH_CHECK_PERIOD_S,
        graceful_shutdown_wait_loop_s=0.1,
        # The gateway logs each request. That it asked its parts on the way is no news.
        logging_config={"enable_access_log": is_ingress},
    )
