"""Whole records of delimited text, taken apart into columns of bytes.

pyarrow does it, told to take nothing for granted: no types, no UTF-8, no equal widths. A record
that has too few or too many columns becomes a refused row.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from raysys.logs.header import Header
from raysys.logs.raw import RawBatch, Refused, printable
from raysys.logs.reasons import Reason
from raysys.logs.records import Broken, Dialect, Records, split_records

NULL_TEXTS = ["", "NULL", "\\N"]
"""What stands for a missing value, unless it is quoted; databases write the last two."""

_NON_ASCII_TO_DOT = bytes(value if value < 128 else ord(".") for value in range(256))


class RowParser:
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
            row = Refused(first_row, piece.reason, piece.reason.sentence, printable(piece.data))
            columns = {name: pa.array([], pa.binary()) for name in self._chosen}
            return RawBatch(columns, np.empty(0, np.int64), True, bytes_read, lambda _: [], [row])
        records = _LazyRecords(piece.data, self._dialect)
        table, widths = self._parse_records(piece.data, records)
        is_whole = np.ones(table.num_rows + len(widths), bool)
        is_whole[list(widths)] = False
        places = np.flatnonzero(is_whole)  # of the table's rows, among the records
        is_header = self._repeats_header(table)
        refused = [
            Refused(first_row + place, reason, detail, records.text(place))
            for place, reason, detail in self._faults(widths, places[is_header].tolist())
        ]
        if is_header.any():
            table, places = table.filter(pa.array(~is_header)), places[~is_header]
        return RawBatch(
            {name: table.column(column).combine_chunks() for name, column in self._chosen.items()},
            first_row + places,
            True,
            bytes_read,
            lambda chosen: [records.text(int(places[place])) for place in chosen],
            refused,
        )

    def _faults(self, widths: dict[int, int], headers: list[int]) -> list[tuple[int, Reason, str]]:
        """Return place, reason and sentence of each record that is no row, in order."""
        faults = [
            (place, Reason.REPEATED_HEADER, Reason.REPEATED_HEADER.sentence) for place in headers
        ]
        for place, width in widths.items():
            detail = f"The row has {width} columns, the header has {len(self._names)}."
            faults.append((place, Reason.WRONG_COLUMN_COUNT, detail))
        return sorted(faults)

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


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
