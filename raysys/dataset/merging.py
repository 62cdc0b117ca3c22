"""Histories that come in blocks, each in an order of its own, brought into one order through files.

    block of users -> sorted by row and written beside the others
    range of rows  -> what all blocks have of it, laid in order and written behind the ranges before

What comes out is mapped into memory, so that nothing larger than a block or a range, some millions
of interactions, is ever held; one user's history is held whole. Each interaction is written twice
and read twice.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.arrow_file import NumbersOnDisk
from raysys.dataset.histories import Histories, offsets_of
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DatasetError

INTERACTIONS_PER_RANGE = 4 << 20


_COLUMNS = {
    "item_nums": np.int32,
    "occurred_at_us": np.int64,
    "weights": np.float32,
    "event_types": np.int16,
    "contexts": np.int64,
}
"""The arrays of `Histories` that have one value per interaction; the last three may be missing."""


@dataclass(frozen=True, slots=True)
class _Block:
    """Some users, mapped from files: their rows, (U,), ascend; offsets and columns as theirs."""

    rows: NDArray[np.int64]
    offsets: NDArray[np.int64]
    columns: dict[str, NDArray[Any]]

    def between(self, first: int, end: int) -> "_Block":
        """Return the users of rows `first` to `end`."""
        start, stop = np.searchsorted(self.rows, [first, end])
        offsets = self.offsets[start : stop + 1]
        span = slice(offsets[0], offsets[-1])
        columns = {name: values[span] for name, values in self.columns.items()}
        return _Block(self.rows[start:stop], offsets - offsets[0], columns)


def merged(
    blocks: Iterable[Histories],
    users: Vocabulary,
    work: Path,
    *,
    interactions_per_range: int = INTERACTIONS_PER_RANGE,
) -> Histories:
    """Return the histories of all users of a vocabulary, in the order of their numbers.

    Args:
        blocks: whole users, each in one block only, and all in `users`. They are read once.
        work: a directory for the files; it may be removed when this returns, they stay mapped.
        interactions_per_range: about how many are in memory at a time.

    Raises:
        DatasetError: a block has a user whom the vocabulary lacks.
    """
    written, vocabulary_hash = [], ""
    for block in blocks:
        written.append(_write_block(block, users, work))
        vocabulary_hash = block.vocabulary_hash
    names = {tuple(block.columns) for block in written} or {("item_nums", "occurred_at_us")}
    if len(names) > 1:
        raise ValueError("Histories with different columns cannot be joined.")
    total = sum(int(block.offsets[-1]) for block in written)
    step = max(1, len(users) * interactions_per_range // max(total, 1))
    joined = _Joined(names.pop(), work)
    for first in range(0, len(users), step):
        end = min(first + step, len(users))
        joined.append([block.between(first, end) for block in written], end - first, first)
    columns = joined.columns()
    return Histories(
        users.ids,
        columns.pop("offsets"),
        **columns,
        vocabulary_hash=vocabulary_hash,
        _lookups=[users.lookup],
    )


def _write_block(block: Histories, users: Vocabulary, work: Path) -> _Block:
    rows = users.numbers(block.user_ids).astype(np.int64) - 1
    if (rows < 0).any():
        unknown = block.user_ids[int(np.flatnonzero(rows < 0)[0])].as_py()
        raise DatasetError(
            f"A shard has interactions of the user {unknown!r}, whom the dataset's vocabulary of "
            f"users lacks, so they were not written together. Import the log again."
        )
    order = np.argsort(rows)
    if (order[1:] < order[:-1]).any():
        rows, block = rows[order], block.take(order)
    values = {name: getattr(block, name) for name in _COLUMNS}
    columns = {name: _on_disk(each, work) for name, each in values.items() if each is not None}
    return _Block(_on_disk(rows, work), _on_disk(block.offsets, work), columns)


class _Joined:
    """The users so far, in files."""

    def __init__(self, names: Sequence[str], work: Path) -> None:
        self._offsets = _new_column(np.dtype(np.int64), work)
        self._offsets.append(np.zeros(1, np.int64))
        self._columns = {name: _new_column(np.dtype(_COLUMNS[name]), work) for name in names}
        self._num_interactions = 0

    def append(self, blocks: Sequence[_Block], num_users: int, first: int) -> None:
        """Append the users from row `first` on, of whom each block has some."""
        lengths = np.zeros(num_users, np.int64)
        for block in blocks:
            lengths[block.rows - first] = np.diff(block.offsets)
        offsets = offsets_of(lengths)
        places = [_places(block, offsets[block.rows - first]) for block in blocks]
        for name, column in self._columns.items():
            values = np.zeros(offsets[-1], _COLUMNS[name])
            for block, where in zip(blocks, places, strict=True):
                values[where] = block.columns[name]
            column.append(values)
        self._offsets.append(offsets[1:] + self._num_interactions)
        self._num_interactions += int(offsets[-1])

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the arrays of `Histories`, mapped."""
        written = {"offsets": self._offsets, **self._columns}
        return {name: column.column().to_numpy() for name, column in written.items()}


def _places(block: _Block, starts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return where each interaction goes, (T,), if each user's first goes to `starts`, (U,)."""
    lengths = np.diff(block.offsets)
    return np.repeat(starts - block.offsets[:-1], lengths) + np.arange(block.offsets[-1])


def _on_disk(values: NDArray[Any], work: Path) -> NDArray[Any]:
    column = _new_column(values.dtype, work)
    column.append(values)
    mapped: NDArray[Any] = column.column().to_numpy()
    return mapped


def _new_column(dtype: np.dtype[Any], work: Path) -> NumbersOnDisk:
    return NumbersOnDisk(work / uuid.uuid4().hex, pa.from_numpy_dtype(dtype))
