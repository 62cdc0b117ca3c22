"""From a string to its row, over columns that may lie memory-mapped in a file.

The strings' hashes are sorted once, when the file is written; a lookup is a binary search among
them and one comparison with the real string. Opening costs nothing, so a process may hold several
catalogues of millions of ids without reading them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys import arrow_file, tables
from raysys.hashing import sha256_of_texts, stable_hashes

_KIND = "vocabulary"

_CHUNK_ROWS = 1 << 16

Texts: TypeAlias = Sequence[str] | pa.Array | pa.ChunkedArray


@dataclass(frozen=True, slots=True, eq=False)
class RowLookup:
    """Rows of distinct strings, (N,). Equal hashes of different strings are told apart."""

    texts: pa.StringArray
    sorted_hash: NDArray[np.uint64]
    sorted_row: NDArray[np.int32]

    @classmethod
    def build(cls, texts: pa.StringArray) -> "RowLookup":
        """Hash and sort all strings: about 2 microseconds each."""
        hashes = stable_hashes(iterate(texts))
        order = np.argsort(hashes, kind="stable")
        return cls(texts, hashes[order], order.astype(np.int32))

    @classmethod
    def of_columns(cls, texts: pa.StringArray, batch: pa.RecordBatch) -> "RowLookup":
        """Use the columns of a record batch, without reading them."""
        return cls(
            texts,
            batch.column("sorted_hash").to_numpy(zero_copy_only=True),
            batch.column("sorted_row").to_numpy(zero_copy_only=True),
        )

    def columns(self) -> list[pa.Array]:
        """Return the columns of `tables.LOOKUP`, to be written beside the strings."""
        return [pa.array(self.sorted_hash), pa.array(self.sorted_row)]

    def rows(self, texts: Texts) -> NDArray[np.int64]:
        """Return the row of each string, (B,); -1 where there is none. A null has none."""
        if isinstance(texts, pa.Array | pa.ChunkedArray):
            return self._rows_of_column(texts)
        return self._rows_of_texts(list(texts))

    def _rows_of_column(self, column: pa.Array | pa.ChunkedArray) -> NDArray[np.int64]:
        # A log names each id many times; every distinct one is hashed once.
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        encoded = pc.dictionary_encode(column)
        rows = np.append(self._rows_of_texts(encoded.dictionary.to_pylist()), -1)  # -1 for nulls
        indices: NDArray[np.int32] = pc.fill_null(encoded.indices, -1).to_numpy(
            zero_copy_only=False
        )
        return rows[indices]

    def _rows_of_texts(self, texts: list[str]) -> NDArray[np.int64]:
        found = np.full(len(texts), -1, dtype=np.int64)
        if not texts or not len(self.sorted_hash):
            return found
        hashes = stable_hashes(texts)
        places = np.searchsorted(self.sorted_hash, hashes)
        pending = np.arange(len(texts))
        while len(pending):
            in_range = places[pending] < len(self.sorted_hash)
            pending = pending[in_range]
            pending = pending[self.sorted_hash[places[pending]] == hashes[pending]]
            rows = self.sorted_row[places[pending]]
            stored = self.texts.take(pa.array(rows)).to_pylist()
            same = np.fromiter(
                (texts[i] == text for i, text in zip(pending, stored, strict=True)),
                dtype=bool,
                count=len(pending),
            )
            found[pending[same]] = rows[same]
            pending = pending[~same]  # another string with the same hash: look one place further
            places[pending] += 1
        return found


def save_vocabulary(path: Path, lookup: RowLookup) -> str:
    """Write the strings as a vocabulary and return its hash: SHA-256 over the ids in order."""
    digest = sha256_of_texts(iterate(lookup.texts))
    columns = [lookup.texts, *lookup.columns()]
    arrow_file.save(path, _KIND, tables.VOCABULARY, columns, hash=digest)
    return digest


def open_vocabulary(path: Path) -> tuple[RowLookup, str]:
    """Map a vocabulary into memory, reading none of its ids yet; return it with its hash.

    Raises:
        DatasetError: the file is missing, cut short, or not a vocabulary.
    """
    batch, notes = arrow_file.open(path, _KIND, tables.VOCABULARY)
    return RowLookup.of_columns(batch.column("id"), batch), notes["hash"]


def iterate(texts: pa.StringArray) -> Iterator[str]:
    """Give the strings one after the other, without a Python object for each at the same time."""
    for start in range(0, len(texts), _CHUNK_ROWS):
        yield from texts.slice(start, _CHUNK_ROWS).to_pylist()
