"""Between the readers and the shards: accepted rows, spread over the shards of their users.

Each reading task writes its own folder of sorted runs, so that tasks need not speak with each other
and a task that is tried again disturbs nothing.
"""

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.logs.runs import Order, Run, groups_of, write_run
from raysys.parquet_file import read_batches

BUFFERED_BYTES = 64 << 20
"""What a writer holds before it sorts and writes a run: about a million rows of a plain log."""

_OLD_EVENTS_ROWS = 512 << 10

BY_USER_AND_TIME = Order("user_id", "occurred_at")
BY_EVENT = Order("event_id")

EVENT_IDS = pa.schema(
    [
        pa.field("event_id", pa.string(), nullable=False),
        pa.field("shard", pa.int32(), nullable=False),  # of the row's user
        pa.field("source_file", pa.int32(), nullable=False),
        pa.field("source_row", pa.int64(), nullable=False),
    ]
)
"""Where each event id was seen. These rows are spread by event id, since the same event may come
under two users, whose rows lie in different shards."""

Runs = dict[int, list[Run]]
"""By shard (of event ids: by place), in log order."""


class PartWriter:
    """Spreads tables of accepted interactions over sorted runs.

    Use it in a `with` block. Afterwards `interactions` and `event_ids` say which runs there are.
    """

    def __init__(self, directory: Path, num_shards: int) -> None:
        self.interactions: Runs = {}
        self.event_ids: Runs = {}
        self._directory = directory
        self._num_shards = num_shards
        self._buffered: list[pa.Table] = []
        self._buffered_bytes = 0
        self._num_written = 0

    def __enter__(self) -> "PartWriter":
        self._directory.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self._spread()

    def write(self, accepted: pa.Table) -> None:
        """Take a table of interactions, in log order; all have the same columns."""
        self._buffered.append(accepted)
        self._buffered_bytes += accepted.nbytes
        if self._buffered_bytes >= BUFFERED_BYTES:
            self._spread()

    def _spread(self) -> None:
        table = pa.concat_tables(self._buffered) if self._buffered else None
        self._buffered, self._buffered_bytes = [], 0
        if table is None or not table.num_rows:
            return
        events = event_ids_of(table, self._num_shards)
        if events.num_rows:
            self._write("event-ids", events, BY_EVENT, self.event_ids)
        self._write("interactions", table, BY_USER_AND_TIME, self.interactions)
        self._num_written += 1

    def _write(self, kind: str, rows: pa.Table, order: Order, written: Runs) -> None:
        path = self._directory / f"{kind}-{self._num_written:05d}.arrow"
        for group, run in write_run(path, rows, order, self._num_shards).items():
            written.setdefault(group, []).append(run)


def event_ids_of(interactions: pa.Table, num_shards: int) -> pa.Table:
    """Return `EVENT_IDS` of the interactions that have an event id."""
    is_named = pc.is_valid(interactions.column("event_id"))
    if not pc.any(is_named).as_py():
        return EVENT_IDS.empty_table()
    named = interactions.filter(is_named)
    shards = pa.array(groups_of(named.column("user_id"), num_shards))
    return named.append_column("shard", shards).select(EVENT_IDS.names).cast(EVENT_IDS)


def runs_of_old_events(shard: Path, number: int, num_shards: int, target: Path) -> Runs:
    """Write runs of the event ids of a shard that is there already, beside those of new rows.

    Args:
        number: the shard's. target: the files' name; they have a number to it.
    """
    found: Runs = {}
    columns = ["event_id", "source_file", "source_row"]
    batches = read_batches(shard, columns, batch_rows=_OLD_EVENTS_ROWS)
    for place, rows in enumerate(batches):
        rows = rows.filter(pc.is_valid(rows.column("event_id")))
        of_shard = pa.array(np.full(rows.num_rows, number, np.int32))
        events = rows.append_column("shard", of_shard).select(EVENT_IDS.names).cast(EVENT_IDS)
        path = target.with_name(f"{target.name}-{place:05d}.arrow")
        for group, run in write_run(path, events, BY_EVENT, num_shards).items():
            found.setdefault(group, []).append(run)
    return found
