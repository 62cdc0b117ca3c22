"""What one task of an import does. No Ray here: a task is a function from paths to reports.

Every task writes under names that no other task, and no second try of itself, will use; the files
that count are those named in the report that arrives.
"""

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raysys import tables
from raysys.logs.catalogue import Catalogue
from raysys.logs.manifest import SourceFile
from raysys.logs.parts import PartWriter, Runs
from raysys.logs.readers import inspect_source, read_source
from raysys.logs.source import Source
from raysys.logs.validate import check

_QUOTED_ROWS = 3  # of the quarantine, in an error


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the reading of one source is."""

    source_file: int
    rows: int
    bytes_read: int


@dataclass(slots=True)
class SourceReport:
    """What became of one source. Paths are below `work`."""

    source_file: int
    source: SourceFile
    rows_accepted: int = 0
    quarantined: Counter[str] = field(default_factory=Counter)
    quarantine: str | None = None
    first_quarantined: list[str] = field(default_factory=list)
    runs: Runs = field(default_factory=dict)
    event_runs: Runs = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class CatalogueReport:
    """Where a table of items or users was written."""

    id_column: str
    path: str
    notices: list[str]


def import_source(
    source: Source, source_file: int, num_shards: int, work: Path
) -> Iterator[Progress | SourceReport]:
    """Read, check and spread one source; the report comes last.

    Raises:
        SourceError: the source cannot be read to its end, or is not what it was when the import
            began.
    """
    notices = inspect_source(source)
    folder = work / f"source-{source_file:05d}-{uuid.uuid4().hex}"
    read = SourceFile(name=source.name, num_bytes=source.num_bytes, sha256=source.sha256(), rows=0)
    report = SourceReport(source_file, read, notices=notices)
    rows = num_surrounded = 0
    with PartWriter(folder, num_shards) as parts, _QuarantineWriter(folder) as quarantine:
        for batch in read_source(source):
            checked = check(batch, source.name, source_file)
            rows += len(batch)
            num_surrounded += checked.num_surrounded
            report.rows_accepted += checked.accepted.num_rows
            parts.write(checked.accepted)
            quarantine.write(checked.quarantine)
            yield Progress(source_file, rows, batch.bytes_read)
    source.check_unchanged()
    report.source = read.model_copy(update={"rows": rows})
    report.runs, report.event_runs = parts.interactions, parts.event_ids
    report.quarantined, report.quarantine = quarantine.by_reason, quarantine.path
    report.first_quarantined = quarantine.first
    if rows == 0:
        report.notices.append(f"{source.name} has a header and no rows.")
    if num_surrounded:
        report.notices.append(
            f"{source.name}: {num_surrounded:,} ids begin or end with white space; it was kept as "
            f"a part of them."
        )
    yield report


def import_catalogue(catalogue: Catalogue, id_column: str, work: Path) -> CatalogueReport:
    """Write a table of items or users."""
    path = f"{work / id_column}-{uuid.uuid4().hex}"
    pq.write_table(catalogue.table, path, compression="zstd")
    return CatalogueReport(id_column, path, catalogue.notices)


class _QuarantineWriter:
    """Writes quarantine rows into one Parquet file, which exists only if there are any."""

    def __init__(self, folder: Path) -> None:
        self.by_reason: Counter[str] = Counter()
        self.first: list[str] = []
        self.path: str | None = None
        self._target = folder / "quarantine.parquet"
        self._writer: pq.ParquetWriter | None = None

    def __enter__(self) -> "_QuarantineWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._writer is not None:
            self._writer.close()

    def write(self, rows: pa.Table) -> None:
        if not rows.num_rows:
            return
        if self._writer is None:
            self.path = str(self._target)
            self._writer = pq.ParquetWriter(self.path, tables.QUARANTINE, compression="zstd")
        self._writer.write_table(rows)
        self.by_reason.update(rows.column("reason").to_pylist())
        for row in rows.slice(0, _QUOTED_ROWS - len(self.first)).to_pylist():
            place = f"{row['source']}, row {row['source_row']} ({row['reason']})"
            self.first.append(f"{place}: {row['row'][:200]!r}. {row['detail']}")
