"""Files of interactions -> a dataset directory, on Ray Data, streaming.

    sources --(one task a file: read, check, spread by user, sort)--> runs
    runs    --(one task a shard: merge, drop duplicates)--> Parquet
    shards  --(see `raysys.logs.numbering`)--> vocabularies of items and users, then the manifest

A user's rows meet in one shard because every task spreads its rows by the same hash; nothing is
shuffled across the cluster. What travels through Ray are small reports; rows go through storage,
which all nodes must share. Memory: a reading task holds one run, a shard task a batch of each of
its shard's runs, however long a shard, or one user's history, is.

All or nothing: whatever fails or is killed leaves `destination` as it was.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from raysys import storage
from raysys.config import DEFAULT_DATASET_GROUP, check_dataset_group_name
from raysys.errors import ConfigError, DatasetError
from raysys.logs.assembly import Assembly, ShardIds, ids_of
from raysys.logs.call import Call, RunCalls
from raysys.logs.calls import run_calls
from raysys.logs.catalogue import inspect_catalogue, read_items, read_users
from raysys.logs.header import ITEM_ID, USER_ID
from raysys.logs.manifest import DatasetManifest
from raysys.logs.metrics import count_rows
from raysys.logs.numbering import write_vocabularies
from raysys.logs.progress import ImportProgress, OnProgress
from raysys.logs.publish import check_destination, publish_import
from raysys.logs.readers import inspect_source
from raysys.logs.runs import Run
from raysys.logs.shards import ShardReport, find_repeated_events, write_shard
from raysys.logs.source import Source
from raysys.logs.sources import Given, find_sources, find_table
from raysys.logs.tasks import (
    CatalogueReport,
    Progress,
    SourceReport,
    import_catalogue,
    import_source,
)

MAX_SHARDS = 4096


def import_log(
    interactions: Sequence[Given],
    destination: Path,
    *,
    items: Given | None = None,
    users: Given | None = None,
    num_shards: int = 8,
    dataset_group: str = DEFAULT_DATASET_GROUP,
    on_progress: OnProgress | None = None,
    run: RunCalls = run_calls,
) -> DatasetManifest:
    """Import logs into a dataset directory, on the Ray that runs (or on a new local one).

    An existing dataset at `destination` is replaced, and stays readable until it is.

    Args:
        interactions: files, directories and globs, see `find_sources`; their order is log order.
        destination: the dataset directory; what is beside it must be on the same file system.
        items: a table of items; users: a table of users. See `raysys.logs.catalogue`.
        num_shards: the number of files that users are spread over, at most `MAX_SHARDS`.
        dataset_group: what the dataset belongs to. An existing dataset of another one stays.
        run: what runs the tasks; `calls.run_here` needs no Ray.

    Returns:
        The manifest, in which rows_in = rows_accepted + rows_quarantined + rows_duplicate.

    Raises:
        ConfigError: `num_shards` is out of bounds, or `dataset_group` is no name for one.
        DatasetError: `destination` holds something that is not a dataset of this group, or cannot
            be written.
        SourceError: a file is missing, unreadable or lacks a column.
        NothingUsableError: no row of all the files could be used.
    """
    if not 1 <= num_shards <= MAX_SHARDS:
        raise ConfigError(f"num_shards must be between 1 and {MAX_SHARDS}, but got {num_shards}.")
    check_dataset_group_name(dataset_group)
    sources = find_sources(interactions)
    for source in sources:
        inspect_source(source)
    given = {ITEM_ID: items, USER_ID: users}
    catalogues = {column: find_table(one) for column, one in given.items() if one is not None}
    for column, table in catalogues.items():
        inspect_catalogue(table, column)
    destination = destination.absolute()
    check_destination(destination, dataset_group)
    try:
        staging = storage.staging_directory(destination)
    except OSError as error:
        raise DatasetError(f"Nothing can be written beside {destination}: {error}") from error
    try:
        assembly = Assembly(staging, num_shards, dataset_group)
        progress = ImportProgress(sources, on_progress)
        _read_sources(sources, catalogues, assembly, progress, run)
        assembly.check_usable()
        _write_shards(assembly, progress, run)
        _number_ids(assembly, progress, run)
        manifest = assembly.finish()
        publish_import(staging, destination, manifest)
        count_rows(manifest)
    finally:
        storage.remove_tree(staging)
    return manifest


def _read_sources(
    sources: Sequence[Source],
    catalogues: Mapping[str, Source],
    assembly: Assembly,
    progress: ImportProgress,
    run: RunCalls,
) -> None:
    """Read, check and spread every file, one task each."""
    calls: list[Call] = [
        _ReadSource(source, number, assembly.num_shards, assembly.work)
        for number, source in enumerate(sources)
    ]
    calls += [_ReadCatalogue(table, column, assembly.work) for column, table in catalogues.items()]
    for report in run(calls):
        assembly.add(report)
        progress.follow(report)


def _write_shards(assembly: Assembly, progress: ImportProgress, run: RunCalls) -> None:
    """Find repeated events, if any row has an event id, then write every shard, one task each."""
    if event_runs := assembly.event_runs():
        progress.note("comparing event ids")
        calls = [_FindRepeats(runs, assembly.num_shards, assembly.work) for runs in event_runs]
        assembly.repeated += run(calls)
    shards = [
        _WriteShard(
            shard,
            assembly.runs(shard),
            [repeated[shard] for repeated in assembly.repeated if shard in repeated],
            assembly.work,
        )
        for shard in range(assembly.num_shards)
    ]
    progress.note("sorting")
    num_done = 0
    for report in run(shards):
        assembly.add(report)
        num_done += isinstance(report, ShardReport)
        progress.note(f"sorted shard {num_done} of {assembly.num_shards}")


def _number_ids(assembly: Assembly, progress: ImportProgress, run: RunCalls) -> None:
    """Write the vocabularies of all shards' items and users."""
    progress.note("numbering items and users")
    wanted = assembly.wanted_vocabularies()
    assembly.vocabularies = write_vocabularies(wanted, assembly.work, run=run)


@dataclass(frozen=True, slots=True)
class _ReadSource:
    source: Source
    source_file: int
    num_shards: int
    work: Path

    def run(self) -> Iterator[Progress | SourceReport]:
        return import_source(self.source, self.source_file, self.num_shards, self.work)


@dataclass(frozen=True, slots=True)
class _ReadCatalogue:
    source: Source
    id_column: str
    work: Path

    def run(self) -> Iterator[CatalogueReport]:
        read = read_items if self.id_column == ITEM_ID else read_users
        yield import_catalogue(read(self.source), self.id_column, self.work)


@dataclass(frozen=True, slots=True)
class _FindRepeats:
    runs: list[Run]
    num_shards: int
    work: Path

    def run(self) -> Iterator[dict[int, Run]]:
        yield find_repeated_events(self.runs, self.num_shards, self.work / "repeated")


@dataclass(frozen=True, slots=True)
class _WriteShard:
    shard: int
    runs: list[Run]
    repeated: list[Run]
    work: Path

    def run(self) -> Iterator[ShardReport | ShardIds]:
        target = self.work / f"shard-{self.shard:05d}"
        report = write_shard(self.shard, self.runs, self.repeated, target)
        yield ids_of(report)
        yield report
