"""Secrets at rest, and what keys look like."""

import base64
import hashlib
import re

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from raysys.errors import ConfigError, StateError
from raysys.state.credentials import hash_token, key_id_of, new_key_id, new_secret, new_token
from raysys.state.sealing import Seal

OLD, NEW = b"o" * 32, b"n" * 32


def encoded(key: bytes) -> str:
    return base64.b64encode(key).decode()


def environment(*keys: bytes) -> dict[str, str]:
    return {"RAYSYS_MASTER_KEY": ", ".join(map(encoded, keys))}


def test_a_secret_comes_back_and_is_nowhere_in_what_is_kept() -> None:
    seal = Seal(OLD)
    sealed = seal.seal("RSAK1", "the secret")
    assert seal.open("RSAK1", sealed) == "the secret"
    assert b"secret" not in sealed
    assert sealed != seal.seal("RSAK1", "the secret")  # another nonce each time
    # As any other program could open it: AES-256-GCM, the nonce in front, bound to the key id.
    assert AESGCM(OLD).decrypt(sealed[:12], sealed[12:], b"RSAK1") == b"the secret"


def test_a_secret_opens_with_its_master_key_and_for_its_own_key_alone() -> None:
    sealed = Seal(OLD).seal("RSAK1", "the secret")
    flipped = sealed[:-1] + bytes([sealed[-1] ^ 1])
    for seal, key_id, found in (
        (Seal(NEW), "RSAK1", sealed),
        (Seal(OLD), "RSAK2", sealed),
        (Seal(OLD), "RSAK1", flipped),
        (Seal(OLD), "RSAK1", b"short"),
        (Seal(OLD), "RSAK1", b""),
    ):
        with pytest.raises(StateError, match=f"{key_id} was sealed with another master key"):
            seal.open(key_id, found)


def test_the_first_of_several_master_keys_seals_and_every_one_opens() -> None:
    both = Seal.from_environment(environment(NEW, OLD))
    assert both.open("k", Seal(OLD).seal("k", "a")) == "a"
    assert both.open("k", Seal(NEW).seal("k", "b")) == "b"
    assert Seal(NEW).open("k", both.seal("k", "c")) == "c"


@pytest.mark.parametrize("text", ["", "  "])
def test_without_a_master_key_it_says_how_to_make_one(text: str) -> None:
    with pytest.raises(ConfigError, match="is not set .*openssl rand -base64 32"):
        Seal.from_environment({"RAYSYS_MASTER_KEY": text})
    with pytest.raises(ConfigError, match="is not set"):
        Seal.from_environment({})


@pytest.mark.parametrize(
    "text",
    [
        "hunter2hunter2",
        encoded(b"x" * 31),
        encoded(b"x" * 33),
        encoded(OLD) + ",",
        "ü" * 44,
        "=" * 44,
    ],
)
def test_what_is_no_master_key_is_refused_and_not_told(text: str) -> None:
    with pytest.raises(ConfigError, match="not the base64 of 32 bytes") as caught:
        Seal.from_environment({"RAYSYS_MASTER_KEY": text})
    assert text[:8] not in str(caught.value)


def test_a_master_key_may_be_in_the_alphabet_of_urls() -> None:
    key = bytes(range(224, 256))
    text = base64.urlsafe_b64encode(key).decode()
    assert {*text} & {*"-_"}
    found = Seal.from_environment({"RAYSYS_MASTER_KEY": text})
    assert found.open("k", Seal(key).seal("k", "a")) == "a"


def test_ids_secrets_and_tokens_have_their_form_and_are_never_the_same() -> None:
    for kind, prefix in (("signature", "RSAK"), ("bearer", "RSBT")):
        ids = {new_key_id(kind) for _ in range(50)}  # type: ignore[arg-type]
        assert len(ids) == 50
        assert all(re.fullmatch(rf"{prefix}[A-Z2-7]{{16}}", each) for each in ids)
    secrets = {new_secret() for _ in range(50)}
    assert len(secrets) == 50
    assert all(re.fullmatch(r"[\w-]{40}", each, re.ASCII) for each in secrets)
    key_id = new_key_id("bearer")
    tokens = {new_token(key_id) for _ in range(50)}
    assert len(tokens) == 50
    assert all(re.fullmatch(rf"{key_id}\.[\w-]{{43}}", each, re.ASCII) for each in tokens)
    assert {key_id_of(each.encode()) for each in tokens} == {key_id}


@pytest.mark.parametrize(
    "token", [b"", b".", b"A" * 64, b"A" * 19 + b".x", b"\xc3\xbc" * 10 + b".x", b" " * 20 + b".x"]
)
def test_what_is_no_token_names_no_key(token: bytes) -> None:
    assert key_id_of(token) is None


def test_a_token_is_kept_as_its_sha_256() -> None:
    assert hash_token(b"a.b") == hashlib.sha256(b"a.b").digest()
