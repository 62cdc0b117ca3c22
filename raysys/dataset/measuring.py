"""Measures a dataset: one call for each shard, run as tasks of Ray Data, then the tables beside.

Memory: a task holds a batch of rows and its shard's distinct users and items; the caller holds one
row for each item.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from raysys.dataset.dataset import Dataset
from raysys.dataset.shard_statistics import ShardStatistics, shard_statistics
from raysys.dataset.statistics import Statistics
from raysys.dataset.table_statistics import (
    TableStatistics,
    join_items,
    quarantine_examples,
    table_statistics,
    would_join,
)
from raysys.dataset.time_bins import TimeBins
from raysys.logs.call import Call, RunCalls
from raysys.logs.manifest import DatasetManifest
from raysys.logs.progress import OnProgress
from raysys.times import microseconds_of

_TITLED_ITEMS = 10
_HARDLY_JOINS = 0.5


def measure(
    dataset: Dataset,
    run: RunCalls,
    *,
    now: datetime | None = None,
    on_progress: OnProgress | None = None,
) -> Statistics:
    """Read every row of a dataset once.

    Args:
        run: what reads the shards; see `raysys.logs.call`.
        now: what lies after it lies in the future; None: this moment.

    Raises:
        DatasetError: a file of the dataset cannot be read.
    """
    manifest = dataset.manifest
    found = Statistics(manifest, _bins(manifest), microseconds_of(now or datetime.now(UTC)))
    users = dataset.path / manifest.users_file if manifest.users_file else None
    calls: list[Call] = [
        _MeasureShard(path, found.bins, found.now_us, users) for path in dataset.shard_paths()
    ]
    calls += [_MeasureTable(users)] if users else []
    for report in run(calls):
        if isinstance(report, ShardStatistics):
            found.add(report)
        else:
            found.user_table = report
        if on_progress is not None:
            on_progress(found.shard.rows, manifest.rows_accepted)
    found.finish()
    if found.user_table is not None:
        found.user_table.matched = found.shard.users_in_table
    _join_items(dataset, found)
    found.quarantined = quarantine_examples(
        [dataset.path / name for name in manifest.quarantine_names()],
        manifest.quarantined_by_reason,
    )
    return found


def _bins(manifest: DatasetManifest) -> TimeBins:
    first, last = manifest.first_occurred_at, manifest.last_occurred_at
    if first is None or last is None:  # no row is left
        return TimeBins.between(0, 0)
    return TimeBins.between(microseconds_of(first), microseconds_of(last))


def _join_items(dataset: Dataset, found: Statistics) -> None:
    if dataset.manifest.items_file is None:
        return
    path = dataset.path / dataset.manifest.items_file
    titled = found.items.column("item_id").slice(0, _TITLED_ITEMS).to_pylist()
    found.item_table = join_items(path, found.items, titled)
    if found.item_table.matched < found.num_items * _HARDLY_JOINS:
        found.item_ids_differ_in = would_join(found.item_table, found.items, path)


@dataclass(frozen=True, slots=True)
class _MeasureShard:
    path: Path
    bins: TimeBins
    now_us: int
    users_table: Path | None

    def run(self) -> Iterator[ShardStatistics]:
        yield shard_statistics(self.path, self.bins, self.now_us, self.users_table)


@dataclass(frozen=True, slots=True)
class _MeasureTable:
    path: Path

    def run(self) -> Iterator[TableStatistics]:
        yield table_statistics(self.path)
