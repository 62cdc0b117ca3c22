"""Reads Parquet files of interactions, row group by row group."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raysys.errors import SourceError
from raysys.logs.header import (
    EVENT_ID,
    EVENT_TYPE,
    EVENT_VALUE,
    ITEM_ID,
    TIMESTAMP,
    USER_ID,
    Header,
    find_columns,
)
from raysys.logs.raw import RawBatch, printable
from raysys.logs.source import WHOLE, Extent, Source

BATCH_ROWS = 128 << 10

_TEXT = "text, integers"
_TAKEN = {
    USER_ID: _TEXT,
    ITEM_ID: _TEXT,
    EVENT_ID: _TEXT,
    EVENT_TYPE: "text",
    TIMESTAMP: "numbers of seconds since 1970 (or Arrow timestamps or dates)",
    EVENT_VALUE: "numbers",
}


def inspect_parquet(source: Source) -> list[str]:
    """Check a file's footer and columns; return what they give notice of. May raise SourceError."""
    with open_parquet(source) as file:
        return check_columns(file.schema_arrow, source.name)


def check_columns(schema: pa.Schema, name: str) -> list[str]:
    """Check names and types of the columns of interactions; return what they give notice of.

    Raises:
        SourceError: a column is missing, or of a type that no row could be used of.
    """
    header = find_columns(schema.names, name)
    notices = header.notices(name)
    for column, place in header.positions.items():
        kind = _value_type(schema.field(place).type)
        _check_type(column, kind, name)
        if column in (USER_ID, ITEM_ID) and pa.types.is_integer(kind):
            notices.append(f"{name}: {column.upper()} holds integers; they were written as text.")
        if pa.types.is_timestamp(kind) and kind.tz is None:
            notices.append(f"{name}: {column.upper()} has no time zone and was taken as UTC.")
        if pa.types.is_date(kind):
            notices.append(
                f"{name}: {column.upper()} holds dates; each was taken as its midnight, UTC."
            )
    return notices


def read_parquet(
    source: Source, *, extent: Extent = WHOLE, batch_rows: int = BATCH_ROWS
) -> Iterator[RawBatch]:
    """Yield a file's rows; types are the file's own. SourceError where the file is damaged."""
    inspect_parquet(source)
    with open_parquet(source) as file:
        header = find_columns(file.schema_arrow.names, source.name)
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
            yield pa.record_batch([_plain(column) for column in batch.columns], names=names)
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


def _plain(column: pa.Array) -> pa.Array:
    """Return a column without its dictionary; text as bytes, since it need not be UTF-8."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_string(column.type):
        return column.cast(pa.binary())
    if pa.types.is_large_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.large_binary())
    return column


def _as_json(value: object) -> str:
    return printable(value) if isinstance(value, bytes) else str(value)


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_type(column: str, kind: pa.DataType, name: str) -> None:
    """Refuse a column whose type no row could be used of. Floats as ids are refused row by row."""
    types = pa.types
    is_text = (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
        or types.is_null(kind)
    )
    is_number = types.is_integer(kind) or types.is_floating(kind)
    is_taken = is_text or (is_number and column != EVENT_TYPE)
    if column in (TIMESTAMP, EVENT_VALUE):
        is_taken = is_taken or types.is_decimal(kind)
    if column == TIMESTAMP:
        is_taken = is_taken or types.is_timestamp(kind) or types.is_date(kind)
    if not is_taken:
        raise SourceError(
            f"{name}: column {column.upper()} is of type {kind}, but must hold {_TAKEN[column]}. "
            f"Convert the column."
        )


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{lines[0].rstrip('.')}." if lines else type(error).__name__ + "."
