"""Between the readers and the shards: accepted rows, spread over the shards of their users.

Each reading task writes its own folder of parts, so that tasks need not speak with each other and
a task that is tried again disturbs nothing. Parts are Arrow IPC streams: quick to write, read once.
"""

from pathlib import Path
from types import TracebackType

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.hashing import stable_hashes

BUFFERED_ROWS = 256 << 10
"""Rows that a writer holds before it spreads them; fewer, larger pieces read faster."""

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

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


class PartWriter:
    """Spreads tables of accepted interactions over parts, one file per shard.

    Use it in a `with` block. Afterwards `interactions` and `event_ids` say which parts there are.
    """

    def __init__(self, directory: Path, num_shards: int) -> None:
        self.interactions: dict[int, str] = {}
        self.event_ids: dict[int, str] = {}
        self._directory = directory
        self._num_shards = num_shards
        self._buffered: list[pa.Table] = []
        self._writers: dict[str, pa.ipc.RecordBatchStreamWriter] = {}

    def __enter__(self) -> "PartWriter":
        self._directory.mkdir()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._spread()
        finally:
            for writer in self._writers.values():
                writer.close()

    def write(self, accepted: pa.Table) -> None:
        """Take a table of `tables.INTERACTIONS`, in log order."""
        self._buffered.append(accepted)
        if sum(table.num_rows for table in self._buffered) >= BUFFERED_ROWS:
            self._spread()

    def _spread(self) -> None:
        if not self._buffered:
            return
        table = pa.concat_tables(self._buffered)
        self._buffered = []
        shards = shards_of(table.column("user_id"), self._num_shards)
        self._write_groups("interactions", table, shards, self.interactions)
        is_named = pc.is_valid(table.column("event_id"))
        if pc.any(is_named).as_py():
            named = table.append_column("shard", pa.array(shards)).filter(is_named)
            named = named.select(EVENT_IDS.names).cast(EVENT_IDS)
            places = shards_of(named.column("event_id"), self._num_shards)
            self._write_groups("event_ids", named, places, self.event_ids)

    def _write_groups(
        self, kind: str, table: pa.Table, groups: NDArray[np.int32], written: dict[int, str]
    ) -> None:
        order = np.argsort(groups, kind="stable")  # log order stays within each group
        table = table.take(pa.array(order)).combine_chunks()
        sizes = np.bincount(groups, minlength=self._num_shards).tolist()
        start = 0
        for group, size in enumerate(sizes):
            if size:
                path = self._directory / f"{kind}-{group:05d}.arrows"
                written[group] = str(path)
                self._writer(str(path), table.schema).write_table(table.slice(start, size))
            start += size

    def _writer(self, path: str, schema: pa.Schema) -> pa.ipc.RecordBatchStreamWriter:
        if path not in self._writers:
            self._writers[path] = pa.ipc.new_stream(path, schema, options=_OPTIONS)
        return self._writers[path]


def shards_of(ids: pa.ChunkedArray, num_shards: int) -> NDArray[np.int32]:
    """Return stable_hash(id) % num_shards of each id. Each distinct id is hashed once."""
    encoded = pc.dictionary_encode(ids).combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return np.empty(0, np.int32)
    hashes = stable_hashes(encoded.dictionary.to_pylist())
    of_distinct = (hashes % np.uint64(num_shards)).astype(np.int32)
    shards: NDArray[np.int32] = of_distinct[encoded.indices.to_numpy()]
    return shards


def read_parts(paths: list[str], schema: pa.Schema) -> pa.Table:
    """Return the rows of several parts, one part after the other."""
    found = []
    for path in paths:
        with pa.memory_map(path) as file, pa.ipc.open_stream(file) as reader:
            found.append(reader.read_all())
    return pa.concat_tables(found).cast(schema) if found else schema.empty_table()
