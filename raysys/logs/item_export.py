"""Items that clients put, as JSON lines that an import reads beside the table that came before.

Names of properties become names of columns: releaseYear and RELEASE_YEAR are release_year. What a
table cannot hold, objects and lists of other things than texts, is left out. A creation time stands
in a row only where the client named one: else an import finds out by itself, from the first
interaction.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from raysys.logs.header import ITEM_ID
from raysys.logs.schema import CREATION_TIMESTAMP
from raysys.state.items import StoredItem

ITEMS_FILE = "items.jsonl"

_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def write_items(items: Iterable[StoredItem], path: Path) -> int:
    """Write one line per item and return how many there are."""
    number = 0
    with path.open("wb") as file:
        for row in _rows(items):
            file.write(msgspec.json.encode(row) + b"\n")
            number += 1
    return number


def _rows(items: Iterable[StoredItem]) -> Iterator[dict[str, Any]]:
    for item in items:
        row: dict[str, Any] = {ITEM_ID: item.item_id}
        for name, value in item.known.items():
            column = _HUMP.sub("_", name.strip()).lower()
            if column == CREATION_TIMESTAMP:
                row[column] = item.created_at_us // 1_000_000
            elif column != ITEM_ID and (cell := _cell(value)) is not None:
                row[column] = cell
        yield row


def _cell(value: Any) -> str | int | float | bool | None:
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "|".join(value)
    return value if isinstance(value, str | int | float | bool) else None
