"""Reads delimited text: CSV, and RecBole's tab-separated atomic files.

pyarrow takes whole records apart, everything as bytes; what it cannot take apart becomes a
refused row. Records are cut by `raysys.logs.records`, so that each piece can be parsed alone and
every row keeps its number.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from raysys.errors import SourceError
from raysys.logs.formats import TextFormat
from raysys.logs.header import Header, find_columns
from raysys.logs.raw import RawBatch, printable
from raysys.logs.records import (
    CHUNK_BYTES,
    Broken,
    Records,
    cut_records,
    find_first,
)
from raysys.logs.row_parser import RowParser
from raysys.logs.source import Source

_HEADER_BYTES = 64 << 10


def inspect_text(source: Source, text_format: TextFormat) -> list[str]:
    """Check the header line and return its notices. SourceError: unreadable, or columns missing."""
    with source.open_unpacked() as (file, _):
        written, _, _ = _read_header(file, source.name, text_format, _HEADER_BYTES)
    return _find_interactions(written, source.name, text_format).notices(source.name)


def read_header(source: Source, text_format: TextFormat) -> list[str]:
    """Return the column names as they are written. SourceError: there is no header line."""
    with source.open_unpacked() as (file, _):
        return _read_header(file, source.name, text_format, _HEADER_BYTES)[0]


def read_text(
    source: Source,
    text_format: TextFormat,
    *,
    header: Header | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[RawBatch]:
    """Yield a file's rows; the columns are those of interactions unless a `header` is given."""
    with source.open_unpacked() as (file, position):
        written, pieces, first = _read_header(file, source.name, text_format, chunk_bytes)
        header = header or _find_interactions(written, source.name, text_format)
        parser = RowParser(written, header, text_format.dialect)
        next_row = 1
        for piece in _chain(first, pieces):
            batch = parser.parse(piece, next_row, position())
            next_row += len(batch)
            if len(batch):
                yield batch


def _find_interactions(written: Sequence[str], name: str, text_format: TextFormat) -> Header:
    names = [text_format.column_name(column) for column in written]
    return find_columns(names, name, aliases=text_format.aliases)


def _chain(first: Records, following: Iterator[Records | Broken]) -> Iterator[Records | Broken]:
    yield first
    yield from following


def _read_header(
    file: BinaryIO, name: str, text_format: TextFormat, chunk_bytes: int
) -> tuple[list[str], Iterator[Records | Broken], Records]:
    """Return the column names, the pieces still to be cut, and the records behind the header."""
    pieces = cut_records(file, text_format.dialect, chunk_bytes=chunk_bytes)
    first = next(pieces, None)
    start, end = (0, 0) if first is None else find_first(first.data, text_format.dialect)
    if isinstance(first, Broken) or (first and first.data[:2] in (b"\xff\xfe", b"\xfe\xff")):
        raise SourceError(
            f"{name} has no header line that can be read. It must be a text file in UTF-8 whose "
            f"first line names the columns; save it as UTF-8 if it is in another encoding."
        )
    if first is None or not end:
        raise SourceError(f"{name} holds no header line, only empty lines. Write it again.")
    line = first.data[start:end]
    reader = csv.reader(
        io.StringIO(printable(line), newline=""),
        delimiter=text_format.dialect.delimiter,
        quoting=csv.QUOTE_MINIMAL if text_format.dialect.is_quoted else csv.QUOTE_NONE,
    )
    return next(reader), pieces, Records(first.data[end:])
