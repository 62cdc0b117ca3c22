"""Values as a database driver gives them -> Arrow columns, and one schema for all of a result.

Databases type a column, drivers type each value, and some (SQLite) type nothing else. So a column's
type is what its values so far agree on, and it only ever grows: nothing, then a number or a time or
text, and text where values disagree.
"""

import contextlib
from collections.abc import Callable, Sequence
from datetime import datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pyarrow as pa


def column_of(values: Sequence[Any]) -> pa.Array:
    """Return values of one column as an array of the narrowest type that holds them all.

    Numbers of exact decimals are integers where the column has no decimal places, else floats;
    dates stay dates; texts in a list are joined by `|`; what else there is becomes text.
    """
    kinds = _kinds(values)
    if not kinds.isdisjoint(_CONVERTERS):  # most columns need no look at each value
        values = [_CONVERTERS.get(type(value), _same)(value) for value in values]
        kinds = _kinds(values)
    if len(kinds) <= 1 or kinds == {int, float}:
        with contextlib.suppress(pa.ArrowException, OverflowError):  # an integer of over 64 bits
            return pa.array(values)
    if bytes in kinds:  # text that need not be UTF-8; validation finds the rows in which it is not
        return pa.array([_as_bytes(value) for value in values], pa.binary())
    return pa.array([_as_text(value) for value in values], pa.string())


def common_type(first: pa.DataType, second: pa.DataType) -> pa.DataType:
    """Return the type of a column in which values of both types stand."""
    if first == second or pa.types.is_null(second):
        return first
    if pa.types.is_null(first):
        return second
    kinds = {first, second}
    if pa.binary() in kinds:
        return pa.binary()
    if kinds == {pa.int64(), pa.float64()}:
        return pa.float64()
    if all(pa.types.is_timestamp(kind) and kind.tz for kind in kinds):
        return pa.timestamp("us", "UTC")  # the zone in which it is shown changes nothing
    return pa.string()


def cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column as the type to which it has grown."""
    if kind == pa.binary() != column.type:
        return column.cast(pa.string()).cast(kind)
    return column.cast(kind)


def _kinds(values: Sequence[Any]) -> set[type]:
    return set(map(type, values)) - {type(None)}


def _same(value: Any) -> Any:
    return value


def _number(value: Decimal) -> int | float:
    exponent = value.as_tuple().exponent
    return int(value) if isinstance(exponent, int) and exponent >= 0 else float(value)


def _joined(value: Any) -> str:
    if not isinstance(value, dict) and all(isinstance(one, str | None) for one in value):
        return "|".join(one for one in value if one is not None)
    return msgspec.json.encode(value, enc_hook=str).decode()


def _as_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat(" ") if isinstance(value, datetime) else str(value)


def _as_bytes(value: Any) -> bytes | None:
    text = value if isinstance(value, bytes) else _as_text(value)
    return text.encode() if isinstance(text, str) else text


_CONVERTERS: dict[type, Callable[[Any], Any]] = {
    Decimal: _number,
    memoryview: bytes,
    bytearray: bytes,
    UUID: str,
    timedelta: str,
    time: str,
    list: _joined,
    tuple: _joined,
    dict: _joined,
}
"""What becomes of values that Arrow does not take as they are."""
