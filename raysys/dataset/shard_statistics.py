"""What one shard of a dataset holds, found in one pass over its rows.

Rows stream through: memory is a few times a batch, and the shard's distinct items and users.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys import tables
from raysys.dataset.counting import ITEM_COUNTS, ColumnProfile, ItemCounts, ValueCounts
from raysys.dataset.time_bins import DAY_US, HOUR_US, MINUTE_US, TimeBins
from raysys.parquet_file import read_batches, read_schema

BATCH_ROWS = 128 << 10
EARLY_US = 10 * 365 * DAY_US
"""What lies before, in the first ten years, is no time of a log but something in another unit."""
MIN_TESTED_LENGTH = 3
"""Shorter histories stay whole in leave-last-out."""
RESOLUTIONS = {"days": DAY_US, "hours": HOUR_US, "minutes": MINUTE_US, "seconds": 1_000_000}

_MAX_EVENT_TYPES = 1_000
_MAX_EVENT_VALUES = 100
_NOT_READ = ("event_id", "source_file", "source_row")
_NOT_PROFILED = ("user_id", "item_id", "occurred_at", *_NOT_READ)


@dataclass(slots=True)
class ShardStatistics:
    """Sums over the interactions of one shard. A user's rows all lie in one shard."""

    rows: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    """History length -> number of users."""
    longest: tuple[int, str] = (0, "")
    """The longest history, and whose it is."""
    tied_rows: int = 0
    """Rows at the same time as another row of their user."""
    early_rows: int = 0
    future_rows: int = 0
    rows_on_whole: Counter[str] = field(default_factory=Counter)
    """By a word of `RESOLUTIONS`: rows whose time is a multiple of it."""
    per_bin: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    new_users_per_bin: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    event_types: ValueCounts = field(default_factory=lambda: ValueCounts(_MAX_EVENT_TYPES))
    event_values: ValueCounts = field(default_factory=lambda: ValueCounts(_MAX_EVENT_VALUES))
    columns: dict[str, ColumnProfile] = field(default_factory=dict)
    items: pa.Table = field(default_factory=ITEM_COUNTS.empty_table)
    users_in_table: int = 0
    """Users of the shard who have a row in the table of users."""
    users_without_row: list[str] = field(default_factory=list)
    """Some of those who have none."""


