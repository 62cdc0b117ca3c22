"""The parts that a gateway asks for one release, behind a door that says what is missing.

Letters for shapes: as in `exchange`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from raysys.hashing import stable_hash
from raysys.serving.exchange import (
    Encoder,
    EncodeRequest,
    FreshStatus,
    IndexShard,
    SearchRequest,
    SearchResult,
)
from raysys.serving.hop import Hop, answer_or_none
from raysys.serving.state_reads import StateReads

_TIMEOUT_S = 2.0

ResultT = TypeVar("ResultT")


class Parts:
    """The query encoder and the index shards of one release, and the database.

    Args:
        release: its name; encoder and shards are asked for it and refuse any other.
        shards: in order: shard s holds the partitions p with p mod len(shards) = s.
    """

    def __init__(
        self,
        release: str,
        num_partitions: int,
        state: StateReads,
        encoder: Encoder,
        shards: Sequence[IndexShard],
    ) -> None:
        self._release = release
        self._num_partitions = num_partitions
        self.state = state
        self._encoder = encoder
        self._shards = shards
        self._encoder_hop = _hop("the query encoder", encoder, release)
        self._shard_hops = [
            _hop(f"index shard {number}", shard, release) for number, shard in enumerate(shards)
        ]

    @property
    def num_shards(self) -> int:
        return len(self._shards)

    async def encode(self, request: EncodeRequest) -> NDArray[np.float32] | None:
        """Return (B, D); None when the encoder is away."""
        return await answer_or_none(self._encoder_hop, lambda: self._encoder.encode(request))

    async def search(self, request: SearchRequest) -> list[SearchResult]:
        """Return the results of the shards that answer, all asked at the same time."""

        def ask(shard: IndexShard) -> Callable[[], Awaitable[SearchResult]]:
            return lambda: shard.search(request)

        return await self._of_shards(ask)

    async def item_vectors(
        self, keys_by_item_id: Mapping[str, int]
    ) -> dict[int, NDArray[np.float32]]:
        """Return the vectors, (D,), by key, of the items that the shards that answer hold."""
        by_shard: dict[int, list[int]] = {}
        for item_id, key in keys_by_item_id.items():
            partition = stable_hash(item_id) % self._num_partitions
            by_shard.setdefault(partition % self.num_shards, []).append(key)

        def ask(
            number: int, keys: list[int]
        ) -> Callable[[], Awaitable[tuple[NDArray[np.int64], NDArray[np.float32]]]]:
            wanted = np.array(keys, dtype=np.int64)
            return lambda: self._shards[number].vectors_of(self._release, wanted)

        answers = await asyncio.gather(
            *(answer_or_none(self._shard_hops[n], ask(n, keys)) for n, keys in by_shard.items())
        )
        found: dict[int, NDArray[np.float32]] = {}
        for answer in answers:
            if answer is not None:
                found.update(zip(answer[0].tolist(), answer[1], strict=True))
        return found

    async def fresh_statuses(self) -> list[FreshStatus]:
        """Return how fresh items stand in one replica of each shard that answers."""

        def ask(shard: IndexShard) -> Callable[[], Awaitable[FreshStatus]]:
            return lambda: shard.fresh_status(self._release)

        return await self._of_shards(ask)

    async def missing(self) -> list[str]:
        """Ask every part whether it is there, and return a sentence about each that is not."""
        hops = [self.state.hop, self._encoder_hop, *self._shard_hops]
        checks = await asyncio.gather(*(hop.check() for hop in hops), return_exceptions=True)
        return [str(problem) for problem in checks if problem is not None]

    async def close(self) -> None:
        """Stop probing."""
        for hop in (self._encoder_hop, *self._shard_hops):
            await hop.close()

    async def _of_shards(
        self, ask: Callable[[IndexShard], Callable[[], Awaitable[ResultT]]]
    ) -> list[ResultT]:
        """Return what the shards answer, all asked at the same time."""
        results = await asyncio.gather(
            *(
                answer_or_none(hop, ask(shard))
                for hop, shard in zip(self._shard_hops, self._shards, strict=True)
            )
        )
        return [result for result in results if result is not None]


def _hop(name: str, part: Encoder | IndexShard, release: str) -> Hop:
    return Hop(name, lambda: part.check(release), timeout_s=_TIMEOUT_S)
