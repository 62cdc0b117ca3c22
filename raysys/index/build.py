"""Build the index of a release from the embeddings of its whole catalogue."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import faiss
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys import storage
from raysys.config import IndexConfig
from raysys.errors import ConfigError
from raysys.hashing import stable_hashes
from raysys.index import kinds
from raysys.index.choice import Choice, choices
from raysys.index.effort import Knobs
from raysys.index.files import (
    NOTE_NAME,
    IndexNote,
    nums_name,
    partition_names,
    searchable_name,
    vectors_name,
)
from raysys.index.shard import Shard, open_partitions
from raysys.index.tuning import Truth, Tuned, queries_per_s, tuned, with_effort
from raysys.logs.call import Call, RunCalls, run_here

_WORTH_A_TASK = 1 << 20  # numbers (items x width); less is built before a task has started


@dataclass(frozen=True, slots=True)
class BuildPartition:
    """Make one partition searchable, from the vectors that lie in the directory; a `Call`."""

    directory: Path
    number: int
    factory: str

    def run(self) -> Iterator["Built"]:
        vectors = np.load(self.directory / vectors_name(self.number), allow_pickle=False)
        with kinds.one_thread():  # partitions are built side by side, and a graph in one order
            index = kinds.make_index(self.factory, vectors)
            obeys = kinds.obeys_selectors(index, vectors[0]) if len(vectors) else True
        faiss.write_index(index, str(self.directory / searchable_name(self.number)))
        keeps_vectors = kinds.keeps_vectors(index)
        yield Built(kinds.is_exact(index), keeps_vectors, obeys, kinds.knobs(index))


@dataclass(frozen=True, slots=True)
class Built:
    """What `BuildPartition` reports of a partition."""

    is_exact: bool
    keeps_vectors: bool
    obeys_selectors: bool
    knobs: Knobs


def build_partitions(
    directory: Path,
    embeddings: NDArray[np.float32],
    item_ids: Sequence[str] | pa.StringArray,
    config: IndexConfig,
    vocabulary: str,
    *,
    queries: NDArray[np.float32] | None = None,
    run: RunCalls = run_here,
) -> IndexNote:
    """Write every file of a release's `index` directory.

    An item's partition depends on its id and the number of partitions alone, so it stays where it
    is when other items come and go. The same vectors give the same files, byte by byte, wherever
    they are built; the note has times beside.

    Args:
        directory: the `index` directory of a release draft; made if it is not there.
        embeddings: (N, D) float32; row r belongs to item number r + 1.
        item_ids: (N,) in the same order.
        vocabulary: hash of the item vocabulary.
        queries: (B, D) real query vectors, by which an approximate kind is tuned and measured
            against exact search. Item vectors stand in where there are none.
        run: builds partitions; `logs.calls.run_calls` does side by side, if the directory is on
            storage that all nodes share.

    Raises:
        ConfigError: FAISS cannot build the kind from these vectors, or the kind that the settings
            name does not find as much as `min_recall` asks for.
    """
    if len(embeddings) != len(item_ids):
        raise ValueError(f"{len(embeddings)} embeddings do not fit {len(item_ids)} item ids.")
    directory.mkdir(parents=True, exist_ok=True)
    ids = item_ids.to_pylist() if isinstance(item_ids, pa.Array) else item_ids
    _write_vectors(directory, embeddings, ids, config.num_partitions)
    if embeddings.size < _WORTH_A_TASK:
        run = run_here
    asked = embeddings if queries is None or not len(queries) else queries
    truth: Truth | None = None
    missed: list[str] = []
    for choice in choices(len(embeddings), embeddings.shape[1], config):
        started = time.perf_counter()
        built = _built(directory, choice, config.num_partitions, run)
        note = _note(choice, built, embeddings.shape, config.num_partitions, vocabulary, missed)
        shard = open_partitions(directory, range(note.num_partitions), note)
        if not note.is_exact:
            truth = truth or Truth.of(asked, embeddings)
            found = tuned(shard, _knobs_of_all(built), truth, config.min_recall)
            if not found.is_enough:
                missed.append(_miss(choice, found, config))
                continue
            shard = with_effort(shard, found.effort)
            note = _with_tuned(note, found)
        return _finished(directory, note, shard, asked, started)
    raise ConfigError(
        f"{' '.join(missed)} Nothing was published. Use index.factory auto or Flat, a kind that "
        f"keeps more of each vector, a smaller index.num_partitions, or a lower index.min_recall."
    )


def _write_vectors(
    directory: Path, embeddings: NDArray[np.float32], ids: Sequence[str], num_partitions: int
) -> None:
    partition_of_item = stable_hashes(ids) % np.uint64(num_partitions)
    for number in range(num_partitions):
        rows = np.flatnonzero(partition_of_item == number)
        vectors = np.ascontiguousarray(embeddings[rows], dtype=np.float32)
        np.save(directory / nums_name(number), (rows + 1).astype(np.int32))
        np.save(directory / vectors_name(number), vectors)


def _built(directory: Path, choice: Choice, num_partitions: int, run: RunCalls) -> list[Built]:
    calls: list[Call] = [
        BuildPartition(directory, number, choice.factory) for number in range(num_partitions)
    ]
    return list(run(calls))


def _knobs_of_all(built: Sequence[Built]) -> Knobs:
    """Return the settings of the partition that has most lists; `Effort` holds for them all."""
    return max((each.knobs for each in built), key=lambda knobs: knobs.num_lists)


def _note(
    choice: Choice,
    built: Sequence[Built],
    shape: tuple[int, ...],
    num_partitions: int,
    vocabulary: str,
    missed: Sequence[str],
) -> IndexNote:
    return IndexNote(
        factory=choice.factory,
        why=" ".join([*missed, f"{choice.factory}: {choice.why}."]),
        vocabulary=vocabulary,
        num_items=shape[0],
        num_partitions=num_partitions,
        embedding_dim=shape[1],
        is_exact=all(each.is_exact for each in built),
        keeps_vectors=all(each.keeps_vectors for each in built),
        supports_selectors=all(each.obeys_selectors for each in built),
        queries_per_s=0.0,
        bytes_per_item=0.0,
        build_seconds=0.0,
    )


def _with_tuned(note: IndexNote, found: Tuned) -> IndexNote:
    return note.model_copy(
        update={
            "effort": found.effort,
            "index_recall_at_10": found.recall_at_10,
            "index_recall_at_100": found.recall_at_100,
            "num_measured_queries": found.num_queries,
        }
    )


def _miss(choice: Choice, found: Tuned, config: IndexConfig) -> str:
    return (
        f"{choice.factory} reaches recall@10 {found.recall_at_10:.3f} and recall@100 "
        f"{found.recall_at_100:.3f} at its most thorough ({found.effort}), but index.min_recall is "
        f"{config.min_recall:g}."
    )


def _finished(
    directory: Path,
    note: IndexNote,
    shard: Shard,
    asked: NDArray[np.float32],
    started: float,
) -> IndexNote:
    """Remove what the kind does not need, measure the rest, and write the note."""
    numbers = range(note.num_partitions)
    if note.keeps_vectors:
        for number in numbers:
            (directory / vectors_name(number)).unlink()
    names = [
        name
        for number in numbers
        for name in partition_names(number, keeps_vectors=note.keeps_vectors)
    ]
    num_bytes = sum((directory / name).stat().st_size for name in names)
    with kinds.one_thread():
        speed = queries_per_s(shard, asked)
    note = note.model_copy(
        update={
            "queries_per_s": speed,
            "bytes_per_item": num_bytes / max(1, note.num_items),
            "build_seconds": time.perf_counter() - started,
        }
    )
    storage.write_json(directory / NOTE_NAME, note.model_dump(mode="json"))
    return note
