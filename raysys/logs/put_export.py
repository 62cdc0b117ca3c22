"""Items and users that clients put, as JSON lines that an import reads beside the tables that came
before.

Names of properties become names of columns: releaseYear and RELEASE_YEAR are release_year. What a
table cannot hold, objects and lists of other things than texts, is left out. A creation time stands
in the row of an item only where the client named one: else an import finds out by itself, from the
first interaction.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from raysys.logs.header import ITEM_ID, USER_ID
from raysys.logs.schema import CREATION_TIMESTAMP
from raysys.state.items import StoredItem
from raysys.state.users import User

ITEMS_FILE, USERS_FILE = "items.jsonl", "users.jsonl"

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def write_items(items: Iterable[StoredItem], path: Path) -> int:
    """Write one line per item and return how many there are."""
    return _write((_item_row(item) for item in items), path)


def write_users(users: Iterable[User], path: Path) -> int:
    """Write one line per user and return how many there are."""
    return _write((_row(USER_ID, user.user_id, user.known) for user in users), path)


def _write(rows: Iterable[Mapping[str, Any]], path: Path) -> int:
    number = 0
    with path.open("wb") as file:
        for row in rows:
            file.write(msgspec.json.encode(row) + b"\n")
            number += 1
    return number


def _item_row(item: StoredItem) -> dict[str, Any]:
    known = {_column(name): value for name, value in item.known.items()}
    if CREATION_TIMESTAMP in known:
        known[CREATION_TIMESTAMP] = item.created_at_us // 1_000_000
    return _row(ITEM_ID, item.item_id, known)


def _row(id_column: str, id_: str, known: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {id_column: id_}
    for name, value in known.items():
        column = _column(name)
        if column != id_column and (cell := _cell(value)) is not None:
            row[column] = cell
    return row


def _column(name: str) -> str:
    return _HUMP.sub("_", name.strip()).lower()


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "|".join(value)
    return value if isinstance(value, str | int | float | bool) else None
