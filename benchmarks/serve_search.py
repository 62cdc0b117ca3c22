"""Search through Serve against the same indexes, searched in a loop by one process.

Batches of 64 queries for 100 items each; each query excludes 100 items that chance names. Through
Serve a gateway asks all shards for a batch at the same time, with four batches in flight, as for
requests. In the loop one thread searches one shard after the other. Both merge what they get.
"""

import asyncio
import json
import statistics
import time
import urllib.request
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from raysys.api.asgi import Headers, Response, Route
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import TopK, merge_top_k
from raysys.index import kinds
from raysys.index.shard import Shard, open_shard
from raysys.release import Release
from raysys.serving.exchange import SearchRequest, SearchResult
from raysys.serving.part_names import shard_part
from raysys.serving.part_replicas import PartReplicas, ReplicaFollower
from raysys.serving.ranking import search_request
from raysys.serving.visitors import NO_KEYS
from raysys.state.store import StateStore

APPLICATION = "raysys"
_PATH = "/search"
_K, _BATCH, _NUM_SEEN, _IN_FLIGHT, _NUM_BATCHES = 100, 64, 100, 4, 32


@dataclass(frozen=True, slots=True)
class Work:
    """What is searched for, and for how long."""

    database: str
    release: str
    num_items: int
    num_shards: int
    queries: str
    """Path of a NumPy file, (B, D)."""
    seconds: float

    def batches(self) -> list[SearchRequest]:
        """Return the same batches wherever it is called."""
        rng, queries = np.random.default_rng(5), np.load(self.queries)
        return [
            search_request(
                self.release,
                queries[rng.integers(0, len(queries), _BATCH)],
                ks=[_K] * _BATCH,
                by_cosine=[False] * _BATCH,
                banned=[
                    *np.sort(rng.integers(1, self.num_items + 1, (_BATCH, _NUM_SEEN), np.int32))
                ],
                banned_keys=[NO_KEYS] * _BATCH,
            )
            for _ in range(_NUM_BATCHES)
        ]


@dataclass(frozen=True, slots=True)
class Searched:
    """How many batches were searched for, and what the first one found."""

    batches: int
    seconds: float
    first: list[list[int]]

    @property
    def queries_per_s(self) -> float:
        return self.batches * _BATCH / self.seconds


def search_route() -> Route:
    """Return the route by which a gateway is told to search."""

    async def search(body: bytes, _: Headers) -> Response:
        searched = await _through_serve(Work(**json.loads(body)))
        return Response(json.dumps(asdict(searched)).encode())

    return Route("POST", _PATH, search, None)


def search_against_loop(
    url: str,
    release: Release,
    queries: NDArray[np.float32],
    directory: Path,
    *,
    database: str,
    num_shards: int,
    seconds: float,
    rounds: int,
) -> dict[str, float]:
    """Search both ways by turns, and return the medians of queries/s and their ratio."""
    path = directory / "queries.npy"
    np.save(path, queries)
    work = Work(database, release.name, release.manifest.num_items, num_shards, str(path), seconds)
    shards = [open_shard(release, shard, num_shards) for shard in range(num_shards)]
    rates: dict[str, list[float]] = {"loop": [], "serve": []}
    for number in range(rounds + 1):
        with kinds.one_thread():
            loop = _in_a_loop(work, shards)
        request = urllib.request.Request(url + _PATH, json.dumps(asdict(work)).encode())
        with urllib.request.urlopen(request) as response:
            serve = Searched(**json.load(response))
        if serve.first != loop.first:
            raise RuntimeError("Serve's shards find other items than the loop does.")
        if number:  # the first round reads files and wakes processors
            rates["loop"].append(loop.queries_per_s)
            rates["serve"].append(serve.queries_per_s)
            print(f"search: {serve.queries_per_s:.0f} queries/s, loop {loop.queries_per_s:.0f}")
    medians = {name: statistics.median(found) for name, found in rates.items()}
    return {
        "serve_queries_per_s": round(medians["serve"]),
        "loop_queries_per_s": round(medians["loop"]),
        "ratio": round(medians["serve"] / medians["loop"], 3),
    }


def _in_a_loop(work: Work, shards: list[Shard]) -> Searched:
    batches, first, count = work.batches(), None, 0
    began = time.perf_counter()
    for request in cycle(batches):
        excluded = Exclusions(request.offsets, request.item_nums)
        top = merge_top_k([shard.search(request.queries, _K, excluded) for shard in shards], _K)
        first, count = first if count else top, count + 1
        taken = time.perf_counter() - began
        if taken >= work.seconds:
            break
    return Searched(count, taken, _lists(first))


async def _through_serve(work: Work) -> Searched:
    shards = [PartReplicas(shard_part(shard)) for shard in range(work.num_shards)]
    with closing(StateStore(work.database, "default")) as store:
        endpoints = store.campaigns(APPLICATION).endpoints
        replicas = ReplicaFollower(endpoints, {shard.part: shard for shard in shards})
        await replicas.look()

    async def search(request: SearchRequest) -> TopK:
        calls = (shard.search(request) for shard in shards)
        results: list[SearchResult] = await asyncio.gather(*calls)
        return merge_top_k([TopK(each.keys, each.scores) for each in results], _K)

    batches = work.batches()
    first = await search(batches[0])
    began = time.perf_counter()
    again = cycle(batches)
    counts = await asyncio.gather(
        *(_until(began + work.seconds, again, search) for _ in range(_IN_FLIGHT))
    )
    taken = time.perf_counter() - began
    await replicas.close()
    return Searched(sum(counts), taken, _lists(first))


async def _until(
    end: float,
    requests: Iterator[SearchRequest],
    search: Callable[[SearchRequest], Awaitable[TopK]],
) -> int:
    count = 0
    while time.perf_counter() < end:
        await search(next(requests))
        count += 1
    return count


def _lists(top: TopK | None) -> list[list[int]]:
    return [] if top is None else top.item_nums.tolist()
