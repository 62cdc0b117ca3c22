"""The quarantine: rows of a log that could not be used, one Parquet file for each source."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raysys import tables
from raysys.logs.runs import with_row_offset
from raysys.parquet_file import read_batches

_QUOTED_ROWS = 3  # in an error
_BATCH_ROWS = 16 << 10


@dataclass(frozen=True, slots=True)
class QuotedRow:
    """A row of the quarantine, to be quoted in an error."""

    source: str
    source_row: int
    reason: str
    detail: str
    row: str

    def __str__(self) -> str:
        """Return a line that says where the row stands, how it begins and what is wrong."""
        place = f"{self.source}, row {self.source_row} ({self.reason})"
        return f"{place}: {self.row[:200]!r}. {self.detail}"


class QuarantineWriter:
    """Writes quarantine rows into one Parquet file, which exists only if there are any."""

    def __init__(self, target: Path) -> None:
        self.by_reason: Counter[str] = Counter()
        self.first: list[QuotedRow] = []
        self.path: str | None = None
        self._target = target
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "QuarantineWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Take rows of `tables.QUARANTINE`."""
        if not rows.num_rows:
            return
        if self._writer is None:
            self.path = str(self._target)
            self._writer = pq.ParquetWriter(self.path, tables.QUARANTINE, compression="zstd")
        self._writer.write_table(rows)
        self.by_reason.update(rows.column("reason").to_pylist())
        for row in rows.slice(0, _QUOTED_ROWS - len(self.first)).to_pylist():
            self.first.append(QuotedRow(**{name: row[name] for name in QuotedRow.__slots__}))


@dataclass(frozen=True, slots=True)
class Filtered:
    """A file of the quarantine without some of its rows."""

    path: str | None
    """The file as it was where no row was left out; None where none is left."""
    left_out: Counter[str]
    """By reason."""


def filter_quarantine(
    path: Path, target: Path, is_out: Callable[[pa.Table], NDArray[np.bool_]]
) -> Filtered:
    """Write a file of the quarantine to `target`, without the rows that `is_out` marks."""
    left_out: Counter[str] = Counter()
    with QuarantineWriter(target) as writer:
        for rows in read_batches(path, batch_rows=_BATCH_ROWS):
            mask = is_out(rows)
            left_out.update(rows.column("reason").filter(pa.array(mask)).to_pylist())
            writer.write(rows.filter(pa.array(~mask)))
    return Filtered(writer.path if left_out else str(path), left_out)


def join_quarantines(parts: Sequence[tuple[str, int]], target: Path) -> QuarantineWriter:
    """Write several files of quarantine into one.

    Args:
        parts: files in log order, and how many rows of their source come before the piece of each.
    """
    with QuarantineWriter(target) as writer:
        for path, offset in parts:
            for rows in read_batches(path, batch_rows=_BATCH_ROWS):
                writer.write(with_row_offset(rows, offset))
    return writer


def repeats_of(earlier: Sequence[Path]) -> Callable[[pa.Table], NDArray[np.bool_]]:
    """Return what marks the rows that one of these files has too, at the same place of its source.

    The files are to be those of earlier states of the same source: then what is broken there is
    the same row, read again.
    """

    def is_repeat(rows: pa.Table) -> NDArray[np.bool_]:
        bounds = pc.min_max(rows.column("source_row")).as_py()
        within = [("source_row", ">=", bounds["min"]), ("source_row", "<=", bounds["max"])]
        seen: set[tuple[Any, ...]] = set()
        for path in earlier:
            seen.update(_keys(pq.read_table(path, filters=within, partitioning=None)))
        return np.fromiter((key in seen for key in _keys(rows)), bool, rows.num_rows)

    return is_repeat


def _keys(rows: pa.Table) -> list[tuple[Any, ...]]:
    columns = (rows.column(name).to_pylist() for name in ("source_row", "reason", "row"))
    return list(zip(*columns, strict=True))
