"""Ids outside, numbers inside.

An id is what the outside calls an item or a user. Its number is the row of every embedding table
and index inside: 0 is the unknown row, the first known id has number 1. Everything that holds
numbers also holds the `hash` of the vocabulary that they belong to.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.errors import DatasetError, UnknownIdError
from raysys.hashing import sha256_of_texts, stable_hashes
from raysys.logs.distinct import sorted_ids
from raysys.lookup import RowLookup, Texts, iterate, open_vocabulary, save_vocabulary


@dataclass(frozen=True, slots=True, eq=False)
class Vocabulary:
    """The distinct ids of one kind, numbered. `len` counts the known ids, not the unknown row."""

    ids: pa.StringArray
    """(N,); the id in row r has number r + 1."""
    hash: str
    """Hex SHA-256 over the ids in order: two vocabularies with one hash number alike."""
    lookup: RowLookup
    """From an id to its row."""

    @classmethod
    def from_ids(cls, ids: Iterable[str] | pa.Array | pa.ChunkedArray) -> "Vocabulary":
        """Number the distinct ids in ascending order of their UTF-8 bytes."""
        distinct = _distinct_sorted(ids)
        return cls(distinct, sha256_of_texts(iterate(distinct)), RowLookup.build(distinct))

    def __len__(self) -> int:
        return len(self.ids)

    def numbers(self, ids: Texts, *, num_buckets: int = 0) -> NDArray[np.int32]:
        """Return the number of each id, (B,); 0 for every id that is not known, and for null.

        Args:
            num_buckets: if there are any, an unknown id has one of the last rows of a table with
                1 + len + num_buckets rows, chosen by a hash of the id. They are counted from the
                end, so that an id has the same bucket however many ids are known.
        """
        numbers = (self.lookup.rows(ids) + 1).astype(np.int32)
        if num_buckets:
            texts = ids.to_pylist() if isinstance(ids, pa.Array | pa.ChunkedArray) else ids
            unknown = [
                row for row in np.flatnonzero(numbers == 0).tolist() if texts[row] is not None
            ]
            hashes = stable_hashes(texts[row] for row in unknown)
            buckets = (hashes % np.uint64(num_buckets)).astype(np.int32)
            numbers[unknown] = len(self) + num_buckets - buckets
        return numbers

    def number(self, id: str) -> int:
        """Return the number of a known id; UnknownIdError, naming it, for any other."""
        number = int(self.numbers([id])[0])
        if not number:
            raise UnknownIdError(
                f"The id {id!r} is not among the {len(self):,} ids of this vocabulary, so nothing "
                f"has been learnt about it. Check its spelling, or train again on a log with it."
            )
        return number

    def ids_of(self, nums: Sequence[int] | NDArray[np.integer]) -> list[str]:
        """Return the id of each number; UnknownIdError for 0 and for numbers never given."""
        numbers = np.asarray(nums, dtype=np.int64)
        outside = numbers[(numbers < 1) | (numbers > len(self))]
        if len(outside):
            raise UnknownIdError(
                f"Number {outside[0]} belongs to no id: this vocabulary gave the numbers 1 to "
                f"{len(self)}, and 0 stands for everything unknown. The numbers come from another "
                f"vocabulary, or padding was not removed."
            )
        ids: list[str] = self.ids.take(pa.array(numbers - 1)).to_pylist()
        return ids

    def save(self, path: Path) -> None:
        """Write one Arrow IPC file that `open` maps into memory."""
        save_vocabulary(path, self.lookup)

    @classmethod
    def open(cls, path: Path) -> "Vocabulary":
        """Map a saved vocabulary into memory, reading none of its ids yet.

        Raises:
            DatasetError: the file is missing, cut short, or not a vocabulary.
        """
        lookup, digest = open_vocabulary(path)
        return cls(lookup.texts, digest, lookup)


def _distinct_sorted(ids: Iterable[str] | pa.Array | pa.ChunkedArray) -> pa.StringArray:
    if not isinstance(ids, pa.Array | pa.ChunkedArray):
        ids = pa.array(list(ids), type=pa.string())
    distinct = pc.unique(ids)
    if distinct.null_count:
        raise DatasetError(
            "A vocabulary was asked to number a null id, which would stand for every unknown one. "
            "Leave rows without an id out first, as an import does."
        )
    if distinct.type != pa.string():
        distinct = distinct.cast(pa.string())
    return sorted_ids(distinct)
