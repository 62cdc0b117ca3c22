"""Reads JSON lines: each line is one object, whose keys name the columns.

JSON has types, but the values of one column need not agree. So every value becomes the text that
stands for it, and is read from there like that of any other source. What no text can stand for (an
object as an id, 12.0 as an id) makes a refused row, and so does a line that is no JSON object.
"""

from collections.abc import Sequence
from typing import Any, NoReturn

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.errors import SourceError
from raysys.logs.formats import JsonFormat
from raysys.logs.header import (
    EVENT_ID,
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM_ID,
    TIMESTAMP,
    USER_ID,
    Header,
)
from raysys.logs.raw import RawBatch, Refused, printable
from raysys.logs.reasons import Reason
from raysys.logs.records import Broken, Records, split_records

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a line raises that is not JSON."""

_IDS = (USER_ID, ITEM_ID, EVENT_ID)
_SINGLE = (*_IDS, TIMESTAMP, EVENT_TYPE, EVENT_VALUE)
"""Columns that hold texts and numbers only."""


class JsonParser:
    """Takes lines of JSON apart by one header, whose names are the keys."""

    def __init__(self, header: Header) -> None:
        keys = [(name, header.names[place]) for name, place in header.positions.items()]
        # A key that only later lines have is known by its name in small or in capital letters.
        keys += [(name, key) for name in header.later for key in (name, name.upper())]
        # Only these keys are decoded; passing over the rest of a line is much cheaper.
        fields: list[tuple[str, Any, Any]] = [
            (f"key_{place}", Any, msgspec.field(default=None, name=key))
            for place, (_, key) in enumerate(keys)
        ]
        self._names = [name for name, _ in keys]
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Line", fields)).decode

    def parse(self, piece: Records | Broken, first_row: int, bytes_read: int) -> RawBatch:
        """Return a piece as a batch; its first line is row number `first_row`."""
        if isinstance(piece, Broken):
            row = Refused(first_row, piece.reason, piece.reason.sentence, printable(piece.data))
            columns = self._columns([])
            return RawBatch(columns, np.empty(0, np.int64), False, bytes_read, lambda _: [], [row])
        lines = split_records(piece.data, JsonFormat.dialect)
        places: list[int] = []
        read: list[list[bytes | None]] = []
        refused: list[Refused] = []
        for place, line in enumerate(lines):
            try:
                read.append(self._values(line))
                places.append(place)
            except _Fault as fault:
                reason, detail = fault.args
                refused.append(Refused(first_row + place, reason, detail, printable(line)))
        return RawBatch(
            self._columns(read),
            first_row + np.array(places, np.int64),
            False,
            bytes_read,
            lambda chosen: [printable(lines[places[place]]) for place in chosen],
            refused,
        )

    def _values(self, line: bytes) -> list[bytes | None]:
        try:
            found = msgspec.structs.astuple(self._decode(line))
        except UNREADABLE as error:
            _refuse(line, error)
        return [
            None if value is None else _as_text(name, value)
            for name, value in zip(self._names, found, strict=True)
        ]

    def _columns(self, read: Sequence[Sequence[bytes | None]]) -> dict[str, pa.Array]:
        by_key = zip(*read, strict=True) if read else ((),) * len(self._names)
        columns: dict[str, pa.Array] = {}
        for name, values in zip(self._names, by_key, strict=True):
            column = pa.array(values, pa.binary())
            columns[name] = pc.coalesce(columns[name], column) if name in columns else column
        return columns


def find_keys(first: bytes, name: str, num_bytes: int) -> list[str]:
    """Return the keys of the objects in the first lines of a file, in order of appearance.

    Args:
        num_bytes: how far to look; the first line is looked at whatever its length.

    Raises:
        SourceError: none of these lines is a JSON object.
    """
    keys: dict[str, None] = {}
    fault = ""
    for place, line in enumerate(split_records(first, JsonFormat.dialect)):
        num_bytes -= len(line) + 1
        if place and num_bytes < 0:
            break
        try:
            keys.update(dict.fromkeys(msgspec.json.decode(line, type=dict[str, msgspec.Raw])))
        except UNREADABLE as error:
            fault = fault or f"the first begins with {printable(line[:40])!r} ({error})"
    if not keys:
        raise SourceError(
            f"{name} holds no JSON object with keys in its first lines{fault and ': '}{fault}. "
            f"Every line must be one whole object: `jq -c '.[]' FILE` writes a JSON array so, and "
            f"`jq -c . FILE` objects that stand over several lines."
        )
    return list(keys)


class _Fault(Exception):
    """What is wrong with a line: a `Reason` and a sentence."""


def _refuse(line: bytes, error: Exception) -> NoReturn:
    try:
        line.decode()
    except UnicodeDecodeError:
        raise _Fault(Reason.BAD_ENCODING, Reason.BAD_ENCODING.sentence) from error
    raise _Fault(Reason.BAD_JSON, f"{Reason.BAD_JSON.sentence} {error}.") from error


def _as_text(name: str, value: Any) -> bytes:
    """Return the text that stands for a value of a column."""
    if isinstance(value, str):
        return value.encode()
    if name not in _SINGLE and (found := _joined(value)) is not None:
        return found.encode()
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if name in _IDS and isinstance(value, float):
        raise _Fault(Reason.FLOAT_ID, f"{name.upper()} is {value}: {Reason.FLOAT_ID.sentence}")
    if not is_number or name == EVENT_TYPE:
        found = msgspec.json.encode(value).decode()
        shown = found if len(found) <= 100 else f"{found[:100]}..."
        raise _Fault(Reason.WRONG_TYPE, f"{name.upper()} is {shown}: {Reason.WRONG_TYPE.sentence}")
    return str(value).encode()


def _joined(value: Any) -> str | None:
    """Return a truth value in words, or a list's texts and whole numbers with `|` between them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and all(type(one) in (str, int) for one in value):
        return "|".join(str(one) for one in value)
    return None
