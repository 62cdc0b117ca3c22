"""How a gateway calls one replica of a part: one connection, and calls answered in their order."""

import asyncio
import contextlib
import os
import ssl
from collections import deque
from typing import Any, cast

from raysys.serving.frames import (
    HEAD_BYTES,
    MAX_FRAME_BYTES,
    MAX_HELLO_BYTES,
    NONCE_BYTES,
    PROOF_BYTES,
    BadFrameError,
    check_proof,
    head_of,
    length_of,
    new_nonce,
    outcome_of,
    pickled,
    proof,
    settle,
    tls_context,
)
from raysys.state.campaigns import Endpoint


class ConnectionLostError(Exception):
    """The other side is gone, and whether it did what it was asked cannot be known."""


class Connection(asyncio.Protocol):
    """A connection to one replica; made by `open`. It belongs to one event loop."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        """Whose frames come next, those that nobody waits for any more among them."""
        self._received = bytearray()
        self._max_bytes = MAX_HELLO_BYTES

    @classmethod
    async def open(cls, endpoint: Endpoint) -> "Connection":
        """Connect, prove who asks, and have proved who answers.

        Raises:
            OSError: nobody answers there.
            BadFrameError, ConnectionLostError: somebody else does.
            ServingError: Ray's certificates cannot be used.
        """
        tls = tls_context(ssl.Purpose.SERVER_AUTH, os.environ)
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, endpoint.host, endpoint.port, ssl=tls)
        try:
            await connection._greet(endpoint.secret)
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    @property
    def num_waiting(self) -> int:
        """Calls that are not answered yet."""
        return len(self._waiting)

    async def call(self, name: str, *arguments: Any) -> Any:
        """Return what a call returns, or raise what it raises.

        Raises:
            ConnectionLostError: the other side went away.
        """
        return outcome_of(await self._ask(pickled((name, arguments))))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()  # there is nothing to wait for

    async def _greet(self, secret: str) -> None:
        ours = new_nonce()
        answer = await self._ask(ours)
        if len(answer) != NONCE_BYTES + PROOF_BYTES:
            raise BadFrameError("It did not answer with a nonce and a proof.")
        nonces = ours + answer[:NONCE_BYTES]
        check_proof(answer[NONCE_BYTES:], secret, "part", nonces)
        self._max_bytes = MAX_FRAME_BYTES
        await self._ask(proof(secret, "gateway", nonces))

    def _ask(self, frame: bytes) -> asyncio.Future[bytes]:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionLostError("The connection is closed.")
        answered: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(answered)
        self._transport.write(head_of(len(frame)) + frame)
        return answered

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        with contextlib.suppress(OSError):  # it is lost already, which is told next
            settle(transport.get_extra_info("socket"))

    def data_received(self, data: bytes) -> None:
        received = self._received
        received += data
        try:
            while len(received) >= HEAD_BYTES:
                end = HEAD_BYTES + length_of(received, self._max_bytes)
                if len(received) < end:
                    return
                frame = bytes(memoryview(received)[HEAD_BYTES:end])
                del received[:end]
                if not self._waiting:
                    raise BadFrameError("An answer to nothing.")
                answered = self._waiting.popleft()
                if not answered.done():  # else whoever asked has given up
                    answered.set_result(frame)
        except BadFrameError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        for answered in self._waiting:
            if not answered.done():
                answered.set_exception(ConnectionLostError(f"The other side went away: {exc!r}"))
        self._waiting.clear()
