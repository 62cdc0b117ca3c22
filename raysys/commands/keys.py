"""`raysys keys`: create, list and revoke the keys with which clients ask."""

import argparse
import contextlib
import dataclasses
import time
from datetime import UTC, datetime
from typing import Any, cast, get_args

from pydantic import TypeAdapter, ValidationError
from rich.table import Table

from raysys.commands.console import Console
from raysys.config import ResourceName, check_dataset_group_name
from raysys.errors import ConfigError, StateError
from raysys.state.credentials import KeyScope, hash_token, new_key_id, new_secret, new_token
from raysys.state.keys import KeyTable, StoredKey
from raysys.state.sealing import Seal
from raysys.state.store import StateStore

_LONGEST_LABEL = 100
_MOST_DAYS = 36_500
_US_PER_DAY = 86_400_000_000


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do it. What is secret of a new key is told here and now, and kept nowhere as it is."""
    check_dataset_group_name(arguments.dataset_group)
    if arguments.action == "create":
        key, told = _made(arguments)  # before a database is made for nothing
    is_new = arguments.action == "create"
    store = StateStore(arguments.database, arguments.dataset_group, must_exist=not is_new)
    with contextlib.closing(store):
        if arguments.action == "create":
            store.keys.add(key)
            return _tell(key, told, console)
        if arguments.action == "list":
            return _list(store.keys, console)
        if arguments.action == "revoke":
            return _revoke(arguments.key_id, store.keys, console)
        return _reseal(store.keys, console)


def _made(arguments: argparse.Namespace) -> tuple[StoredKey, dict[str, str]]:
    """Return a new key as it is stored, and what its owner has to know of it."""
    now_us = time.time_ns() // 1000
    key_id = new_key_id("bearer" if arguments.bearer else "signature")
    fields: dict[str, Any] = {
        "key_id": key_id,
        "scopes": _scopes(arguments.scopes),
        "created_at_us": now_us,
        "campaign": _campaign(arguments.campaign),
        "label": _label(arguments.label),
        "expires_at_us": _expiry(arguments.expires_in_days, now_us),
    }
    if arguments.bearer:
        token = new_token(key_id)
        key = StoredKey(kind="bearer", proof=hash_token(token.encode()), **fields)
        return key, {"token": token}
    secret = new_secret()
    sealed = Seal.from_environment().seal(key_id, secret)
    return StoredKey(kind="signature", proof=sealed, **fields), {"secret": secret}


def _tell(key: StoredKey, told: dict[str, str], console: Console) -> dict[str, Any]:
    if "token" in told:
        console.verbatim(f"Authorization: Bearer {told['token']}")
    else:
        console.verbatim(f"export AWS_ACCESS_KEY_ID={key.key_id}")
        console.verbatim(f"export AWS_SECRET_ACCESS_KEY={told['secret']}")
    console.say(
        f"That is shown this once. Key {key.key_id} has the scopes {', '.join(key.scopes)}"
        f"{_until(key)}; running servers know it within a second."
    )
    return {**_described(key, time.time_ns() // 1000), **told}


def _list(keys: KeyTable, console: Console) -> dict[str, Any]:
    now_us = time.time_ns() // 1000
    described = [_described(key, now_us) for key in keys.all()]
    columns = ("key_id", "kind", "scopes", "campaign", "label", "status", "created", "expires")
    table = Table(*columns)
    for row in described:
        cells = (row[column] for column in columns)
        table.add_row(
            *(", ".join(cell) if isinstance(cell, list) else str(cell or "") for cell in cells)
        )
    console.say(table)
    return {"keys": described}


def _revoke(key_id: str, keys: KeyTable, console: Console) -> dict[str, Any]:
    found = {key.key_id: key for key in keys.all()}.get(key_id)
    if found is None:
        raise StateError(
            f"There is no key {key_id[:100]!r} of this dataset group in this database. `raysys "
            f"keys list` says which there are."
        )
    keys.revoke(key_id, time.time_ns() // 1000)
    is_new = found.revoked_at_us is None
    console.say(
        f"Key {key_id} is revoked; running servers refuse it within a second."
        if is_new
        else f"Key {key_id} was revoked on {_day(found.revoked_at_us)} already."
    )
    return {"key_id": key_id, "status": "revoked", "is_new": is_new}


def _reseal(keys: KeyTable, console: Console) -> dict[str, Any]:
    seal = Seal.from_environment()
    # Revoked ones too: nothing of the old master key is to be needed any more.
    sealed = [key for key in keys.all() if key.kind == "signature"]
    keys.seal_again(
        [(key.key_id, seal.seal(key.key_id, seal.open(key.key_id, key.proof))) for key in sealed]
    )
    console.say(f"{len(sealed)} secrets are sealed with the first key in RAYSYS_MASTER_KEY now.")
    return {"sealed": len(sealed)}


def _described(key: StoredKey, now_us: int) -> dict[str, Any]:
    """Return what may be told of a key to anybody who may list keys."""
    status = "good" if key.is_good(now_us) else "revoked" if key.revoked_at_us else "expired"
    shown = {
        name: value for name, value in dataclasses.asdict(key).items() if not name.endswith("_us")
    }
    del shown["proof"]
    return {
        **shown,
        "scopes": list(key.scopes),
        "status": status,
        "created": _day(key.created_at_us),
        "expires": _day(key.expires_at_us),
    }


def _scopes(text: str) -> tuple[KeyScope, ...]:
    known = get_args(KeyScope)
    given = [scope.strip() for scope in text.split(",")]
    for scope in given:
        if scope not in known:
            raise ConfigError(
                f"--scopes is {text[:100]!r}, and {scope[:100]!r} is no scope. Name one or more of "
                f"{', '.join(known)}, with commas between."
            )
    return tuple(cast(KeyScope, scope) for scope in known if scope in given)


def _campaign(name: str | None) -> str | None:
    try:
        return TypeAdapter(ResourceName | None).validate_python(name)
    except ValidationError:
        raise ConfigError(
            f"--campaign is {str(name)[:100]!r}, and no campaign can be called that: 1 to 63 "
            f"letters, digits, hyphens and underscores, the first a letter or digit."
        ) from None


def _label(text: str) -> str:
    if len(text) > _LONGEST_LABEL or not text.isprintable():
        raise ConfigError(
            f"--label takes at most {_LONGEST_LABEL} printable characters, but got {len(text)}."
        )
    return text


def _expiry(days: float | None, now_us: int) -> int | None:
    if days is None:
        return None
    if not 0 < days <= _MOST_DAYS:
        raise ConfigError(f"--expires-in-days must lie in (0, {_MOST_DAYS}], but got {days:g}.")
    return now_us + round(days * _US_PER_DAY)


def _until(key: StoredKey) -> str:
    return "" if key.expires_at_us is None else f" until {_day(key.expires_at_us)}"


def _day(time_us: int | None) -> str | None:
    if time_us is None:
        return None
    return datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="seconds")
