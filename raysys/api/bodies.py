"""Bodies of requests, read whole: within limits of size, of time, and of memory for all of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

from raysys.errors import (
    InvalidInputError,
    RequestTimeoutError,
    RequestTooLargeError,
    TooManyRequestsError,
)

_PLAIN = (b"", b"identity")  # encodings that change nothing
_MOST_UNFINISHED_BYTES = 64 << 20
"""Of all bodies together that have begun and not ended: what slow clients may fill."""


class ClientGoneError(Exception):
    """The client hung up before its request was whole: nobody is left to answer."""


class BodyReader:
    """Reads the bodies of one application.

    Args:
        max_bytes: of one body.
        timeout_s: from the head of a request, which the server has read, to the end of its body.
    """

    def __init__(self, *, max_bytes: int, timeout_s: float) -> None:
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._num_unfinished_bytes = 0

    async def read(
        self,
        headers: Iterable[tuple[bytes, bytes]],
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    ) -> bytes:
        """Return the body.

        Raises:
            InvalidInputError: it is compressed, which no SDK does here: a small one might be huge.
            RequestTooLargeError: it is too large, or says that it will be; nothing more is read.
            RequestTimeoutError: it does not end in time.
            TooManyRequestsError: the bodies that came in part fill the memory that they may.
            ClientGoneError
        """
        for name, value in headers:
            if name == b"content-length" and value.isdigit() and int(value[:18]) > self._max_bytes:
                raise self._too_large()  # cut, since Python refuses to read thousands of digits
            if name == b"content-encoding" and value.strip().lower() not in _PLAIN:
                raise InvalidInputError(
                    "The body says by its Content-Encoding that it is compressed, and this server "
                    "reads none that is. Send the JSON as it is."
                )
        try:
            async with asyncio.timeout(self._timeout_s):
                chunk, is_whole = await _next_chunk(receive)
                if is_whole and len(chunk) <= self._max_bytes:
                    return chunk
                return await self._read_on(chunk, receive)
        except TimeoutError:
            raise RequestTimeoutError(
                f"The body of the request did not end within {self._timeout_s:g} s, so nothing of "
                f"it was used. Send it at once."
            ) from None

    async def _read_on(
        self, chunk: bytes, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]
    ) -> bytes:
        """Return the whole of a body that has begun. Its pieces, however small, are kept as one."""
        body, is_whole = bytearray(), False
        try:
            while True:
                if len(body) + len(chunk) > self._max_bytes:  # the length was not announced
                    raise self._too_large()
                body += chunk
                self._num_unfinished_bytes += len(chunk)
                if is_whole:
                    return bytes(body)
                if self._num_unfinished_bytes > _MOST_UNFINISHED_BYTES:
                    raise TooManyRequestsError(
                        "Too many large requests arrive slowly at the same time. Nothing of this "
                        "one was used; try again later."
                    )
                chunk, is_whole = await _next_chunk(receive)
        finally:
            self._num_unfinished_bytes -= len(body)

    def _too_large(self) -> RequestTooLargeError:
        return RequestTooLargeError(
            f"The body is larger than {self._max_bytes} bytes, the most that this server reads, so "
            f"nothing of it was used. Send less at once."
        )


async def _next_chunk(
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
) -> tuple[bytes, bool]:
    """Return the next piece of a body, and whether it is the last one."""
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message.get("body", b""), not message.get("more_body")
