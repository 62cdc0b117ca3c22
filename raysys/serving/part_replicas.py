"""The replicas of the parts as one gateway finds and calls them."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysys.errors import ServingError
from raysys.serving.call_client import Connection, ConnectionLostError
from raysys.serving.exchange import EncodeRequest, FreshStatus, SearchRequest, SearchResult
from raysys.serving.follower import Follower
from raysys.serving.frames import BadFrameError
from raysys.state.campaigns import Endpoint

_LOG = logging.getLogger("raysys.serving")
_CONNECT_TIMEOUT_S = 2.0
_TRY_AGAIN_AFTER_S = 0.5
_MAX_TRY_AGAIN_AFTER_S = 8.0

FindEndpoints = Callable[[], Iterable[Endpoint]]


class PartReplicas:
    """The replicas of one part to which there is a connection: an `Encoder` or an `IndexShard`,
    whichever the part is.

    A call goes to the replica that the fewest calls of this gateway wait for, and where it goes
    away meanwhile, to the next: calls only read, so that they can be made twice.
    """

    def __init__(self, part: str) -> None:
        self.part = part
        self._connections: dict[Endpoint, Connection] = {}

    @property
    def is_connected(self) -> bool:
        return any(connection.is_open for connection in self._connections.values())

    def lacks(self, endpoint: Endpoint) -> bool:
        """Say whether there is no connection to a replica."""
        connection = self._connections.get(endpoint)
        return connection is None or not connection.is_open

    def take(self, endpoint: Endpoint, connection: Connection) -> None:
        self._connections[endpoint] = connection

    def keep_only(self, endpoints: Iterable[Endpoint]) -> None:
        """Let go of what is closed, and of replicas that are gone and that nobody waits for."""
        wanted = set(endpoints)
        for endpoint, connection in list(self._connections.items()):
            is_over = endpoint not in wanted and not connection.num_waiting
            if is_over or not connection.is_open:
                connection.close()
                del self._connections[endpoint]

    def close(self) -> None:
        """Hang up."""
        for connection in self._connections.values():
            connection.close()

    async def encode(self, request: EncodeRequest) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = await self._call("encode", request)
        return vectors

    async def search(self, request: SearchRequest) -> SearchResult:
        result: SearchResult = await self._call("search", request)
        return result

    async def vectors_of(
        self, release: str, keys: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found: tuple[NDArray[np.int64], NDArray[np.float32]]
        found = await self._call("vectors_of", release, keys)
        return found

    async def fresh_status(self, release: str) -> FreshStatus:
        status: FreshStatus = await self._call("fresh_status", release)
        return status

    async def check(self, release: str) -> None:
        await self._call("check", release)

    async def _call(self, name: str, *arguments: Any) -> Any:
        while (endpoint := self._least_busy()) is not None:
            connection = self._connections.pop(endpoint)
            self._connections[endpoint] = connection  # among equals it is the last one now
            try:
                return await connection.call(name, *arguments)
            except ConnectionLostError as error:
                _LOG.warning("A replica of %s went away: %s", self.part, error)
        raise ServingError(f"No replica of {self.part} is connected.")

    def _least_busy(self) -> Endpoint | None:
        open_ones = [each for each, to in self._connections.items() if to.is_open]
        return min(open_ones, key=lambda each: self._connections[each].num_waiting, default=None)


class ReplicaFollower:
    """Keeps connections to every replica of some parts that says where it listens.

    It belongs to the event loop that makes it.

    Args:
        find: returns what is known of replicas, some of which may have died since. It may block.
            While it raises StateUnavailableError, connections stay as they are.
        parts: by name.
    """

    def __init__(self, find: FindEndpoints, parts: Mapping[str, PartReplicas]) -> None:
        self._find = find
        self._parts = parts
        self._pauses_s: dict[Endpoint, float] = {}
        """Of replicas that could not be reached: how long to wait before the next attempt."""
        self._not_before_s: dict[Endpoint, float] = {}
        self._loop = asyncio.get_running_loop()
        self._follower = Follower(
            "raysys-replicas", "The connections to encoders and shards", self._take_over
        )

    async def start(self) -> None:
        """Connect to what there is, and go on following; StateError: the database can never be
        used."""
        await self.look()
        self._follower.start()

    async def close(self) -> None:
        """Stop following, and hang up."""
        await asyncio.to_thread(self._follower.close)
        for part in self._parts.values():
            part.close()

    async def look(self) -> None:
        """Find out once which replicas there are, and connect to those that are new."""
        await asyncio.to_thread(self._follower.catch_up)

    def _take_over(self) -> bool:
        """Let the loop connect, and say whether a part is waited for. Runs in a thread."""
        endpoints = [each for each in self._find() if each.part in self._parts]
        connecting = asyncio.run_coroutine_threadsafe(self._connect_to(endpoints), self._loop)
        connecting.result(2 * _CONNECT_TIMEOUT_S)
        return not all(part.is_connected for part in self._parts.values())

    async def _connect_to(self, endpoints: Sequence[Endpoint]) -> None:
        """Connect to those that are new, and let go of all others."""
        for name, part in self._parts.items():
            part.keep_only(each for each in endpoints if each.part == name)
        for known in (self._pauses_s, self._not_before_s):
            for endpoint in set(known) - set(endpoints):
                del known[endpoint]
        now_s = self._loop.time()
        await asyncio.gather(
            *(
                self._connect(each)
                for each in endpoints
                if self._parts[each.part].lacks(each)
                and self._not_before_s.get(each, now_s) <= now_s
            )
        )

    async def _connect(self, endpoint: Endpoint) -> None:
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                connection = await Connection.open(endpoint)
        except (OSError, BadFrameError, ConnectionLostError, ServingError) as error:
            # A dead replica is listed until the next release; a node that is gone says nothing.
            if endpoint not in self._pauses_s:
                _LOG.info("No connection to a replica of %s: %r", endpoint.part, error)
            pause_s = self._pauses_s.get(endpoint, _TRY_AGAIN_AFTER_S)
            self._not_before_s[endpoint] = self._loop.time() + pause_s
            self._pauses_s[endpoint] = min(2 * pause_s, _MAX_TRY_AGAIN_AFTER_S)
        else:
            self._parts[endpoint.part].take(endpoint, connection)
