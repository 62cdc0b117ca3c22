"""Secrets in the database are sealed with a master key that the database does not hold.

What is sealed is AES-256-GCM: 12 random bytes (the nonce), the ciphertext, 16 bytes that prove it
whole. The key id is bound in as associated data: a secret moved to another row does not open there.
"""

import base64
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from raysys.errors import ConfigError, StateError

MASTER_KEY = "RAYSYS_MASTER_KEY"
HOW_TO_MAKE_ONE = f'export {MASTER_KEY}="$(openssl rand -base64 32)"'

_NUM_KEY_BYTES, _NUM_NONCE_BYTES = 32, 12


class Seal:
    """Seals with the first of some master keys, and opens what any of them sealed.

    Args:
        master_keys: 32 bytes each, one or more. Several are for the time in which one replaces
            another.
    """

    def __init__(self, *master_keys: bytes) -> None:
        self._ciphers = [AESGCM(key) for key in master_keys]

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> "Seal":
        """Return the seal of RAYSYS_MASTER_KEY: base64 of 32 bytes, or several with commas between.

        Raises:
            ConfigError: it is not set, or is not that.
        """
        text = environ.get(MASTER_KEY, "")
        if not text.strip():
            raise ConfigError(
                f"{MASTER_KEY} is not set in this process's environment, so secrets of signing "
                f"keys can neither be sealed nor opened. Make one, `{HOW_TO_MAKE_ONE}`, keep it "
                f"where the database is not, and set it before Ray starts: Ray's processes have "
                f"the environment of `raysys serve` or `ray start`. Bearer tokens need none."
            )
        return cls(*(_decoded(part.strip()) for part in text.split(",")))

    def seal(self, key_id: str, secret: str) -> bytes:
        """Return the secret of a key, sealed with the first master key."""
        nonce = os.urandom(_NUM_NONCE_BYTES)
        return nonce + self._ciphers[0].encrypt(nonce, secret.encode(), key_id.encode())

    def open(self, key_id: str, sealed: bytes) -> str:
        """Return the secret of a key; StateError when no master key here sealed it for that key."""
        nonce, ciphertext = sealed[:_NUM_NONCE_BYTES], sealed[_NUM_NONCE_BYTES:]
        for cipher in self._ciphers:
            try:
                return cipher.decrypt(nonce, ciphertext, key_id.encode()).decode()
            except (InvalidTag, ValueError):  # the latter: too short to be sealed at all
                continue
        raise StateError(
            f"The secret of key {key_id} was sealed with another master key than the one in "
            f"{MASTER_KEY}. Set the one that `raysys keys create` had (with a comma, several), or "
            f"revoke the key and create another: a sealed secret cannot be had without its key."
        )


def _decoded(text: str) -> bytes:
    try:
        key = base64.b64decode(text.replace("-", "+").replace("_", "/"), validate=True)
    except ValueError:  # no base64, or not even ASCII
        key = b""
    if len(key) != _NUM_KEY_BYTES:
        raise ConfigError(  # and no word of what it is: that may be most of a secret
            f"{MASTER_KEY} holds {len(text)} characters that are not the base64 of 32 bytes. Make "
            f"one with `{HOW_TO_MAKE_ONE}`."
        )
    return key
