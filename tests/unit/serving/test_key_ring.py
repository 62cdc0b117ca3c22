"""Following the keys in the database, with a database that is made up."""

import logging
import math
import threading
from typing import Any

import pytest

from raysys.errors import ServingError, StateError, StateUnavailableError
from raysys.serving import follower as following
from raysys.serving import key_ring
from raysys.serving.key_ring import KeyRing, open_key_ring
from raysys.state.keys import StoredKey
from raysys.state.sealing import Seal
from tests.unit.api.signed import SEAL, SECRET, FakeTable, bearer_key, signing_key


def made(table: FakeTable, *, is_always_on: bool = True, seal: Seal = SEAL) -> KeyRing:
    return KeyRing(table, is_always_on=is_always_on, open_seal=lambda: seal)  # type: ignore[arg-type]


def test_a_key_is_found_with_what_it_may_and_what_proves_it() -> None:
    key = signing_key("read", campaign="films", expires_at_us=2_500_000)
    token, _ = bearer_key("write")
    ring = made(FakeTable(key, token, signing_key(revoked_at_us=1)))
    ring._take_over()
    found = ring.find(key.key_id)
    assert found is not None
    assert (found.proof, found.scopes, found.campaign) == (SECRET.encode(), {"read"}, "films")
    assert found.expires_at_s == 2.5
    assert SECRET not in repr(found)
    other = ring.find(token.key_id)
    assert other is not None
    assert (other.proof, other.kind, other.expires_at_s) == (token.proof, "bearer", math.inf)
    assert repr(token.proof) not in repr(other)
    assert ring.find("RSAKNOBODY") is None


def test_keys_that_are_made_and_revoked_are_known_while_it_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "POLL_EVERY_S", 0.001)
    first, second = signing_key(), signing_key()
    table = FakeTable(first)
    looked = threading.Semaphore(0)
    version = table.version

    def watched() -> int:
        looked.release()
        return version()

    table.version = watched  # type: ignore[method-assign]
    ring = made(table)
    ring.start()

    def become(*keys: StoredKey, failure: Exception | None = None) -> None:
        table.keys, table.failure = list(keys), failure
        table.num_changes += 1
        while looked.acquire(blocking=False):
            pass
        for _ in range(3):  # when it asks again it is done with the first answer
            assert looked.acquire(timeout=10)

    become(first, second)
    assert ring.find(second.key_id) is not None
    become(first, failure=StateUnavailableError("away"))
    assert ring.find(second.key_id) is not None  # what was known stays
    become(first, failure=StateError("a newer raysys made it"))
    become(first)
    assert ring.find(second.key_id) is None
    assert ring.find(first.key_id) is not None
    ring.close()


def test_nothing_is_read_again_while_nothing_changed() -> None:
    table = FakeTable(signing_key())
    ring = made(table)
    ring._take_over()
    table.all = pytest.fail  # type: ignore[assignment]
    ring._take_over()


def test_it_is_on_from_the_first_key_and_stays_on_without_any() -> None:
    table = FakeTable()
    ring = made(table, is_always_on=False)
    ring.start()
    ring.close()
    assert not ring.is_on
    for keys in ([signing_key(revoked_at_us=1)], []):
        table.keys, table.num_changes = keys, table.num_changes + 1
        ring._take_over()
        assert ring.is_on
    assert made(FakeTable()).is_on


@pytest.mark.parametrize(
    "keys",
    [[], [signing_key(revoked_at_us=1)], [signing_key(expires_at_us=1)]],
    ids=["none", "revoked", "expired"],
)
def test_where_keys_are_needed_and_none_is_good_it_does_not_start(keys: list[StoredKey]) -> None:
    with pytest.raises(ServingError, match="no key that is good.*raysys keys create"):
        made(FakeTable(*keys)).start()


def test_a_wrong_master_key_is_told_and_keeps_other_keys_in_force(
    caplog: pytest.LogCaptureFixture,
) -> None:
    key, (token, _) = signing_key(), bearer_key()
    with pytest.raises(ServingError, match=f"none can be used: .*{key.key_id} was sealed with ano"):
        made(FakeTable(key), seal=Seal(b"x" * 32)).start()
    caplog.clear()
    table = FakeTable(key, token)
    ring = made(table, seal=Seal(b"x" * 32))
    ring.start()
    ring.close()
    table.num_changes += 1
    ring._take_over()
    assert ring.find(key.key_id) is None
    assert ring.find(token.key_id) is not None
    told = [text for text in caplog.messages if key.key_id in text]
    assert len(told) == 1
    assert "sealed with another master key" in told[0]


def test_without_a_master_key_it_says_so_where_there_are_signing_keys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("RAYSYS_MASTER_KEY", raising=False)
    token, _ = bearer_key()
    ring = KeyRing(FakeTable(token), is_always_on=True)  # type: ignore[arg-type]
    ring.start()
    ring.close()
    with pytest.raises(ServingError, match="RAYSYS_MASTER_KEY is not set"):
        KeyRing(FakeTable(signing_key()), is_always_on=True).start()  # type: ignore[arg-type]


def test_a_database_that_does_not_answer_is_told_at_once() -> None:
    table = FakeTable()
    table.failure = StateUnavailableError("it is away")
    with pytest.raises(StateError, match="it is away"):
        made(table, is_always_on=False).start()


def test_no_secret_comes_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = signing_key()
    made(FakeTable(key), seal=SEAL)._take_over()
    made(FakeTable(key), seal=Seal(b"x" * 32))._take_over()
    assert SECRET not in caplog.text


LOOPBACK, OUTSIDE = ["127.0.0.1"], ["127.0.0.1", "10.0.0.7"]


@pytest.mark.parametrize(
    ("authentication", "hosts", "keys", "is_on"),
    [
        ("off", LOOPBACK, [], None),
        ("off", LOOPBACK, [signing_key()], None),
        ("auto", LOOPBACK, [], False),
        ("auto", [], [], False),
        ("auto", LOOPBACK, [signing_key()], True),
        ("auto", OUTSIDE, [signing_key()], True),
        ("required", LOOPBACK, [signing_key()], True),
        ("auto", LOOPBACK, [signing_key(revoked_at_us=1)], "keys were made for its dataset group"),
        ("auto", OUTSIDE, [], "it listens on '10.0.0.7', which others can reach"),
        ("auto", [None], [], "it listens on every network interface, which others can reach"),
        ("required", LOOPBACK, [], "`authentication` is required"),
    ],
)
def test_who_is_asked_for_a_key_follows_from_the_setting_the_addresses_and_the_keys(
    authentication: Any,
    hosts: list[str | None],
    keys: list[StoredKey],
    is_on: bool | str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_ring.KeyRing.__init__, "__kwdefaults__", {"open_seal": lambda: SEAL})
    table: Any = FakeTable(*keys)
    if isinstance(is_on, str):
        with pytest.raises(ServingError, match=f"asks for a key here, since {is_on}. But there is"):
            open_key_ring(table, authentication, hosts)
        return
    ring = open_key_ring(table, authentication, hosts)
    assert (None if ring is None else ring.is_on) is is_on
    if ring is not None:
        ring.close()
