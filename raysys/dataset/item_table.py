"""What is known of items, or of users, in the order of their numbers, whatever their number."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.vocabulary import Vocabulary
from raysys.parquet_file import read_batches, read_schema

ROWS_PER_BATCH = 1 << 16

_UNTITLED = pa.schema([pa.field("title", pa.string())])


def write_item_table(given: Path | None, items: Vocabulary, target: Path, work: Path) -> None:
    """Write an Arrow file with one row per item of a vocabulary, nulls where nothing is known.

    Of an id that the given table has twice the first row counts. Memory: a few thousand rows.

    Args:
        given: a Parquet table with `item_id`; None: nothing is known of any item.
        work: a directory for a copy of the table that can be read in any order.

    Raises:
        DatasetError: the given table cannot be read.
    """
    _write(given, "item_id", items, target, work)


def write_user_table(given: Path | None, users: Vocabulary, target: Path, work: Path) -> None:
    """Write what `write_item_table` writes, of users, from a table with `user_id`."""
    _write(given, "user_id", users, target, work)


def _write(given: Path | None, id_column: str, known: Vocabulary, target: Path, work: Path) -> None:
    mapped = None if given is None else _mapped(given, work / "given.arrow")
    schema = _UNTITLED if mapped is None else mapped.schema.remove_metadata()
    others = [field.with_nullable(True) for field in schema if field.name != id_column]
    written = pa.schema([pa.field(id_column, known.ids.type), *others])
    places = np.full(len(known), -1) if mapped is None else _places(mapped[id_column], known)
    with pa.ipc.new_file(str(target), written) as sink:
        for start in range(0, len(known), ROWS_PER_BATCH):
            rows = places[start : start + ROWS_PER_BATCH]
            columns = [known.ids.slice(start, ROWS_PER_BATCH)]
            for field in others:
                if mapped is None:
                    columns.append(pa.nulls(len(rows), field.type))
                else:
                    columns.append(_take(mapped[field.name], rows))
            sink.write_batch(pa.RecordBatch.from_arrays(columns, schema=written))


def open_item_table(path: Path) -> pa.Table:
    """Map a table that `write_item_table` wrote; nothing of it is read."""
    with pa.memory_map(str(path)) as file:
        return pa.ipc.open_file(file).read_all()


def _mapped(given: Path, copy: Path) -> pa.Table:
    """Copy a Parquet table piece by piece into a file of which any row can be read alone."""
    schema = read_schema(given)
    with pa.ipc.new_file(str(copy), schema) as sink:
        for rows in read_batches(given):
            sink.write_table(rows)
    return open_item_table(copy)


def _places(ids: pa.ChunkedArray, known: Vocabulary) -> NDArray[np.int64]:
    """Return the first row of each id of the vocabulary, (N,); -1 where it has none."""
    places = np.full(len(known) + 1, -1, np.int64)
    end = len(ids)
    for chunk in reversed(ids.chunks):  # so that of two rows the first is written last
        start = end - len(chunk)
        numbers = known.numbers(chunk)
        places[numbers[::-1]] = np.arange(end - 1, start - 1, -1)
        end = start
    return places[1:]


def _take(column: pa.ChunkedArray, rows: NDArray[np.int64]) -> pa.Array:
    """Return the values at some rows, null at -1; only the chunks of these rows are read."""
    is_known = rows >= 0
    order = np.argsort(rows[is_known], kind="stable")
    ascending = rows[is_known][order]
    parts = [chunk.take(pa.array(found)) for chunk, found in _by_chunk(column, ascending)]
    found = pa.concat_arrays([pa.array([], column.type), *parts])
    where = np.zeros(len(rows), np.int64)
    where[np.flatnonzero(is_known)[order]] = np.arange(len(ascending))
    return found.take(pa.array(where, mask=~is_known))


def _by_chunk(
    column: pa.ChunkedArray, rows: NDArray[np.int64]
) -> Iterator[tuple[pa.Array, NDArray[np.int64]]]:
    """Yield each chunk with the rows that lie in it, counted from its first; `rows` ascend."""
    start = 0
    for chunk in column.chunks:
        first, end = np.searchsorted(rows, [start, start + len(chunk)])
        if end > first:
            yield chunk, rows[first:end] - start
        start += len(chunk)
