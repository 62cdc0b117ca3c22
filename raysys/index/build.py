"""Build the index of a release from the embeddings of its whole catalogue."""

from collections.abc import Sequence
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys import storage
from raysys.config import IndexConfig
from raysys.evaluation.topk import exact_top_k
from raysys.hashing import stable_hashes
from raysys.index import kinds
from raysys.index.files import NOTE_NAME, IndexNote, nums_name, searchable_name, vectors_name
from raysys.index.shard import open_partitions

_MEASURED_QUERIES = 200


def build_partitions(
    directory: Path,
    embeddings: NDArray[np.float32],
    item_ids: Sequence[str] | pa.StringArray,
    config: IndexConfig,
    vocabulary: str,
    *,
    queries: NDArray[np.float32] | None = None,
) -> IndexNote:
    """Write every file of a release's `index` directory.

    An item's partition depends on its id and the number of partitions alone, so it stays where it
    is when other items come and go.

    Args:
        directory: the `index` directory of a release draft; made if it is not there.
        embeddings: (N, D) float32; row r belongs to item number r + 1.
        item_ids: (N,) in the same order.
        vocabulary: hash of the item vocabulary.
        queries: (B, D) real query vectors, by which an approximate kind is measured against exact
            search. Item vectors stand in where there are none.

    Raises:
        ConfigError: FAISS cannot build the kind from these vectors.
    """
    if len(embeddings) != len(item_ids):
        raise ValueError(f"{len(embeddings)} embeddings do not fit {len(item_ids)} item ids.")
    directory.mkdir(parents=True, exist_ok=True)
    ids = item_ids.to_pylist() if isinstance(item_ids, pa.Array) else item_ids
    partition_of_item = stable_hashes(ids) % np.uint64(config.num_partitions)
    exact: list[bool] = []
    obeys: list[bool] = []
    for number in range(config.num_partitions):
        rows = np.flatnonzero(partition_of_item == number)
        index = _write_partition(directory, number, embeddings[rows], rows, config.factory)
        exact.append(kinds.is_exact(index))
        if len(rows):
            obeys.append(kinds.obeys_selectors(index, embeddings[rows[0]]))
    note = IndexNote(
        factory=config.factory,
        vocabulary=vocabulary,
        num_items=len(embeddings),
        num_partitions=config.num_partitions,
        embedding_dim=embeddings.shape[1],
        is_exact=all(exact),
        supports_selectors=all(obeys),
        index_recall_at_10=1.0,
        index_recall_at_100=1.0,
    )
    if not note.is_exact:
        note = _measured(directory, note, embeddings, queries)
    storage.write_json(directory / NOTE_NAME, note.model_dump(mode="json"))
    return note


def _write_partition(
    directory: Path,
    number: int,
    vectors: NDArray[np.float32],
    rows: NDArray[np.int64],
    factory: str,
) -> object:
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    index = kinds.make_index(factory, vectors)
    faiss.write_index(index, str(directory / searchable_name(number)))
    np.save(directory / nums_name(number), (rows + 1).astype(np.int32))
    if not kinds.is_exact(index):
        np.save(directory / vectors_name(number), vectors)
    return index


def _measured(
    directory: Path,
    note: IndexNote,
    embeddings: NDArray[np.float32],
    queries: NDArray[np.float32] | None,
) -> IndexNote:
    """Return the note with the recall of approximate search against exact search."""
    asked = embeddings if queries is None else queries
    step = max(1, len(asked) // _MEASURED_QUERIES)
    asked = np.ascontiguousarray(asked[::step][:_MEASURED_QUERIES])
    shard = open_partitions(directory, range(note.num_partitions), note)
    nums = np.arange(1, len(embeddings) + 1, dtype=np.int32)
    recalls = {}
    for k in (10, 100):
        true = exact_top_k(asked, embeddings, nums, k).item_nums
        found = shard.search(asked, k).item_nums
        shares = [
            len(np.intersect1d(have[have > 0], want[want > 0])) / max(1, int((want > 0).sum()))
            for have, want in zip(found, true, strict=True)
        ]
        recalls[f"index_recall_at_{k}"] = float(np.mean(shares)) if shares else 1.0
    return note.model_copy(update=recalls)
