"""From the ids of many shards to one vocabulary: every distinct id gets a number, for good.

    shard         -> its distinct ids, ascending                       (one task a shard)
    range of ids  -> what all shards have of it, without known ids     (one task a range)
    part of all hashes -> the lookup of the vocabulary, piece by piece (one task a part)
    all pieces    -> the file, in one pass over them

Numbers follow the ids in ascending order of their UTF-8 bytes. A vocabulary that goes on from
another one keeps that one's numbers, and its own ids come behind, ascending too: so an import that
adds to a dataset appends. The result depends on the ids alone, not on shards, ranges or tasks.

A task holds the ids of one range; the last step holds none. Nothing here knows Ray: whoever calls
says how tasks are run.
"""

import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.arrow_file import NumbersOnDisk, TextsOnDisk, num_bytes_of
from raysys.logs.call import RunCalls, run_here
from raysys.logs.distinct import IDS_PER_FILE, DistinctIds, ids_between, sorted_ids
from raysys.lookup import RowLookup, open_vocabulary, save_vocabulary

IDS_PER_RANGE = IDS_PER_FILE
"""What one task holds of them, some 100 bytes for each."""

_COPIED_ROWS = 1 << 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """One vocabulary that is to be written.

    Attributes:
        distinct: what `distinct_ids` found in the shards.
        known: a vocabulary to go on from; its ids keep their numbers, seen again or not.
    """

    distinct: Sequence[DistinctIds]
    known: Path | None = None

    @property
    def num_ids(self) -> int:
        """Return how many ids there are, those of several shards counted in each."""
        return sum(one.count for one in self.distinct)


def write_vocabularies(
    wanted: Mapping[str, Wanted],
    work: Path,
    *,
    run: RunCalls = run_here,
    ids_per_range: int = IDS_PER_RANGE,
) -> dict[str, Path]:
    """Write the vocabularies and return their files, under the same names.

    Args:
        work: a directory for the files and what lies between the steps.
        run: how the tasks are run. They share the file system with this process.
        ids_per_range: at most about so many ids are in the memory of one task.
    """
    written = {}
    for name, each in wanted.items():
        if each.num_ids > ids_per_range:
            written[name] = _write(each, work, run, ids_per_range)
    small = [_WriteWhole(name, each, work) for name, each in wanted.items() if name not in written]
    return written | dict(run(small))


def write_without(vocabulary: Path, ids: Collection[str], work: Path) -> Path:
    """Write a vocabulary without some of its ids; the others move up, in their order."""
    left_out = pa.array(ids, pa.string())
    texts = open_vocabulary(vocabulary)[0].texts
    pieces = []
    for start in range(0, max(1, len(texts)), IDS_PER_RANGE):
        piece = texts.slice(start, IDS_PER_RANGE).cast(pa.string())
        kept = piece.filter(pc.invert(pc.is_in(piece, left_out)))
        pieces.append(_write_piece(kept, work))
    return _joined(pieces, work, run_here, IDS_PER_RANGE)


def _write(wanted: Wanted, work: Path, run: RunCalls, ids_per_range: int) -> Path:
    paths = [one.path for one in wanted.distinct]
    ranges = enumerate(_ranges(wanted, ids_per_range))
    calls = [_CollectRange(n, paths, *borders, wanted.known, work) for n, borders in ranges]
    collected = [path for _, path in sorted(run(calls))]
    pieces = collected if wanted.known is None else [wanted.known, *collected]
    return _joined(pieces, work, run, ids_per_range)


