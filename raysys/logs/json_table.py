"""Reads a table of items or of users from JSON lines: one object an item or a user.

A column whose values agree on a type keeps it; one whose values do not becomes text. A list of
texts stands for several values of one cell.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.logs.formats import JsonFormat
from raysys.logs.json_lines import UNREADABLE
from raysys.logs.records import Broken, cut_records, split_records
from raysys.logs.source import Source


def read_json_table(source: Source, notices: list[str]) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return all objects as a table, and the number of the line that each of them stands in.

    Names are in small letters, a key that an object lacks is null. Lines that are no objects are
    left out, with a notice. SourceError: the file cannot be read.
    """
    rows: list[dict[str, Any]] = []
    places: list[int] = []
    refused = 0
    with source.open_unpacked() as (file, _):
        for piece in cut_records(file, JsonFormat.dialect):
            if isinstance(piece, Broken):
                refused += 1
                continue
            for line in split_records(piece.data, JsonFormat.dialect):
                try:
                    found = msgspec.json.decode(line, type=dict[str, Any])
                    places.append(len(places) + refused + 1)
                    rows.append({key.strip().lower(): value for key, value in found.items()})
                except UNREADABLE:
                    refused += 1
    if refused:
        notices.append(
            f"{source.name}: {refused:,} lines were left out, since they are no objects."
        )
    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: _column([row.get(name) for row in rows]) for name in names}
    return pa.table(columns), np.array(places, np.int64)


def _column(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return pa.array([_as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "|".join(value)
    return msgspec.json.encode(value).decode()
