"""For each row some of F features, each with a value: what a tower makes an embedding of.

The features of row r are `nums[offsets[r]:offsets[r + 1]]`, their values lie beside them: the rows
of a sparse matrix. Nothing here loops over rows.

Letters for shapes:
    R  rows    V  features of all rows    F  features that there are
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys import arrow_file
from raysys.arrow_file import NumbersOnDisk
from raysys.dataset.histories import offsets_of, rows_of_offsets

_KIND = "features"
_LISTS = (("nums", pa.int32()), ("values", pa.float32()))
_SCHEMA = pa.schema(
    [
        pa.field(name, pa.large_list(pa.field("item", kind, nullable=False)), nullable=False)
        for name, kind in _LISTS
    ]
)


@dataclass(frozen=True, slots=True, eq=False)
class Bags:
    """R rows. Arrays of an opened file are read-only."""

    nums: NDArray[np.int32]
    """(V,), each from 0 to F - 1, ascending within a row."""
    values: NDArray[np.float32]
    """(V,)"""
    offsets: NDArray[np.int64]
    """(R + 1,), from 0 to V."""

    @classmethod
    def empty(cls, num_rows: int = 0) -> "Bags":
        """Return rows without features."""
        none = np.zeros(num_rows + 1, np.int64)
        return cls(np.zeros(0, np.int32), np.zeros(0, np.float32), none)

    @classmethod
    def side_by_side(cls, parts: Sequence["Bags"], num_rows: int) -> "Bags":
        """Return rows that have the features of all parts, which have `num_rows` rows each."""
        rows = [rows_of_offsets(part.offsets) for part in parts]
        every = np.concatenate([np.zeros(0, np.int64), *rows])
        order = np.argsort(every, kind="stable")
        nums = np.concatenate([np.zeros(0, np.int32), *(part.nums for part in parts)])
        values = np.concatenate([np.zeros(0, np.float32), *(part.values for part in parts)])
        sizes = np.bincount(every, minlength=num_rows)
        return cls(nums[order], values[order], offsets_of(sizes))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def take(self, rows: NDArray[np.integer]) -> "Bags":
        """Return the given rows, in that order."""
        starts = self.offsets[rows]
        sizes = self.offsets[rows + 1] - starts
        offsets = offsets_of(sizes)
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], sizes)
        return Bags(self.nums[places], self.values[places], offsets)

    def projected(self, layers: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return what the layers of a trained tower make of each row, (R, D).

        Row by row and in one order, so that a row gives the same bits in any company.

        Args:
            layers: see `raysys.models.features.Projection.as_arrays`.
        """
        features, bias, *deeper = layers
        found = np.empty((len(self), layers[-1].shape[-1]))
        for row, (start, end) in enumerate(zip(self.offsets[:-1], self.offsets[1:], strict=True)):
            values = self.values[start:end, None].astype(np.float64)
            vector = (features[self.nums[start:end]] * values).sum(axis=0) + bias
            for weight, shift in zip(deeper[::2], deeper[1::2], strict=True):
                vector = np.maximum(vector, 0) @ weight + shift
            found[row] = vector
        return found

    @classmethod
    def open(cls, path: Path) -> "Bags":
        """Map what `save_bags` wrote (DatasetError: it cannot be read)."""
        batch, _ = arrow_file.open(path, _KIND, _SCHEMA)
        nums, values = batch.columns
        offsets = nums.offsets.to_numpy(zero_copy_only=True)
        return cls(nums.values.to_numpy(), values.values.to_numpy(), offsets)


def save_bags(blocks: Iterable[Bags], path: Path, work: Path) -> None:
    """Write rows that come block by block into one file that `Bags.open` maps.

    Args:
        work: a directory for what is written before the file is. Memory: a block, and the offsets.
    """
    columns = [NumbersOnDisk(work / name, kind) for name, kind in _LISTS]
    offsets, end = [np.zeros(1, np.int64)], 0
    for block in blocks:
        columns[0].append(block.nums)
        columns[1].append(block.values)
        offsets.append(block.offsets[1:] + end)
        end += len(block.nums)
    borders = pa.array(np.concatenate(offsets))
    lists = [
        pa.LargeListArray.from_arrays(borders, column.column()).cast(field.type)
        for column, field in zip(columns, _SCHEMA, strict=True)
    ]
    arrow_file.save(path, _KIND, _SCHEMA, lists)
