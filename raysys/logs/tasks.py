"""What one task of an import does. No Ray here: a task is a function from paths to reports.

Every task writes under names that no other task, and no second try of itself, will use; the files
that count are those named in the report that arrives.
"""

import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from raysys.logs.catalogue import id_column_of, read_catalogue
from raysys.logs.catalogue_merge import FinishedTable
from raysys.logs.layout import Layout
from raysys.logs.manifest import SourceFile
from raysys.logs.parts import PartWriter, Runs
from raysys.logs.quarantine import (
    Filtered,
    QuarantineWriter,
    QuotedRow,
    filter_quarantine,
    repeats_of,
)
from raysys.logs.readers import inspect_source, read_source
from raysys.logs.schema import Schema
from raysys.logs.source import WHOLE, Extent, Source
from raysys.logs.tombstones import Tombstones
from raysys.logs.validate import check


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the reading of one source, or of one of its pieces, is."""

    source_file: int
    rows: int
    bytes_read: int
    piece: int = 0
    """Where the piece begins in the source."""


@dataclass(slots=True)
class SourceReport:
    """What became of one source, or of one piece of it. Paths are below `work`."""

    source_file: int
    source: SourceFile
    """Of a piece, `rows` are those of the piece."""
    piece: int = 0
    """Where the piece begins in the source."""
    num_surrounded: int = 0
    """Accepted ids that begin or end with white space."""
    rows_accepted: int = 0
    rows_suppressed: int = 0
    rows_repeated: int = 0
    """Rows that an earlier reading of this source had put into quarantine already."""
    quarantined: Counter[str] = field(default_factory=Counter)
    quarantine: str | None = None
    first_quarantined: list[QuotedRow] = field(default_factory=list)
    runs: Runs = field(default_factory=dict)
    event_runs: Runs = field(default_factory=dict)
    notices: list[str] = field(default_factory=list)

    def leave_out(self, filtered: Filtered) -> None:
        """Count rows of the quarantine as repeated."""
        self.quarantine = filtered.path
        self.quarantined -= filtered.left_out
        self.rows_repeated = filtered.left_out.total()


@dataclass(frozen=True, slots=True)
class QuarantineReport:
    """What is left of a source's quarantine, without what had been there before."""

    source_file: int
    filtered: Filtered


@dataclass(slots=True)
class CatalogueReport:
    """Where a table of items or users was written."""

    id_column: str
    path: str | None
    """None where it says nothing that the dataset does not have."""
    schema: Schema
    is_declared: bool
    notices: list[str]

    def finish(self, finished: FinishedTable) -> None:
        """Take what is left of the table."""
        self.path = finished.path
        if finished.num_forgotten:
            self.notices.append(
                f"{finished.num_forgotten:,} rows of the table of users were left out, since these "
                f"users were forgotten."
            )


def import_source(
    source: Source,
    layout: Layout,
    source_file: int,
    num_shards: int,
    work: Path,
    tombstones: Path | None = None,
    *,
    extent: Extent = WHOLE,
    sha256: str | None = None,
) -> Iterator[Progress | SourceReport]:
    """Read, check and spread one source, or a piece of it; the report comes last.

    It is to be given to `joining.join`, alone or with those of the source's other pieces.

    Args:
        tombstones: the file that says whose rows are suppressed, and from when; None: nobody's.
        extent: the piece. Its rows count from 1.
        sha256: of the whole source, if it is known.

    Raises:
        SourceError: the source cannot be read to its end, or is not what it was when the import
            began.
    """
    _, notices = inspect_source(source, layout)
    folder = work / f"source-{source_file:05d}-{uuid.uuid4().hex}"
    sha256 = sha256 or source.sha256()
    read = SourceFile(name=source.name, num_bytes=source.num_bytes, sha256=sha256, rows=0)
    report = SourceReport(source_file, read, extent.start, notices=notices)
    rows = 0
    forgotten = None if tombstones is None else Tombstones.open(tombstones)
    with (
        PartWriter(folder, num_shards) as parts,
        QuarantineWriter(folder / "quarantine.parquet") as quarantine,
    ):
        for batch in read_source(source, layout, extent):
            checked = check(batch, source.name, source_file, layout.schema)
            accepted, refused = checked.accepted, checked.quarantine
            if forgotten is not None:
                accepted, refused = forgotten.leave_out(accepted, refused)
            rows += len(batch)
            report.num_surrounded += checked.num_surrounded
            report.rows_accepted += accepted.num_rows
            report.rows_suppressed += checked.num_rows - accepted.num_rows - refused.num_rows
            parts.write(accepted)
            quarantine.write(refused)
            yield Progress(source_file, rows, batch.bytes_read, extent.start)
    source.check_unchanged()
    report.source = read.model_copy(update={"rows": rows})
    report.runs, report.event_runs = parts.interactions, parts.event_ids
    report.quarantined, report.quarantine = quarantine.by_reason, quarantine.path
    report.first_quarantined = quarantine.first
    yield report


def import_catalogue(source: Source, layout: Layout, work: Path) -> CatalogueReport:
    """Read and write a table of items or users. SourceError: it cannot be read."""
    catalogue = read_catalogue(source, layout)
    id_column = id_column_of(layout.kind)
    path = f"{work / id_column}-{uuid.uuid4().hex}"
    pq.write_table(catalogue.table, path, compression="zstd")
    return CatalogueReport(id_column, path, catalogue.schema, layout.is_declared, catalogue.notices)


def compare_quarantine(
    source_file: int, path: Path, earlier: list[Path], work: Path
) -> QuarantineReport:
    """Leave out of a source's quarantine what these files of earlier readings of it have too."""
    target = work / f"quarantine-{uuid.uuid4().hex}"
    return QuarantineReport(source_file, filter_quarantine(path, target, repeats_of(earlier)))
