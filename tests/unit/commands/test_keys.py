"""`raysys keys`: what an operator does, and that nothing secret is told twice."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from raysys.cli import main
from raysys.serving.key_ring import opened
from raysys.state.credentials import hash_token
from raysys.state.keys import StoredKey
from raysys.state.sealing import Seal
from raysys.state.store import StateStore

OLD, NEW = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))


@pytest.fixture(autouse=True)
def _master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYSYS_MASTER_KEY", OLD)


class Operator:
    """Types commands for one database and reads their JSON line."""

    def __init__(self, directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.database = f"sqlite:///{directory / 'state.db'}"
        self._capsys = capsys
        self.shown = ""

    def __call__(self, action: str, *arguments: str) -> dict[str, Any]:
        main(["keys", action, *arguments, "--database", self.database, "--json"])
        out, self.shown = self._capsys.readouterr()
        answer: dict[str, Any] = json.loads(out)
        return answer

    def stored(self, dataset_group: str = "default") -> list[StoredKey]:
        store = StateStore(self.database, dataset_group)
        keys = store.keys.all()
        store.close()
        return keys


@pytest.fixture
def keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(tmp_path, capsys)


def test_a_signing_key_is_shown_once_and_kept_sealed(keys: Operator, tmp_path: Path) -> None:
    made = keys("create", "--scopes", "write,read", "--label", "the shop")
    assert made["ok"]
    secret = made["secret"]
    assert f"export AWS_ACCESS_KEY_ID={made['key_id']}\n" in keys.shown
    assert f"export AWS_SECRET_ACCESS_KEY={secret}\n" in keys.shown
    (stored,) = keys.stored()
    assert (stored.scopes, stored.label) == (("read", "write"), "the shop")
    assert Seal(b"o" * 32).open(stored.key_id, stored.proof) == secret
    assert secret.encode() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    listed = keys("list")
    assert secret not in json.dumps(listed) + keys.shown
    (row,) = listed["keys"]
    assert row["key_id"] == made["key_id"]
    assert row["status"] == "good"
    assert set(row) == {
        "key_id",
        "kind",
        "scopes",
        "campaign",
        "label",
        "status",
        "created",
        "expires",
    }


def test_a_token_needs_no_master_key_and_is_kept_as_its_hash(
    keys: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAYSYS_MASTER_KEY")
    made = keys("create", "--scopes", "read", "--bearer", "--campaign", "films")
    token = made["token"]
    assert f"Authorization: Bearer {token}\n" in keys.shown
    (stored,) = keys.stored()
    assert stored.proof == hash_token(token.encode())
    assert stored.campaign == "films"
    assert token.encode()[21:] not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert token[21:] not in json.dumps(keys("list")) + keys.shown


def test_without_a_master_key_no_signing_key_and_no_database_is_made(
    keys: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAYSYS_MASTER_KEY")
    refused = keys("create", "--scopes", "read")
    assert (refused["ok"], refused["error"]) == (False, "ConfigError")
    assert "openssl rand -base64 32" in refused["message"]
    assert list(tmp_path.iterdir()) == []


def test_a_revoked_key_stays_known_as_revoked(keys: Operator) -> None:
    key_id = keys("create", "--scopes", "admin")["key_id"]
    assert keys("revoke", key_id) == {
        "ok": True, "key_id": key_id, "status": "revoked", "is_new": True,
    }  # fmt: skip
    assert keys("revoke", key_id)["is_new"] is False
    assert keys("list")["keys"][0]["status"] == "revoked"
    refused = keys("revoke", "RSAKNOBODY")
    assert "no key 'RSAKNOBODY' of this dataset group" in refused["message"]
    assert "no key" in keys("revoke", key_id, "--dataset-group", "books")["message"]


def test_a_key_is_of_one_dataset_group_and_may_expire(keys: Operator) -> None:
    made = keys(
        "create", "--scopes", "read", "--dataset-group", "films", "--expires-in-days", "0.5"
    )
    assert keys.stored() == []
    (stored,) = keys.stored("films")
    assert stored.expires_at_us is not None
    assert stored.expires_at_us - stored.created_at_us == 43_200_000_000
    assert made["expires"] > made["created"]


def test_a_new_master_key_takes_over_and_the_old_one_may_go(
    keys: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = keys("create", "--scopes", "read")
    keys("create", "--scopes", "read", "--bearer")
    monkeypatch.setenv("RAYSYS_MASTER_KEY", f"{NEW},{OLD}")
    second = keys("create", "--scopes", "read")
    assert keys("reseal")["sealed"] == 2
    active, problems = opened(keys.stored(), lambda: Seal(b"n" * 32))
    assert problems == {}
    assert active[first["key_id"]].proof.decode() == first["secret"]
    assert active[second["key_id"]].proof.decode() == second["secret"]
    assert len(active) == 3


def test_with_a_wrong_master_key_nothing_is_sealed_anew(
    keys: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys("create", "--scopes", "read")
    before = keys.stored()
    monkeypatch.setenv("RAYSYS_MASTER_KEY", NEW)
    refused = keys("reseal")
    assert "was sealed with another master key" in refused["message"]
    assert keys.stored() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--scopes", "read,root"], "'root' is no scope. Name one or more of read, write, admin"),
        (["--scopes", ""], "'' is no scope"),
        (["--scopes", "read", "--campaign", "a/b"], "--campaign is 'a/b'"),
        (["--scopes", "read", "--label", "a\nb"], "--label takes at most 100 printable"),
        (["--scopes", "read", "--label", "x" * 101], "but got 101"),
        (["--scopes", "read", "--expires-in-days", "0"], r"in \(0, 36500\], but got 0"),
        (["--scopes", "read", "--expires-in-days", "nan"], "but got nan"),
        (["--scopes", "read", "--dataset-group", "a/b"], "cannot be named 'a/b'"),
    ],
)
def test_a_wrong_argument_is_refused_before_a_database_is_made(
    arguments: list[str], message: str, keys: Operator, tmp_path: Path
) -> None:
    refused = keys("create", *arguments)
    assert refused["ok"] is False
    assert re.search(message, refused["message"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("arguments", [("list",), ("revoke", "k"), ("reseal",)])
def test_what_reads_keys_makes_no_database(arguments: tuple[str, ...], keys: Operator) -> None:
    assert "does not exist" in keys(*arguments)["message"]