class ShardScan:
    """Takes the rows of one shard, batch by batch, in their order."""

    def __init__(self, bins: TimeBins, now_us: int) -> None:
        self._found = ShardStatistics(
            per_bin=np.zeros(bins.num, np.int64), new_users_per_bin=np.zeros(bins.num, np.int64)
        )
        self._bins = bins
        self._now_us = now_us
        self._items = ItemCounts()
        self._users: list[pa.Array] = []
        self._user: str | None = None  # of the last row so far; their history may go on
        self._length = 0
        self._last_us = 0
        self._is_last_tied = False
        self._last_items = pa.nulls(2, pa.string())

    def add(self, batch: pa.Table) -> None:
        """Take rows of the shard's file; it may have more columns than `tables.INTERACTIONS`."""
        if not batch.num_rows:
            return
        batch = batch.combine_chunks()
        users = batch.column("user_id").chunk(0)
        times = batch.column("occurred_at").cast(tables.TIMESTAMP).cast(pa.int64()).to_numpy()
        is_new_user = np.ones(len(users), bool)
        is_new_user[0] = users[0].as_py() != self._user
        is_new_user[1:] = pc.not_equal(users[1:], users[:-1]).to_numpy(zero_copy_only=False)
        starts = np.flatnonzero(is_new_user)
        self._found.rows += len(users)
        self._add_times(times, is_new_user)
        self._add_histories(users, starts, batch.column("item_id").chunk(0), times)
        self._add_columns(batch)

    def finish(self, users_table: Path | None = None) -> ShardStatistics:
        """Return what was found; `users_table` is a Parquet file with the column user_id."""
        last_user = pa.array([self._user], pa.string())
        nothing_more = pa.array([], pa.string())
        self._end_users(
            last_user, np.array([self._length]), np.array([len(self._last_items)]), nothing_more
        )
        self._found.items = self._items.table()
        if users_table is not None and self._users:
            self._join_users(users_table)
        return self._found

    def _add_times(self, times: NDArray[np.int64], is_new_user: NDArray[np.bool_]) -> None:
        found = self._found
        repeats_time = ~is_new_user & (np.diff(times, prepend=self._last_us) == 0)
        is_tied = repeats_time.copy()
        is_tied[:-1] |= repeats_time[1:]
        found.tied_rows += int(is_tied.sum()) + int(repeats_time[0] and not self._is_last_tied)
        self._is_last_tied, self._last_us = bool(is_tied[-1]), int(times[-1])
        found.early_rows += int((times < EARLY_US).sum())
        found.future_rows += int((times > self._now_us).sum())
        for name, unit in RESOLUTIONS.items():
            found.rows_on_whole[name] += int((times % unit == 0).sum())
        found.per_bin += self._bins.counts(times)
        found.new_users_per_bin += self._bins.counts(times[is_new_user])

    def _add_histories(
        self,
        users: pa.StringArray,
        starts: NDArray[np.int64],
        items: pa.StringArray,
        times: NDArray[np.int64],
    ) -> None:
        self._add_items(items, times)
        if len(starts):
            lengths = np.diff(starts, prepend=0)  # of those who end before each start
            lengths[0] += self._length
            started = users.take(pa.array(starts))
            ended = pa.concat_arrays([pa.array([self._user], pa.string()), started[:-1]])
            self._end_users(ended, lengths, starts + len(self._last_items), items)
            self._length = len(users) - int(starts[-1])
            self._user = users[-1].as_py()
            self._users.append(started)
        else:
            self._length += len(users)
        self._last_items = pa.concat_arrays([self._last_items, items])[-2:]

    def _end_users(
        self,
        users: pa.StringArray,
        lengths: NDArray[np.int64],
        ends: NDArray[np.int64],
        items: pa.StringArray,
    ) -> None:
        """Count histories that are complete.

        Args:
            users: whose they are.
            lengths: of each; 0 before the first row of the shard.
            ends: where each ends in the last items so far followed by `items`.
        """
        found = self._found
        for length, count in zip(*np.unique(lengths[lengths > 0], return_counts=True), strict=True):
            found.lengths[int(length)] += int(count)
        place = int(np.argmax(lengths))
        if lengths[place] > found.longest[0]:
            found.longest = (int(lengths[place]), users[place].as_py())
        ends = ends[lengths >= MIN_TESTED_LENGTH]
        if len(ends):
            known = pa.concat_arrays([self._last_items, items])
            for name, back in (("last_of_a_user", 1), ("last_but_one", 2)):
                self._count_items(known.take(pa.array(ends - back)), name)

    def _add_items(self, items: pa.StringArray, times: NDArray[np.int64]) -> None:
        batch = pa.table({"item_id": items, "first_us": times})
        grouped = batch.group_by("item_id", use_threads=False).aggregate(
            [("first_us", "min"), ([], "count_all")]
        )
        nothing = pa.array(np.zeros(len(grouped), np.int64))
        columns = [grouped["item_id"], grouped["count_all"], grouped["first_us_min"]]
        self._items.add(pa.table([*columns, nothing, nothing], schema=ITEM_COUNTS))

    def _count_items(self, items: pa.StringArray, name: str) -> None:
        found = pc.value_counts(items)
        nothing = pa.array(np.zeros(len(found), np.int64))
        columns = dict.fromkeys(ITEM_COUNTS.names, nothing)
        columns["item_id"], columns["first_us"] = found.field(0), pa.nulls(len(found), pa.int64())
        self._items.add(pa.table({**columns, name: found.field(1)}, schema=ITEM_COUNTS))

    def _add_columns(self, batch: pa.Table) -> None:
        for name in batch.column_names:
            if name not in _NOT_PROFILED:
                column = batch.column(name)
                self._found.columns.setdefault(name, ColumnProfile()).add_column(column)
        self._found.event_types.add_column(batch.column("event_type"))
        self._found.event_values.add_column(batch.column("event_value"))

    def _join_users(self, users_table: Path, examples: int = 3) -> None:
        users = pa.chunked_array(self._users)
        has_row = np.zeros(len(users), bool)
        for batch in read_batches(users_table, ["user_id"]):
            places = pc.index_in(batch.column("user_id"), value_set=users).drop_null()
            has_row[places.to_numpy(zero_copy_only=False)] = True
        self._found.users_in_table = int(has_row.sum())
        missing = np.flatnonzero(~has_row)[:examples]
        self._found.users_without_row = users.take(pa.array(missing)).to_pylist()


def shard_statistics(
    path: Path, bins: TimeBins, now_us: int, users_table: Path | None = None
) -> ShardStatistics:
    """Read one shard's file and return what it holds.

    Args:
        bins: they hold every time of the dataset.
        now_us: what lies after it lies in the future.
        users_table: the dataset's table of users, None where it has none.

    Raises:
        DatasetError: the file cannot be read.
    """
    scan = ShardScan(bins, now_us)
    names = [one for one in read_schema(path).names if one not in _NOT_READ]
    for batch in read_batches(path, names, batch_rows=BATCH_ROWS):
        scan.add(batch)
    return scan.finish(users_table)
