"""What keys look like, and what is kept of them.

A signing key is a key id and a secret, as AWS SDKs want them. The server signs each request again,
so it must have the secret itself: it is kept sealed (`raysys.state.sealing`).

A bearer token is a key id, a dot and 256 random bits. Of it only the SHA-256 is kept. A slow hash
with salt would be of no use: those make guessing dear where people choose what is guessed, and
nobody guesses 256 random bits; every request would pay for it.
"""

import base64
import hashlib
import secrets
from typing import Literal

KeyKind = Literal["signature", "bearer"]
KeyScope = Literal["read", "write", "admin"]

KEY_ID_LENGTH = 20
_PREFIXES: dict[KeyKind, str] = {"signature": "RSAK", "bearer": "RSBT"}


def new_key_id(kind: KeyKind) -> str:
    """Return 20 characters: what kind of key it is, then 80 random bits in capitals and digits."""
    return _PREFIXES[kind] + base64.b32encode(secrets.token_bytes(10)).decode()


def new_secret() -> str:
    """Return 40 characters, 240 random bits, that need no quoting in a shell or a URL."""
    return secrets.token_urlsafe(30)


def new_token(key_id: str) -> str:
    """Return a token of 64 characters: the key id, a dot, 256 random bits."""
    return f"{key_id}.{secrets.token_urlsafe(32)}"


def key_id_of(token: bytes) -> str | None:
    """Return the key id that a token names; None when it is no token of raysys's."""
    key_id = token[:KEY_ID_LENGTH]
    if token[KEY_ID_LENGTH : KEY_ID_LENGTH + 1] != b"." or not key_id.isalnum():
        return None
    return key_id.decode("ascii")


def hash_token(token: bytes) -> bytes:
    """Return what is kept of a token, 32 bytes."""
    return hashlib.sha256(token).digest()
