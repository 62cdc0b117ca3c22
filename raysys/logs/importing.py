"""Files of interactions -> a dataset directory, on Ray Data, streaming.

    sources --(one task a piece of a file: read, check, spread by user, sort)--> runs
    runs    --(one task a shard: merge, drop duplicates)--> Parquet
    shards  --(see `raysys.logs.numbering`)--> vocabularies of items and users, then the manifest

A user's rows meet in one shard because every task spreads its rows by the same hash; nothing is
shuffled across the cluster. What travels through Ray are small reports; rows go through storage,
which all nodes must share. Memory: a reading task holds one run, a shard task a batch of each of
its shard's runs, however long a shard, or one user's history, is.

All or nothing: whatever fails or is killed leaves `destination` as it was.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from raysys.config import DEFAULT_DATASET_GROUP, check_dataset_group_name
from raysys.errors import ConfigError
from raysys.logs.additions import all_event_runs, compare_quarantines, finish_tables
from raysys.logs.assembly import Assembly
from raysys.logs.call import RunCalls
from raysys.logs.calls import run_calls
from raysys.logs.catalogue import inspect_catalogue
from raysys.logs.destination import Destination
from raysys.logs.fetching import fetch_origins
from raysys.logs.layout import Layout
from raysys.logs.manifest import DatasetManifest, EventsUpTo, ImportMode
from raysys.logs.metrics import count_rows
from raysys.logs.numbering import write_vocabularies
from raysys.logs.pieces import MOST_SHARDS, num_shards_for
from raysys.logs.progress import ImportProgress, OnProgress
from raysys.logs.publish import WORK, changed_meanwhile, publish_import, staging_beside
from raysys.logs.readers import inspect_source
from raysys.logs.reading import read_sources
from raysys.logs.runs import Run
from raysys.logs.schema import Kind
from raysys.logs.schema_change import layout_for
from raysys.logs.shard_ids import ShardIds, ids_of
from raysys.logs.shards import ShardReport, find_repeated_events, write_shard
from raysys.logs.source import Source
from raysys.logs.sources import Given, Origin, find_sources, find_table


@dataclass(frozen=True, slots=True)
class EventRange:
    """Which events and items of a server's database an import brings."""

    after: EventsUpTo
    up_to: EventsUpTo


