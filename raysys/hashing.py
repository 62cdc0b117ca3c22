"""Hashes that mean the same on every machine, in every process and for ever.

Python's own `hash` is salted per process, so nothing that is written down may use it.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_CHUNK_BYTES = 1 << 20


def stable_hash(text: str) -> int:
    """Return an unsigned 64-bit hash of the text's UTF-8 bytes, the same for ever."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def stable_hashes(texts: Iterable[str]) -> NDArray[np.uint64]:
    """Return `stable_hash` of each text, (N,) uint64. About 0.6 microseconds a text."""
    empty = hashlib.blake2b(digest_size=8)
    digests = []
    for text in texts:
        digest = empty.copy()  # two thirds of the time of a new one
        digest.update(text.encode())
        digests.append(digest.digest())
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64, copy=False)


def sha256_of_file(path: Path) -> str:
    """Return the hex SHA-256 of a file's bytes, reading it in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sha256_of_texts(texts: Iterable[str]) -> str:
    """Return the hex SHA-256 of a sequence of texts; no two sequences share their bytes.

    Each text is preceded by its length, so that ["ab"] and ["a", "b"] differ.
    """
    digest = hashlib.sha256()
    for text in texts:
        encoded = text.encode()
        digest.update(len(encoded).to_bytes(8, "little"))
        digest.update(encoded)
    return digest.hexdigest()