def _joined(pieces: Sequence[Path], work: Path, run: RunCalls, ids_per_range: int) -> Path:
    """Put vocabularies that share no id one behind the other."""
    if len(pieces) == 1:
        return pieces[0]
    total = sum(len(open_vocabulary(piece)[0].texts) for piece in pieces)
    num_parts = max(1, -(-total // ids_per_range))
    parts = range(num_parts)
    lookups = sorted(run([_MergeLookups(part, num_parts, pieces, work) for part in parts]))
    (path,) = run([_Assemble(pieces, [paths for _, *paths in lookups], work)])
    return Path(path)


def _ranges(wanted: Wanted, ids_per_range: int) -> list[tuple[str | None, str | None]]:
    """Cut all ids into ranges [low, high) of about the same size; None: without a border."""
    num_ranges = max(1, -(-wanted.num_ids // ids_per_range))
    samples = sorted(text for one in wanted.distinct for text in one.sample)
    cuts = {samples[len(samples) * place // num_ranges] for place in range(1, num_ranges)}
    borders = [None, *sorted(cuts), None]
    return list(zip(borders[:-1], borders[1:], strict=True))


@dataclass(frozen=True, slots=True)
class _WriteWhole:
    """A vocabulary whose ids one task can hold: every step here, one after the other."""

    name: str
    wanted: Wanted
    work: Path

    def run(self) -> Iterator[tuple[str, Path]]:
        yield self.name, _write(self.wanted, self.work, run_here, IDS_PER_RANGE)


@dataclass(frozen=True, slots=True)
class _CollectRange:
    """The unknown ids of one range become a vocabulary of their own."""

    number: int
    distinct: Sequence[Path]
    low: str | None
    high: str | None
    known: Path | None
    work: Path

    def run(self) -> Iterator[tuple[int, Path]]:
        parts = [ids_between(path, self.low, self.high) for path in self.distinct]
        ids = sorted_ids(pc.unique(pa.concat_arrays([pa.array([], pa.string()), *parts])))
        if self.known is not None:
            lookup, _ = open_vocabulary(self.known)
            ids = ids.filter(pa.array(lookup.rows(ids) < 0))
        yield self.number, _write_piece(ids, self.work)


@dataclass(frozen=True, slots=True)
class _MergeLookups:
    """Of all pieces the hashes of one part, ascending, and their rows, as files of numpy."""

    part: int
    num_parts: int
    pieces: Sequence[Path]
    work: Path

    def run(self) -> Iterator[tuple[int, Path, Path]]:
        first, end = (2**64 * part // self.num_parts for part in (self.part, self.part + 1))
        hashes: list[NDArray[np.uint64]] = [np.zeros(0, np.uint64)]
        rows: list[NDArray[np.int32]] = [np.zeros(0, np.int32)]
        num_before = 0
        for piece in self.pieces:
            lookup, _ = open_vocabulary(piece)
            found = lookup.sorted_hash
            begin = int(np.searchsorted(found, np.uint64(first)))
            stop = len(found) if end == 2**64 else int(np.searchsorted(found, np.uint64(end)))
            hashes.append(found[begin:stop])
            rows.append(lookup.sorted_row[begin:stop] + np.int32(num_before))
            num_before += len(lookup.texts)
        together = np.concatenate(hashes)
        order = np.argsort(together, kind="stable")  # equal hashes: the lower row first
        target = _new(self.work, "lookup")
        paths = [target.with_suffix(f".{name}.npy") for name in ("hashes", "rows")]
        np.save(paths[0], together[order])
        np.save(paths[1], np.concatenate(rows)[order])
        yield self.part, paths[0], paths[1]


@dataclass(frozen=True, slots=True)
class _Assemble:
    """The pieces' ids one after the other, with the lookups: one pass, few of them in memory."""

    pieces: Sequence[Path]
    lookups: Sequence[Sequence[Path]]
    work: Path

    def run(self) -> Iterator[Path]:
        target = _new(self.work, "vocabulary")
        found = [open_vocabulary(piece)[0].texts for piece in self.pieces]
        ids = TextsOnDisk(target.with_suffix(".ids"), sum(map(num_bytes_of, found)))
        for texts in found:
            for start in range(0, len(texts), _COPIED_ROWS):
                ids.append(texts.slice(start, _COPIED_ROWS))
        hashes = NumbersOnDisk(target.with_suffix(".hashes"), pa.uint64())
        rows = NumbersOnDisk(target.with_suffix(".rows"), pa.int32())
        for of_hashes, of_rows in self.lookups:
            hashes.append(np.load(of_hashes, mmap_mode="r"))
            rows.append(np.load(of_rows, mmap_mode="r"))
        columns = (column.column().to_numpy() for column in (hashes, rows))
        save_vocabulary(target, RowLookup(ids.column(), *columns))
        yield target


def _write_piece(ids: pa.StringArray, work: Path) -> Path:
    path = _new(work, "piece")
    save_vocabulary(path, RowLookup.build(ids))
    return path


def _new(work: Path, name: str) -> Path:
    """Return a name that no other task has, nor the first try of this one."""
    return work / f"{name}-{uuid.uuid4().hex}"
