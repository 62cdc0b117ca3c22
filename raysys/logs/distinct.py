"""The distinct ids of a shard, ascending, in a file of which any range can be read alone."""

import bisect
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from raysys.lookup import open_vocabulary

IDS_PER_FILE = 1 << 20
"""Even if each has 256 characters, they are less than 2 GiB of text."""

_SAMPLE_EVERY = 1024
_SCHEMA = pa.schema([pa.field("id", pa.string(), nullable=False)])


@dataclass(frozen=True, slots=True)
class DistinctIds:
    """The distinct ids of one column of one shard, ascending, in a file."""

    path: Path
    count: int
    sample: tuple[str, ...]
    """Every `_SAMPLE_EVERY`-th id, from the first on."""


def distinct_ids(shard: Path, column: str, target: Path) -> DistinctIds:
    """Write the distinct ids of a Parquet file's column, which holds no null.

    Memory: the distinct ids of the shard, however many rows it has.
    """
    found, fresh, num_fresh = pa.array([], pa.string()), [], 0
    with pq.ParquetFile(shard, read_dictionary=[column]) as file:
        for batch in file.iter_batches(columns=[column]):
            ids = pc.unique(batch.column(0))
            fresh.append(ids.cast(pa.string()))
            num_fresh += len(ids)
            if num_fresh > len(found):  # so that the merges cost no more than the reading
                found, fresh, num_fresh = pc.unique(pa.concat_arrays([found, *fresh])), [], 0
    return _write_ids(sorted_ids(pc.unique(pa.concat_arrays([found, *fresh]))), target)


def distinct_ids_of(
    vocabulary: Path,
    work: Path,
    *,
    keep: NDArray[np.bool_] | None = None,
    ids_per_file: int = IDS_PER_FILE,
) -> list[DistinctIds]:
    """Write the ids of a vocabulary, to be numbered anew or behind another one's.

    Args:
        keep: which of them, (N,); None: all.
    """
    texts = open_vocabulary(vocabulary)[0].texts
    written = []
    for start in range(0, len(texts), ids_per_file):
        ids = texts.slice(start, ids_per_file).cast(pa.string())
        if keep is not None:
            ids = ids.filter(pa.array(keep[start : start + ids_per_file]))
        written.append(_write_ids(sorted_ids(ids), work / f"ids-{uuid.uuid4().hex}"))
    return written


def ids_between(path: Path, low: str | None, high: str | None) -> pa.StringArray:
    """Return what a file of distinct ids has from `low` on and below `high`; None: no border."""
    with pa.memory_map(str(path)) as file:
        ids = pa.ipc.open_file(file).get_batch(0).column(0)
    first = 0 if low is None else _place_of(ids, low)
    end = len(ids) if high is None else _place_of(ids, high)
    return ids.slice(first, end - first)


def _place_of(ids: pa.StringArray, text: str) -> int:
    # Texts compare as their UTF-8 bytes do.
    return bisect.bisect_left(range(len(ids)), text, key=lambda row: ids[row].as_py())


def _write_ids(ids: pa.StringArray, path: Path) -> DistinctIds:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, _SCHEMA) as writer:
        writer.write_batch(pa.RecordBatch.from_arrays([ids], schema=_SCHEMA))
    sample = ids.take(pa.array(np.arange(0, len(ids), _SAMPLE_EVERY)))
    return DistinctIds(path, len(ids), tuple(sample.to_pylist()))


def sorted_ids(ids: pa.StringArray) -> pa.StringArray:
    """Return the ids in ascending order of their UTF-8 bytes."""
    return ids.take(pc.sort_indices(ids))