def import_log(
    interactions: Sequence[Given],
    destination: Path,
    *,
    items: Given | None = None,
    users: Given | None = None,
    layouts: Sequence[Layout] = (),
    mode: ImportMode = ImportMode.FULL,
    num_shards: int | None = None,
    dataset_group: str = DEFAULT_DATASET_GROUP,
    events: EventRange | None = None,
    on_progress: OnProgress | None = None,
    run: RunCalls = run_calls,
) -> DatasetManifest:
    """Import logs into a dataset directory, on the Ray that runs (or on a new local one).

    An existing dataset at `destination` is replaced, or added to, and stays readable until then.
    What is added comes behind in log order: of two equal rows, that of the earlier import stays.
    Items and users that are given again are replaced by id. A file that is imported again adds
    nothing, and then no file of the dataset changes. Users who were forgotten stay so.

    Args:
        interactions: files, directories, globs and queries, see `find_sources`; their order is
            log order.
        destination: the dataset directory; what is beside it must be on the same file system.
        items: a table of items; users: a table of users. See `raysys.logs.catalogue`.
        layouts: the schema and the column names of each table for which they were told; see
            `raysys.logs.layout`.
        mode: whether an existing dataset is replaced or added to.
        num_shards: the number of files that users are spread over, at most `MOST_SHARDS`. None: as
            many as the dataset has that is added to, else by the size of the files, at least 8.
        dataset_group: what the dataset belongs to. An existing dataset of another one stays.
        events: what the interactions are of a server's database. Then it is no error that none of
            them can be used: whoever asks for them again gets the same.
        run: what runs the tasks; `calls.run_here` needs no Ray.

    Returns:
        The dataset's manifest. Its last record, `imports[-1]`, tells of this import.

    Raises:
        ConfigError: `num_shards` is out of bounds, or not that of the dataset that is added to, or
            `dataset_group` is no name for one.
        DatasetError: `destination` holds something that is not a dataset of this group, does not
            hold what comes before `events`, or cannot be written.
        SourceError: a file is missing, unreadable or lacks a column.
        NothingUsableError: no row of all the files could be used.
    """
    if num_shards is not None and not 1 <= num_shards <= MOST_SHARDS:
        raise ConfigError(
            f"A dataset has between 1 and {MOST_SHARDS:,} shards, not {num_shards:,}."
        )
    check_dataset_group_name(dataset_group)
    into = Destination.open(destination, dataset_group, mode)
    if events is not None and into.events != events.after:
        raise changed_meanwhile(into.path)
    origins = find_sources(interactions)
    layout = layout_for(Kind.INTERACTIONS, layouts, into.base)
    tables = [
        (find_table(given), layout_for(kind, layouts, into.base))
        for kind, given in ((Kind.ITEMS, items), (Kind.USERS, users))
        if given is not None
    ]
    _inspect(origins, layout, tables)
    with into.watched(), staging_beside(into.path) as staging:
        fetched = staging / WORK / "fetched"
        sources = fetch_origins(origins, fetched, layout, run, on_progress)
        catalogues = [
            (fetch_origins([table], fetched / of_it.kind, of_it, run, on_progress)[0], of_it)
            for table, of_it in tables
        ]
        layout = layout.narrowed(inspect_source(source, layout)[0] for source in sources)
        shards = into.num_shards(num_shards, num_shards_for(sources))
        up_to = into.events if events is None else events.up_to
        assembly = Assembly(staging, layout, shards, into, dataset_group, events=up_to)
        progress = ImportProgress(sources, on_progress)
        read_sources(sources, catalogues, assembly, progress, run)
        if events is None or into.base is None:
            assembly.check_usable()
        compare_quarantines(assembly, run)
        _write_shards(assembly, progress, run)
        _number_ids(assembly, progress, run)
        finish_tables(assembly, run)
        manifest = assembly.finish()
        replaces = mode is ImportMode.FULL
        publish_import(staging, into.path, manifest, into.found, replaces=replaces)
    count_rows(manifest.imports[-1])
    return manifest


def _inspect(
    origins: Sequence[Origin], layout: Layout, tables: Sequence[tuple[Origin, Layout]]
) -> None:
    """Check the beginnings of all files, before anything runs (SourceError)."""
    for origin in origins:
        if isinstance(origin, Source) and origin.has_beginning:
            inspect_source(origin, layout)
    for table, of_table in tables:
        if isinstance(table, Source) and table.has_beginning:
            inspect_catalogue(table, of_table)


def _write_shards(assembly: Assembly, progress: ImportProgress, run: RunCalls) -> None:
    """Find repeated events, if any row has an event id, then write every shard, one task each."""
    if event_runs := all_event_runs(assembly, run):
        progress.note("comparing event ids")
        calls = [_FindRepeats(runs, assembly.num_shards, assembly.work) for runs in event_runs]
        assembly.repeated += run(calls)
    shards = [
        _WriteShard(
            shard,
            assembly.runs(shard),
            [repeated[shard] for repeated in assembly.repeated if shard in repeated],
            assembly.work,
            assembly.schema.shard_schema(),
            assembly.into.shard(shard),
        )
        for shard in assembly.shards_to_write()
    ]
    progress.note("sorting")
    num_done = 0
    for report in run(shards):
        assembly.add(report)
        num_done += isinstance(report, ShardReport)
        progress.note(f"sorted shard {num_done} of {len(shards)}")


def _number_ids(assembly: Assembly, progress: ImportProgress, run: RunCalls) -> None:
    """Write the vocabularies of all shards' items and users."""
    if wanted := assembly.wanted_vocabularies():
        progress.note("numbering items and users")
        assembly.vocabularies = write_vocabularies(wanted, assembly.work, run=run)


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
    schema: pa.Schema
    base: Path | None

    def run(self) -> Iterator[ShardReport | ShardIds]:
        target = self.work / f"shard-{self.shard:05d}"
        report = write_shard(
            self.shard, self.runs, self.repeated, target, schema=self.schema, base=self.base
        )
        yield ids_of(report)
        yield report
