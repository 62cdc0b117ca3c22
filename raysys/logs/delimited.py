"""Reads text whose records follow each other: CSV, RecBole's atomic files, `u.data`, JSON lines.

Records are cut by `raysys.logs.records`, so that each piece can be parsed alone and every row keeps
its number. A parser takes a piece apart, everything as bytes; what it cannot take apart becomes a
refused row.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from raysys.errors import SourceError
from raysys.logs.formats import JsonFormat, LineFormat
from raysys.logs.header import Header
from raysys.logs.json_lines import JsonParser, find_keys
from raysys.logs.layout import Layout
from raysys.logs.raw import RawBatch, printable
from raysys.logs.records import (
    CHUNK_BYTES,
    Broken,
    Readable,
    Records,
    cut_records,
    find_first,
)
from raysys.logs.row_parser import RowParser
from raysys.logs.source import WHOLE, Extent, Source

_HEADER_BYTES = 64 << 10


def inspect_text(
    source: Source, line_format: LineFormat, layout: Layout
) -> tuple[Header, list[str]]:
    """Check the header line and return it with its notices.

    Raises:
        SourceError: the file cannot be read, or columns are missing.
    """
    header = _find(read_header(source, line_format), source, line_format, layout)
    return header, header.notices(source.name)


def read_header(source: Source, line_format: LineFormat) -> list[str]:
    """Return the column names as they are written. SourceError: there is no header line."""
    with source.open_unpacked() as (file, _):
        return _read_header(file, source.name, line_format, _HEADER_BYTES)[0]


def read_text(
    source: Source,
    line_format: LineFormat,
    layout: Layout,
    *,
    extent: Extent = WHOLE,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[RawBatch]:
    """Yield a file's rows, with the columns that a layout looks for."""
    with source.open_unpacked() as (file, position):
        until_end = _UpTo(file, extent.end)
        first_bytes = _HEADER_BYTES if extent.start else chunk_bytes
        written, pieces, first = _read_header(until_end, source.name, line_format, first_bytes)
        if extent.start:
            file.seek(extent.start)
            pieces = cut_records(until_end, line_format.dialect, is_start=False)
            first = Records(b"")
        header = _find(written, source, line_format, layout)
        parser = _parser(line_format, written, header)
        next_row = 1
        for piece in _chain(first, pieces):
            batch = parser.parse(piece, next_row, position() - extent.start)
            next_row += len(batch)
            if len(batch):
                yield batch


class _UpTo:
    """A file that seems to end where an extent ends."""

    def __init__(self, file: BinaryIO, end: int | None) -> None:
        self._file = file
        self._end = end

    def read(self, num_bytes: int, /) -> bytes:
        if self._end is not None:
            num_bytes = min(num_bytes, self._end - self._file.tell())
        return self._file.read(num_bytes)


def _parser(
    line_format: LineFormat, written: Sequence[str], header: Header
) -> RowParser | JsonParser:
    if isinstance(line_format, JsonFormat):
        return JsonParser(header)
    return RowParser(written, header, line_format.dialect)


def _find(
    written: Sequence[str], source: Source, line_format: LineFormat, layout: Layout
) -> Header:
    names = [line_format.column_name(column) for column in written]
    return layout.find(
        names,
        source.name,
        aliases=line_format.aliases,
        is_open=isinstance(line_format, JsonFormat),
    )


def _chain(first: Records, following: Iterator[Records | Broken]) -> Iterator[Records | Broken]:
    if first.data:
        yield first
    yield from following


def _read_header(
    file: Readable, name: str, line_format: LineFormat, chunk_bytes: int
) -> tuple[list[str], Iterator[Records | Broken], Records]:
    """Return the column names, the pieces still to be cut, and the records behind the header."""
    pieces = cut_records(file, line_format.dialect, chunk_bytes=chunk_bytes)
    first = next(pieces, None)
    if first and first.data[:2] == b"\x1f\x8b":
        raise SourceError(f"{name} is a gzip file: unpack it, or let its name end with .gz.")
    if first and first.data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise SourceError(f"{name} is a text in UTF-16. Save it as UTF-8.")
    if isinstance(first, Broken):
        raise SourceError(
            f"{name} has no header line that can be read. It must be a text file in UTF-8 whose "
            f"first line names the columns."
        )
    if first is None:
        raise SourceError(f"{name} holds no header line, only empty lines. Write it again.")
    if isinstance(line_format, JsonFormat):
        return find_keys(first.data, name, _HEADER_BYTES), pieces, first
    if line_format.names:
        return list(line_format.names), pieces, first
    start, end = find_first(first.data, line_format.dialect)
    if not end:
        raise SourceError(f"{name} holds no header line, only empty lines. Write it again.")
    line = first.data[start:end]
    reader = csv.reader(
        io.StringIO(printable(line), newline=""),
        delimiter=line_format.dialect.delimiter,
        quoting=csv.QUOTE_MINIMAL if line_format.dialect.is_quoted else csv.QUOTE_NONE,
    )
    return next(reader), pieces, Records(first.data[end:])
