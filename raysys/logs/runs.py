"""Sorted runs: what is larger than memory is sorted in pieces, written, and merged as it is read.

A run's file is an Arrow IPC file, whose rows lie group by group, each group in order; a `Run` is
one group of one file. Groups are spread by a hash of the text that rows are sorted by, so all rows
of one text meet in one group, whichever task wrote them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.hashing import stable_hashes
from raysys.logs.duplicates import encode

_MOST_BATCH_ROWS = 16 << 10
_BATCH_BYTES = 1 << 20
"""About what one open run holds in memory while it is merged, whatever the width of its rows."""

_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")


@dataclass(frozen=True, slots=True)
class Order:
    """What rows are sorted by: a text, as UTF-8 bytes, then a time if any; ties in log order."""

    text: str
    time: str | None = None

    def texts(self, rows: pa.Table) -> pa.ChunkedArray:
        """Return the text of each row."""
        return rows.column(self.text)

    def times(self, rows: pa.Table) -> NDArray[np.int64]:
        """Return the time of each row in its unit, (N,); zeros where the order has none."""
        if self.time is None:
            return np.zeros(rows.num_rows, np.int64)
        times: NDArray[np.int64] = rows.column(self.time).cast(pa.int64()).to_numpy()
        return times


@dataclass(frozen=True, slots=True)
class Run:
    """Sorted rows of one group, on disk.

    Attributes:
        row_offset: what is to be added to `source_row`: a piece of a file counts from its own
            start, since only later it is known how many rows come before.
    """

    path: str
    first_batch: int
    num_batches: int
    row_offset: int = 0

    def read(self, schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield the rows, a batch at a time, with the columns of `schema`."""
        with pa.OSFile(self.path) as file:  # no memory map: what was read is let go
            reader = pa.ipc.open_file(file)
            for place in range(self.first_batch, self.first_batch + self.num_batches):
                rows = conform(pa.Table.from_batches([reader.get_batch(place)]), schema)
                yield with_row_offset(rows, self.row_offset)


def conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with exactly the columns of `schema`: one that is lacking holds nulls."""
    if rows.schema == schema:
        return rows
    columns = [
        rows.column(field.name) if field.name in rows.column_names else pa.nulls(rows.num_rows)
        for field in schema
    ]
    return pa.table(columns, names=schema.names).cast(schema)


def with_row_offset(rows: pa.Table, offset: int) -> pa.Table:
    """Return rows whose `source_row` is higher by an offset."""
    place = rows.schema.names.index("source_row")
    field = rows.schema.field(place)
    return rows.set_column(place, field, pc.add(rows.column(place), offset)) if offset else rows


def write_run(path: Path, rows: pa.Table, order: Order, num_groups: int) -> dict[int, Run]:
    """Sort rows, in log order as they come, and write them; return the run of each group.

    A text's group is stable_hash(text) % num_groups.
    """
    codes, distinct = encode(order.texts(rows))
    group_of_text = _groups_of_distinct(distinct, num_groups)
    by_text = pc.sort_indices(distinct).to_numpy()
    by_group = by_text[np.argsort(group_of_text[by_text], kind="stable")]
    ranks = np.empty(len(distinct), np.int64)
    ranks[by_group] = np.arange(len(distinct))
    places = sorted_places(ranks[codes], order.times(rows))
    sizes = np.bincount(group_of_text[codes], minlength=num_groups)
    return write_groups(path, rows.take(pa.array(places)), sizes)


def write_groups(path: Path, rows: pa.Table, sizes: NDArray[np.int64]) -> dict[int, Run]:
    """Write rows that lie group by group, `sizes` of each; return the run of each group."""
    runs = {}
    num_batches = start = 0
    with RunWriter(path, rows.schema) as writer:
        for group, size in enumerate(sizes.tolist()):
            if size:
                writer.write(rows.slice(start, size))
                runs[group] = Run(str(path), num_batches, writer.num_batches - num_batches)
                num_batches = writer.num_batches
                start += size
    return runs


class RunWriter:
    """Writes sorted rows into one file, in batches of about `_BATCH_BYTES`."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self.num_batches = 0
        self._path = path
        self._schema = schema

    def __enter__(self) -> "RunWriter":
        self._writer = pa.ipc.new_file(str(self._path), self._schema, options=_OPTIONS)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def write(self, rows: pa.Table) -> None:
        """Append rows; their batches are no one else's."""
        mean_bytes = max(rows.nbytes // max(rows.num_rows, 1), 1)
        batch_rows = int(np.clip(_BATCH_BYTES // mean_bytes, 1, _MOST_BATCH_ROWS))
        for batch in rows.combine_chunks().to_batches(max_chunksize=batch_rows):
            self._writer.write_batch(batch)
            self.num_batches += 1


def groups_of(texts: pa.ChunkedArray, num_groups: int) -> NDArray[np.int64]:
    """Return stable_hash(text) % num_groups of each text, (N,); distinct ones are hashed once."""
    codes, distinct = encode(texts)
    return _groups_of_distinct(distinct, num_groups)[codes]


def _groups_of_distinct(texts: pa.StringArray, num_groups: int) -> NDArray[np.int64]:
    hashes = stable_hashes(texts.to_pylist())
    groups: NDArray[np.int64] = (hashes % np.uint64(num_groups)).astype(np.int64)
    return groups


def sorted_places(ranks: NDArray[np.int64], times: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the places of rows sorted by rank, then time; ties stay in order.

    Where rank, time and place fit into 63 bits together, one sort of plain numbers does it: a third
    of the time of `lexsort`. They do for a million rows of a whole year's seconds.
    """
    if not len(ranks):
        return np.empty(0, np.int64)
    since = times - times.min()
    if not (since % 1_000_000).any():
        since //= 1_000_000  # whole seconds
    time_bits, place_bits = int(since.max()).bit_length(), len(ranks).bit_length()
    if int(ranks.max()).bit_length() + time_bits + place_bits > 63:
        return np.lexsort((times, ranks))
    keys = (((ranks << time_bits) | since) << place_bits) | np.arange(len(ranks))
    keys.sort()
    places: NDArray[np.int64] = keys & ((1 << place_bits) - 1)
    return places
