"""What goes over a connection between a gateway and a part: frames, the first of which prove who
speaks.

A frame is its length, four bytes, and that many bytes. Each of the gateway's is answered by one of
the part's, in their order:

    gateway                      part
    a nonce                      a nonce of its own, and its proof of both
    its proof of both            nothing
    a pickled call               a pickled outcome, and so on

Proofs are HMACs by a secret that only who reads the database knows, different for the two sides: so
neither can be made to say the other's. What is unpickled comes from who has proved to know it.
"""

import hmac
import os
import pickle
import socket
import ssl
import struct
import sys
from collections.abc import Mapping
from typing import Any

from raysys.errors import ServingError

NONCE_BYTES = 32
PROOF_BYTES = 32
MAX_HELLO_BYTES = 256
"""Of a frame before its sender has proved anything."""
MAX_FRAME_BYTES = 1 << 31

_LENGTH = struct.Struct(">I")
HEAD_BYTES = _LENGTH.size


class BadFrameError(Exception):
    """The other side of a connection is not what it should be, or has lost its way."""


def head_of(length: int) -> bytes:
    """Return what goes before a frame of some bytes; BadFrameError if these are too many."""
    if length > MAX_FRAME_BYTES:
        raise BadFrameError(f"{length} bytes are more than fit into a frame.")
    return _LENGTH.pack(length)


def length_of(head: bytes | bytearray | memoryview, at_most: int = MAX_FRAME_BYTES) -> int:
    """Return how many bytes the frame after a head has; BadFrameError if more than may be."""
    length: int = _LENGTH.unpack_from(head)[0]
    if length > at_most:
        raise BadFrameError(f"A frame of {length} bytes, where {at_most} are the most.")
    return length


def new_nonce() -> bytes:
    return os.urandom(NONCE_BYTES)


def proof(secret: str, side: str, nonces: bytes) -> bytes:
    """Return what shows that a side ("gateway" or "part") knows the secret.

    Args:
        nonces: that of the gateway, then that of the part.
    """
    return hmac.digest(secret.encode(), side.encode() + nonces, "sha256")


def check_proof(shown: bytes, secret: str, side: str, nonces: bytes) -> None:
    """Raise BadFrameError where what is shown is no proof."""
    if not hmac.compare_digest(shown, proof(secret, side, nonces)):
        raise BadFrameError(f"The {side} does not know the secret.")


def pickled(value: object) -> bytes:
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


def settle(connection: socket.socket) -> None:
    """Send at once what is to be sent, and notice within half a minute that the other side's
    machine is gone."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 20_000)


def tls_context(side: ssl.Purpose, environment: Mapping[str, str]) -> ssl.SSLContext | None:
    """Return how a side speaks TLS where Ray does (`RAY_USE_TLS`); None where it does not.

    As with Ray, either side shows a certificate of the common authority.

    Args:
        side: `CLIENT_AUTH` of a part, `SERVER_AUTH` of a gateway.

    Raises:
        ServingError: the certificates cannot be used.
    """
    if environment.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):
        return None
    names = ("RAY_TLS_SERVER_CERT", "RAY_TLS_SERVER_KEY", "RAY_TLS_CA_CERT")
    try:
        certificate, key, authority = (environment[name] for name in names)
        context = ssl.create_default_context(side, cafile=authority)
        context.load_cert_chain(certificate, key)
    except (KeyError, OSError) as error:
        raise ServingError(
            f"Ray uses TLS here (RAY_USE_TLS), so parts of the server do too, by {', '.join(names)}"
            f", of which one is missing or cannot be used: {error!r}. Set them as for Ray itself."
        ) from error
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def outcome_of(frame: bytes) -> Any:
    """Return what a call returned, or raise what it raised."""
    is_good, value = pickle.loads(frame)
    if is_good:
        return value
    raise value
