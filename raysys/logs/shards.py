"""The sorted runs of one shard -> its Parquet file: merged, and duplicates left out, streaming."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raysys import tables
from raysys.hashing import sha256_of_file
from raysys.logs.duplicates import RepeatedEvents, RepeatedInteractions
from raysys.logs.impressions import Impressions
from raysys.logs.manifest import ShardSummary, WrittenFile
from raysys.logs.merging import merge, merged_runs
from raysys.logs.parts import BY_EVENT, BY_USER_AND_TIME, EVENT_IDS
from raysys.logs.runs import Run, conform, write_groups
from raysys.logs.shard_file import ShardFile
from raysys.parquet_file import read_batches
from raysys.times import time_at

_BASE_BATCH_ROWS = 16 << 10

REPEATED = pa.schema([EVENT_IDS.field(name) for name in ("shard", "source_file", "source_row")])
"""Which rows repeat an event id."""


@dataclass(frozen=True, slots=True)
class ShardReport:
    """What became of one shard. Times are microseconds, None where no row is left."""

    shard: int
    path: str
    file: WrittenFile
    rows: int
    duplicates: int
    num_users: int
    first_occurred_at_us: int | None
    last_occurred_at_us: int | None
    impressions: Impressions

    def summary(self) -> ShardSummary:
        """Return what a manifest says of it."""
        return ShardSummary(
            rows=self.rows,
            num_users=self.num_users,
            first_occurred_at=_time(self.first_occurred_at_us),
            last_occurred_at=_time(self.last_occurred_at_us),
            impressions=self.impressions,
        )


def find_repeated_events(runs: Sequence[Run], num_shards: int, target: Path) -> dict[int, Run]:
    """Write which rows repeat an event id, of those that these runs name; return them by shard.

    Rows of one event id must all be in the runs, which are in log order.
    """
    repeats = RepeatedEvents()
    work = _own_folder(target)
    found = [
        events.select(REPEATED.names).filter(pa.array(repeats.among(events)))
        for events in merged_runs(runs, BY_EVENT, EVENT_IDS, work)
    ]
    rows = pa.concat_tables([REPEATED.empty_table(), *found]).sort_by("shard")
    sizes = np.bincount(rows.column("shard").to_numpy(), minlength=num_shards)
    return write_groups(work / "repeated.arrow", rows, sizes)


def write_shard(
    shard: int,
    runs: Sequence[Run],
    repeated: Sequence[Run],
    target: Path,
    *,
    schema: pa.Schema = tables.INTERACTIONS,
    base: Path | None = None,
) -> ShardReport:
    """Write one shard. Memory is bounded by the number of its runs, not by the number of its rows.

    Args:
        runs: the shard's runs, in log order.
        repeated: what `find_repeated_events` wrote for this shard, over all event ids. 8 bytes of
            memory a row.
        target: the folder's name; what is written has a suffix to it, so that a task that is tried
            again never writes into a file of the first try.
        schema: of the shard; a column that a run or `base` lacks holds nulls.
        base: a shard as it was before, all of whose rows come before those of the runs.
    """
    work = _own_folder(target)
    streams: list[Iterator[pa.Table]] = []
    if base is not None:
        old = read_batches(base, batch_rows=_BASE_BATCH_ROWS)
        streams.append(conform(rows, schema) for rows in old)
    streams.append(merged_runs(runs, BY_USER_AND_TIME, schema, work))
    is_repeated = _Places(repeated)
    repeats = RepeatedInteractions()
    rows_in = 0
    with ShardFile(work / "shard.parquet", schema) as written:
        for rows in merge(streams, BY_USER_AND_TIME):
            rows_in += rows.num_rows
            is_repeat = repeats.among(rows) | is_repeated.among(rows)
            written.write(rows.filter(pa.array(~is_repeat)) if is_repeat.any() else rows)
    return report_on(shard, written, rows_in - written.num_rows)


def report_on(shard: int, written: ShardFile, duplicates: int) -> ShardReport:
    """Return what a shard holds that was written to its end."""
    path = written.path
    return ShardReport(
        shard=shard,
        path=str(path),
        file=WrittenFile(num_bytes=path.stat().st_size, sha256=sha256_of_file(path)),
        rows=pq.read_metadata(path).num_rows,
        duplicates=duplicates,
        num_users=written.num_users,
        first_occurred_at_us=written.first_occurred_at_us,
        last_occurred_at_us=written.last_occurred_at_us,
        impressions=written.impressions,
    )


class _Places:
    """Places in the log, as a set: the rows that repeat an event id."""

    _FILE_BITS = 40  # of a row's number; there are at most 2**23 files

    def __init__(self, runs: Sequence[Run]) -> None:
        found = [self._keys(rows) for run in runs for rows in run.read(REPEATED)]
        self._keys_of_all = np.unique(np.concatenate([np.empty(0, np.int64), *found]))

    def among(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Say of each row whether its place is one of them; (N,) bool."""
        if not len(self._keys_of_all):
            return np.zeros(rows.num_rows, bool)
        keys = self._keys(rows)
        places = np.searchsorted(self._keys_of_all, keys)
        places[places == len(self._keys_of_all)] = 0
        found: NDArray[np.bool_] = self._keys_of_all[places] == keys
        return found

    def _keys(self, rows: pa.Table) -> NDArray[np.int64]:
        files = rows.column("source_file").to_numpy().astype(np.int64)
        keys: NDArray[np.int64] = (files << self._FILE_BITS) | rows.column("source_row").to_numpy()
        return keys


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else time_at(microseconds)


def _own_folder(target: Path) -> Path:
    folder = target.with_name(f"{target.name}-{uuid.uuid4().hex}")
    folder.mkdir()
    return folder
