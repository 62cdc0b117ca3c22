"""Reads Parquet files of interactions, row group by row group."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raysys.errors import SourceError
from raysys.logs.header import EVENT_TYPE, EVENT_VALUE, ITEM_ID, TIMESTAMP, USER_ID, Header
from raysys.logs.layout import Layout
from raysys.logs.raw import RawBatch, printable
from raysys.logs.schema import CREATION_TIMESTAMP, IMPRESSION, Field, ValueType
from raysys.logs.source import WHOLE, Extent, Source

BATCH_ROWS = 128 << 10

_NUMBERS = ("text", "integers", "floats", "decimals")
_TAKEN_BY_TYPE = {
    ValueType.STRING: ("text", "integers", "floats", "booleans", "lists of text"),
    ValueType.INT: _NUMBERS,
    ValueType.LONG: _NUMBERS,
    ValueType.FLOAT: _NUMBERS,
    ValueType.DOUBLE: _NUMBERS,
    ValueType.BOOLEAN: ("text", "integers", "booleans"),
}
_IDS = ("text", "integers", "floats")  # floats as ids are refused row by row
_TIMES = (*_NUMBERS, "timestamps", "dates")  # numbers are seconds since 1970
_TAKEN = {
    USER_ID: _IDS,
    ITEM_ID: _IDS,
    EVENT_TYPE: ("text",),
    TIMESTAMP: _TIMES,
    CREATION_TIMESTAMP: _TIMES,
    EVENT_VALUE: _NUMBERS,
    IMPRESSION: ("text", "lists of text"),
}
"""The types of columns that rows can be used of; anything may be null."""


def inspect_parquet(source: Source, layout: Layout) -> tuple[Header, list[str]]:
    """Check a file's footer and columns; return where they are and what they give notice of.

    Raises:
        SourceError: it is no Parquet file, or a column is missing or of a type of no use.
    """
    with open_parquet(source) as file:
        return check_columns(layout, file.schema_arrow, source.name)


def check_columns(layout: Layout, schema: pa.Schema, name: str) -> tuple[Header, list[str]]:
    """Check names and types of the columns of a source; return where they are, and notices.

    Raises:
        SourceError: a column is missing, or of a type that no row could be used of.
    """
    header = layout.find(schema.names, name)
    notices = header.notices(name)
    for column, place in header.positions.items():
        kind = _value_type(schema.field(place).type)
        field = layout.schema.field(column)
        if field is not None:
            _check_type(field, kind, name)
        if column in (USER_ID, ITEM_ID) and pa.types.is_integer(kind):
            notices.append(f"{name}: {column.upper()} holds integers; they were written as text.")
        if column in (TIMESTAMP, CREATION_TIMESTAMP):
            notices += _notices_on_times(column, kind, name)
    return header, notices


def _notices_on_times(column: str, kind: pa.DataType, name: str) -> list[str]:
    if pa.types.is_date(kind):
        return [f"{name}: {column.upper()} holds dates; each was taken as its midnight, UTC."]
    if pa.types.is_timestamp(kind) and kind.tz is None:
        return [f"{name}: {column.upper()} has no time zone and was taken as UTC."]
    return []


def read_parquet(
    source: Source, layout: Layout, *, extent: Extent = WHOLE, batch_rows: int = BATCH_ROWS
) -> Iterator[RawBatch]:
    """Yield a file's rows; types are the file's own. SourceError where the file is damaged."""
    header, _ = inspect_parquet(source, layout)
    with open_parquet(source) as file:
        num_rows = max(file.metadata.num_rows, 1)
        next_row = 1
        places = list(header.positions.values())
        for batch in read_batches(file, source, places, extent, batch_rows):
            rows = np.arange(next_row, next_row + batch.num_rows, dtype=np.int64)
            next_row += batch.num_rows
            bytes_read = source.num_bytes * (next_row - 1) // num_rows
            yield _raw_batch(batch, header, rows, bytes_read)


def open_parquet(source: Source) -> pq.ParquetFile:
    """Open a Parquet file. SourceError: it is no Parquet file, or a part of one."""
    try:
        return pq.ParquetFile(source.location, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{source.name} is not a complete Parquet file: {_first_line(error)} It was "
            f"probably cut off while it was written or copied; write it again."
        ) from error


def read_batches(
    file: pq.ParquetFile,
    source: Source,
    places: Sequence[int],
    extent: Extent = WHOLE,
    batch_rows: int = BATCH_ROWS,
) -> Iterator[pa.RecordBatch]:
    """Yield the chosen top-level columns, in the file's order, dictionaries decoded."""
    names = [file.schema_arrow.names[place] for place in sorted(places)]
    end = file.num_row_groups if extent.end is None else extent.end
    groups = list(range(extent.start, end))
    try:
        for batch in file.iter_batches(batch_rows, groups, names, use_threads=False):
            yield pa.record_batch([plain(column) for column in batch.columns], names=names)
    except (pa.ArrowException, OSError) as error:
        raise SourceError(
            f"{source.name} is damaged: its footer can be read, its rows cannot: "
            f"{_first_line(error)} Write it again."
        ) from error


def _raw_batch(batch: pa.RecordBatch, header: Header, rows: Any, bytes_read: int) -> RawBatch:
    order = sorted(header.positions, key=lambda name: header.positions[name])
    columns = dict(zip(order, batch.columns, strict=True))

    def text_of(chosen: Sequence[int]) -> list[str]:
        found = batch.take(pa.array(chosen, pa.int64())).to_pylist()
        return [json.dumps(row, default=_as_json, ensure_ascii=False) for row in found]

    return RawBatch(columns, rows, False, bytes_read, text_of)


def plain(column: pa.Array) -> pa.Array:
    """Return a column without its dictionary; text as bytes, since it need not be UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _class_of(column.type) == "lists of text":
        return joined(column).cast(pa.binary())
    if pa.types.is_string(column.type):
        return column.cast(pa.binary())
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.large_binary())
    return column


def _as_json(value: object) -> str:
    return printable(value) if isinstance(value, bytes) else str(value)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_type(field: Field, kind: pa.DataType, name: str) -> None:
    """Refuse a column whose type no row could be used of."""
    taken = _TAKEN.get(field.column, _TAKEN_BY_TYPE[field.type])
    if not pa.types.is_null(kind) and _class_of(kind) not in taken:
        raise SourceError(
            f"{name}: column {field.name} is of type {kind}, but must hold {' or '.join(taken)}. "
            f"Convert the column."
        )


def _class_of(kind: pa.DataType) -> str:
    for words, is_such in _CLASSES.items():
        if is_such(kind):
            return words
    return "others"


def _is_list_of_text(kind: pa.DataType) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list and _CLASSES["text"](_value_type(kind.value_type))


_CLASSES: dict[str, Callable[[pa.DataType], bool]] = {
    "text": lambda kind: (
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
    ),
    "integers": pa.types.is_integer,
    "floats": pa.types.is_floating,
    "decimals": pa.types.is_decimal,
    "booleans": pa.types.is_boolean,
    "timestamps": pa.types.is_timestamp,
    "dates": pa.types.is_date,
    "lists of text": _is_list_of_text,
}


def joined(column: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return lists of texts as texts, with `|` between the values; null values are left out."""
    flat = pc.list_flatten(column)
    if not flat.null_count and pa.types.is_string(flat.type):
        return pc.binary_join(column, "|")
    texts = [
        None if row is None else "|".join(str(value) for value in row if value is not None)
        for row in column.to_pylist()
    ]
    return pa.array(texts, pa.string())


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{lines[0].rstrip('.')}." if lines else type(error).__name__ + "."
