"""Reads delimited text: CSV, and RecBole's tab-separated atomic files.

pyarrow takes whole records apart, everything as bytes; what it cannot take apart becomes a
refused row. Records are cut by `raysys.logs.records`, so that each piece can be parsed alone and
every row keeps its number.
"""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from raysys.errors import SourceError
from raysys.logs.header import RECBOLE_ALIASES, Header, find_columns
from raysys.logs.raw import RawBatch, Refused, printable
from raysys.logs.reasons import Reason
from raysys.logs.records import (
    CHUNK_BYTES,
    Broken,
    Dialect,
    Records,
    cut_records,
    find_first,
    split_records,
)

NULL_TEXTS = ["", "NULL", "\\N"]
"""What stands for a missing value, unless it is quoted; databases write the last two."""

_HEADER_BYTES = 64 << 10
_NON_ASCII_TO_DOT = bytes(value if value < 128 else ord(".") for value in range(256))


@dataclass(frozen=True, slots=True)
class TextFormat:
    """A delimited format: how columns are separated, and what their names mean."""

    dialect: Dialect
    aliases: Mapping[str, str] = field(default_factory=dict)
    has_typed_names: bool = False  # RecBole writes user_id:token

    def column_name(self, written: str) -> str:
        """Return a column's name without its type."""
        return written.partition(":")[0] if self.has_typed_names else written


CSV = TextFormat(Dialect(",", is_quoted=True))
RECBOLE = TextFormat(Dialect("\t", is_quoted=False), RECBOLE_ALIASES, has_typed_names=True)

FindColumns = Callable[[Sequence[str], str], Header]


def inspect_text(path: Path, name: str, text_format: TextFormat) -> list[str]:
    """Check the header line and return its notices. SourceError: unreadable, or columns missing."""
    with _opened(path, name) as (file, _):
        written, _, _ = _read_header(file, name, text_format, _HEADER_BYTES)
    return _find_interactions(written, name, text_format).notices(name)


def read_header(path: Path, name: str, text_format: TextFormat) -> list[str]:
    """Return the column names as they are written. SourceError: there is no header line."""
    with _opened(path, name) as (file, _):
        return _read_header(file, name, text_format, _HEADER_BYTES)[0]


def read_text(
    path: Path,
    name: str,
    text_format: TextFormat,
    *,
    header: Header | None = None,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[RawBatch]:
    """Yield a file's rows; the columns are those of interactions unless a `header` is given."""
    with _opened(path, name) as (file, position):
        written, pieces, first = _read_header(file, name, text_format, chunk_bytes)
        header = header or _find_interactions(written, name, text_format)
        parser = _Parser(written, header, text_format.dialect)
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


@contextmanager
def _opened(path: Path, name: str) -> Generator[tuple[BinaryIO, Callable[[], int]], None, None]:
    """Open a file, unpacking `.gz`; the second value tells how many of its bytes were read."""
    try:
        with path.open("rb") as file:
            if path.name.lower().endswith(".gz"):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield cast(BinaryIO, unpacked), file.tell
            else:
                yield file, file.tell
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{name} cannot be read to its end: {error}") from error


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


class _Parser:
    """Takes records apart by one header."""

    def __init__(self, written: Sequence[str], header: Header, dialect: Dialect) -> None:
        self._dialect = dialect
        self._names = [f"column_{place}" for place in range(len(written))]
        self._chosen = {name: self._names[place] for name, place in header.positions.items()}
        self._header_row = {name: written[place] for name, place in header.positions.items()}
        self._convert = pyarrow.csv.ConvertOptions(
            check_utf8=False,
            column_types={name: pa.binary() for name in self._names},
            null_values=NULL_TEXTS,
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            include_columns=list(self._chosen.values()),
        )

    def parse(self, piece: Records | Broken, first_row: int, bytes_read: int) -> RawBatch:
        """Return a piece as a batch; its first record is row number `first_row`."""
        if isinstance(piece, Broken):
            refused = [
                Refused(first_row, piece.reason, piece.reason.sentence, printable(piece.data))
            ]
            columns = {name: pa.array([], pa.binary()) for name in self._chosen}
            return RawBatch(columns, np.empty(0, np.int64), True, bytes_read, lambda _: [], refused)
        records = _LazyRecords(piece.data, self._dialect)
        table, widths = self._parse_records(piece.data, records)
        numbers = np.arange(table.num_rows + len(widths), dtype=np.int64)
        is_good = np.ones(len(numbers), bool)
        is_good[list(widths)] = False
        places = numbers[is_good]
        is_header = self._repeats_header(table)
        if is_header.any():
            table = table.filter(pa.array(~is_header))
        refused = [
            Refused(
                first_row + place,
                Reason.WRONG_COLUMN_COUNT,
                f"The row has {width} columns, the header has {len(self._names)}.",
                records.text(place),
            )
            for place, width in widths.items()
        ]
        refused += [
            Refused(
                first_row + place,
                Reason.REPEATED_HEADER,
                Reason.REPEATED_HEADER.sentence,
                records.text(place),
            )
            for place in places[is_header].tolist()
        ]
        places = places[~is_header]
        columns = {name: _one_array(table.column(column)) for name, column in self._chosen.items()}
        return RawBatch(
            columns,
            first_row + places,
            True,
            bytes_read,
            lambda chosen: [records.text(int(places[place])) for place in chosen],
            sorted(refused, key=lambda row: row.row),
        )

    def _parse_records(
        self, data: bytes, records: "_LazyRecords"
    ) -> tuple[pa.Table, dict[int, int]]:
        """Return the rows with the right number of columns, and for the others place -> width."""
        if data.isascii() or _is_utf8(data):
            return self._parse_bytes(data)
        # pyarrow fails when it reports a wrong row that is not UTF-8. So such rows are found in a
        # copy in which every byte is ASCII, and left out.
        _, widths = self._parse_bytes(data.translate(_NON_ASCII_TO_DOT))
        if widths:
            kept = [record for place, record in enumerate(records.all()) if place not in widths]
            data = b"\n".join(kept) + b"\n"
        return self._parse_bytes(data)[0], widths

    def _parse_bytes(self, data: bytes) -> tuple[pa.Table, dict[int, int]]:
        widths: dict[int, int] = {}

        def refuse(row: pyarrow.csv.InvalidRow) -> str:
            widths[row.number - 1] = row.actual_columns
            return "skip"

        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False,  # row numbers are given only without
                block_size=len(data) + 1,  # one block: no record can cross its border
                column_names=self._names,
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=self._dialect.delimiter,
                quote_char='"' if self._dialect.is_quoted else False,
                newlines_in_values=self._dialect.is_quoted,
                invalid_row_handler=refuse,
            ),
            convert_options=self._convert,
        )
        return table, widths

    def _repeats_header(self, table: pa.Table) -> NDArray[np.bool_]:
        is_header = pa.chunked_array([pa.array(np.ones(table.num_rows, bool))])
        for name, column in self._chosen.items():
            same = pc.equal(table.column(column), self._header_row[name].encode())
            is_header = pc.and_(is_header, pc.fill_null(same, False))
        mask: NDArray[np.bool_] = is_header.to_numpy()
        return mask


class _LazyRecords:
    """The records of a piece as they stand; they are split only if one of them is asked for."""

    def __init__(self, data: bytes, dialect: Dialect) -> None:
        self._data = data
        self._dialect = dialect
        self._records: list[bytes] | None = None

    def all(self) -> list[bytes]:
        if self._records is None:
            self._records = split_records(self._data, self._dialect)
        return self._records

    def text(self, place: int) -> str:
        return printable(self.all()[place])


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks()


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
