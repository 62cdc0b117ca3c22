"""Hashes stay what they are for ever: they decide where data lies."""

import hashlib
from pathlib import Path

import numpy as np

from raysys.hashing import sha256_of_file, sha256_of_texts, stable_hash, stable_hashes


def test_the_hash_of_a_text_is_the_same_for_ever() -> None:
    # blake2b-64 read as a little-endian number; a change would move every user to another shard
    expected = int.from_bytes(hashlib.blake2b(b"42", digest_size=8).digest(), "little")
    assert stable_hash("42") == expected == 8820412187630416983


def test_many_hashes_equal_the_single_ones() -> None:
    texts = ["", "a", "é", "\U0001f600", "a" * 1000]
    assert stable_hashes(texts).tolist() == [stable_hash(text) for text in texts]
    assert stable_hashes(texts).dtype == np.uint64
    assert stable_hashes([]).shape == (0,)


def test_the_hash_of_a_sequence_knows_where_one_text_ends() -> None:
    assert sha256_of_texts(["ab"]) != sha256_of_texts(["a", "b"])
    assert sha256_of_texts(["a", "b"]) != sha256_of_texts(["b", "a"])
    assert sha256_of_texts(iter(["a", "b"])) == sha256_of_texts(["a", "b"])


def test_the_hash_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 3_000_000)
    assert sha256_of_file(file) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
