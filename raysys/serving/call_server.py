"""How a part answers gateways: over connections of its own, each with a thread."""

import contextlib
import logging
import os
import pickle
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping

from raysys.errors import RaysysError
from raysys.precedence import SEARCHING, let_others_go_first
from raysys.serving.frames import (
    HEAD_BYTES,
    MAX_FRAME_BYTES,
    MAX_HELLO_BYTES,
    NONCE_BYTES,
    BadFrameError,
    check_proof,
    head_of,
    length_of,
    new_nonce,
    pickled,
    proof,
    settle,
    tls_context,
)
from raysys.state.campaigns import Endpoint

_LOG = logging.getLogger("raysys.serving")
_HELLO_TIMEOUT_S = 5.0
_MAX_CONNECTIONS = 512
_AFTER_A_FAILURE_S = 0.1


class CallServer:
    """Answers calls, those of one gateway in their order. It listens once it is made.

    A call is pickled by a gateway and unpickled here, after the gateway has proved that it knows
    the secret of `endpoint`: without that nothing but random bytes and a hash is looked at.
    A thread that waits on a socket of its own answers half a millisecond sooner than one to which
    an event loop hands over what it has read, which is most of what a lone request waits for.

    Args:
        part: what is answered for.
        host: the address to listen on; the port is any that is free.
        calls: what may be called, by name. Threads call it, several at the same time.
    """

    def __init__(self, part: str, host: str, calls: Mapping[str, Callable[..., object]]) -> None:
        self._calls = calls
        self._tls = tls_context(ssl.Purpose.CLIENT_AUTH, os.environ)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family, backlog=_MAX_CONNECTIONS)
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._is_closed = False
        port = self._listener.getsockname()[1]
        self.endpoint = Endpoint(part, host, port, secrets.token_hex(32))
        """Where gateways find it."""
        threading.Thread(target=self._accept, name="raysys-accept", daemon=True).start()

    def close(self) -> None:
        """Hang up. Calls that are under way are lost to their gateways, which ask elsewhere."""
        with self._lock:
            self._is_closed = True
            connections = list(self._connections)
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # else a thread in accept() never knows
        self._listener.close()
        for connection in connections:
            _hang_up(connection)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
                self._begin(connection)
            except (OSError, RuntimeError):  # there is no file or no thread left, for example
                if self._is_closed:
                    return
                _LOG.exception("A gateway could not be let in")
                time.sleep(_AFTER_A_FAILURE_S)

    def _begin(self, connection: socket.socket) -> None:
        with self._lock:
            if self._is_closed or len(self._connections) >= _MAX_CONNECTIONS:
                connection.close()
                return
            self._connections.add(connection)
        try:
            threading.Thread(
                target=self._serve, args=(connection,), name="raysys-calls", daemon=True
            ).start()
        except RuntimeError:
            self._end(connection)
            raise

    def _serve(self, connection: socket.socket) -> None:
        try:
            let_others_go_first(SEARCHING)
            connection.settimeout(_HELLO_TIMEOUT_S)
            settle(connection)
            if self._tls is not None:
                connection = self._wrapped(connection, self._tls)
                connection.do_handshake()
            self._greet(connection)
            connection.settimeout(None)
            while (frame := _received(connection)) is not None:
                _send(connection, self._answer(frame))
        except (OSError, BadFrameError) as error:
            if not self._is_closed:
                _LOG.info("A connection is over: %r", error)
        finally:
            self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)
        _hang_up(connection)

    def _wrapped(self, connection: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
        with self._lock:  # the old one is nothing any more once it is wrapped
            self._connections.discard(connection)
            wrapped = tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            self._connections.add(wrapped)
        return wrapped

    def _greet(self, stream: socket.socket) -> None:
        secret = self.endpoint.secret
        theirs = _received(stream, MAX_HELLO_BYTES)
        if theirs is None or len(theirs) != NONCE_BYTES:
            raise BadFrameError("It did not begin with a nonce.")
        ours = new_nonce()
        nonces = bytes(theirs) + ours
        _send(stream, ours + proof(secret, "part", nonces))
        shown = _received(stream, MAX_HELLO_BYTES) or b""
        check_proof(bytes(shown), secret, "gateway", nonces)
        _send(stream, b"")

    def _answer(self, frame: bytearray) -> bytes:
        try:
            name, arguments = pickle.loads(frame)
            return pickled((True, self._calls[name](*arguments)))
        except RaysysError as error:
            return pickled((False, error))
        except Exception as error:
            _LOG.exception("A call failed")
            return pickled((False, RuntimeError(repr(error))))


def _received(stream: socket.socket, at_most: int = MAX_FRAME_BYTES) -> bytearray | None:
    """Return the next frame; None where the other side has hung up between two."""
    head = _exactly(stream, HEAD_BYTES)
    if head is None:
        return None
    frame = _exactly(stream, length_of(head, at_most))
    if frame is None:
        raise BadFrameError("It ended within a frame.")
    return frame


def _exactly(stream: socket.socket, count: int) -> bytearray | None:
    """Return that many bytes; None where there comes nothing more."""
    found = bytearray(count)
    rest = memoryview(found)
    while rest:
        got = stream.recv_into(rest)
        if not got:
            if len(rest) < count:
                raise BadFrameError("It ended within a frame.")
            return None
        rest = rest[got:]
    return found


def _send(stream: socket.socket, frame: bytes) -> None:
    stream.sendall(head_of(len(frame)) + frame)


def _hang_up(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
