"""The first half of an import: sources -> sorted runs, one task for each piece of a file."""

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysys.logs.assembly import Assembly
from raysys.logs.call import Call, RunCalls
from raysys.logs.joining import join
from raysys.logs.layout import Layout
from raysys.logs.pieces import Division, divide, is_divisible
from raysys.logs.progress import ImportProgress
from raysys.logs.source import WHOLE, Extent, Source
from raysys.logs.tasks import (
    CatalogueReport,
    Progress,
    SourceReport,
    import_catalogue,
    import_source,
)

Numbered = Sequence[tuple[int, Source]]


def read_sources(
    sources: Sequence[Source],
    catalogues: Sequence[tuple[Source, Layout]],
    assembly: Assembly,
    progress: ImportProgress,
    run: RunCalls,
) -> None:
    """Read, check and spread every file; the assembly gets one report a file."""
    numbered = list(enumerate(sources, start=assembly.into.first_source))
    reading = _calls(numbered, _divisions(numbered, run), assembly)
    if len(reading) > len(sources):
        progress.expect(len(reading))
    tables = [_ReadCatalogue(table, layout, assembly.work) for table, layout in catalogues]
    pieces: dict[int, list[SourceReport]] = {number: [] for number, _ in numbered}
    for report in run([*reading, *tables]):
        progress.follow(report)
        if isinstance(report, SourceReport):
            pieces[report.source_file].append(report)
        else:
            assembly.add(report)
    for report in _joined([_Join(reports, assembly.work) for reports in pieces.values()], run):
        assembly.add(report)


def _divisions(numbered: Numbered, run: RunCalls) -> dict[int, Division]:
    calls = [_Divide(source, number) for number, source in numbered if is_divisible(source)]
    return {division.source_file: division for division in run(calls)}


def _calls(numbered: Numbered, divisions: Mapping[int, Division], assembly: Assembly) -> list[Call]:
    whole = Division(-1, None, (WHOLE,))
    return [
        _ReadPiece(
            source,
            assembly.layout,
            number,
            assembly.num_shards,
            assembly.work,
            assembly.into.tombstones,
            extent,
            division.sha256,
        )
        for number, source in numbered
        for division in [divisions.get(number, whole)]
        for extent in division.extents
    ]


def _joined(calls: Sequence["_Join"], run: RunCalls) -> Iterator[SourceReport]:
    """Join the reports of each source: as a task where files are to be written, else here."""
    writing = [call for call in calls if call.is_writing]
    for call in calls:
        if not call.is_writing:
            yield from call.run()
    yield from run(writing)


@dataclass(frozen=True, slots=True)
class _Divide:
    source: Source
    source_file: int

    def run(self) -> Iterator[Division]:
        yield divide(self.source, self.source_file)


@dataclass(frozen=True, slots=True)
class _ReadPiece:
    source: Source
    layout: Layout
    source_file: int
    num_shards: int
    work: Path
    tombstones: Path | None
    extent: Extent
    sha256: str | None

    def run(self) -> Iterator[Progress | SourceReport]:
        return import_source(
            self.source,
            self.layout,
            self.source_file,
            self.num_shards,
            self.work,
            self.tombstones,
            extent=self.extent,
            sha256=self.sha256,
        )


@dataclass(frozen=True, slots=True)
class _Join:
    reports: list[SourceReport]
    work: Path

    @property
    def is_writing(self) -> bool:
        return len(self.reports) > 1 and any(report.quarantine for report in self.reports)

    def run(self) -> Iterator[SourceReport]:
        yield join(self.reports, self.work / f"quarantine-{uuid.uuid4().hex}")


@dataclass(frozen=True, slots=True)
class _ReadCatalogue:
    source: Source
    layout: Layout
    work: Path

    def run(self) -> Iterator[CatalogueReport]:
        yield import_catalogue(self.source, self.layout, self.work)
