"""A declared column in categories: a value of it is a small number that an embedding can stand for.

Category 0 of a column is everything missing or unknown, in training as at serving, so that a model
has an answer for it. Strings, truth values and categorical integers have a category for each of the
most frequent values, other numbers one for each range of values.

Letters for shapes:
    R  rows    V  values of all of them in one column, V >= R
"""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from raysys.dataset.histories import offsets_of
from raysys.logs.schema import Field, ValueType

MISSING = 0
"""The category of a value that is missing, or that was not seen when the categories were made."""

_SAMPLED_VALUES = 100_000  # of a numeric column, for its ranges
_MAX_COUNTED = 1 << 20  # distinct values of a column that are counted at a time
_NUMBERS = (ValueType.INT, ValueType.LONG, ValueType.FLOAT, ValueType.DOUBLE)


class Categories(NamedTuple):
    """What one column says of R rows, as an embedding bag takes it.

    Attributes:
        nums: (V,) int32 categories.
        offsets: (R + 1,) int64; row r has those from offsets[r] to offsets[r + 1], at least one.
    """

    nums: NDArray[np.int32]
    offsets: NDArray[np.int64]


class CategoryColumn(BaseModel):
    """The categories of one column.

    Attributes:
        values: value number i has category i + 1. Empty where the column has ranges.
        edges: ascending; range number i ends before edge i and has category i + 1.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    type: ValueType
    has_ranges: bool
    values: tuple[str, ...] = ()
    edges: tuple[float, ...] = ()

    @property
    def num_categories(self) -> int:
        """How many categories there are, `MISSING` among them."""
        return 2 + len(self.edges) if self.has_ranges else 1 + len(self.values)

    def encode(self, values: pa.Array) -> Categories:
        """Return the categories of a column of the declared type, (R,)."""
        if not self.has_ranges:
            return _categories_of(values, pa.array(self.values, pa.string()))
        numbers = values.cast(pa.float64()).to_numpy(zero_copy_only=False)
        nums = 1 + np.searchsorted(np.array(self.edges), numbers, side="right")
        nums[np.isnan(numbers)] = MISSING
        return Categories(nums.astype(np.int32), np.arange(len(numbers) + 1))


class CategoryFit:
    """Finds the categories of one column, in one pass over its values.

    Memory: up to a million distinct values, or a sample of the numbers. Where a column has more
    distinct values, the rarer half of those counted so far is forgotten, so that counts of rare
    values are too low.

    Args:
        max_categories: how many values are told apart, the most frequent ones; among equally
            frequent ones the first by UTF-8 bytes.
        min_rows: cells in which a value must stand to be told apart.
        num_ranges: ranges of numbers, at most; each holds about as many rows.
    """

    def __init__(
        self, field: Field, *, max_categories: int, min_rows: int, num_ranges: int, seed: int
    ) -> None:
        self._field = field
        self._max_categories = max_categories
        self._min_rows = min_rows
        self._num_ranges = num_ranges
        self._counts: Counter[str] = Counter()
        self._sample = NumberSample(seed)

    def add(self, values: pa.Array) -> None:
        """Take some values of the declared type."""
        if is_measured(self._field):
            self._sample.add(values.cast(pa.float64()).to_numpy(zero_copy_only=False))
            return
        self._counts.update(_counted(values))
        if len(self._counts) > _MAX_COUNTED:
            self._counts = Counter(dict(_ranked(self._counts)[: _MAX_COUNTED // 2]))

    def column(self) -> CategoryColumn:
        """Return what was found."""
        name, kind = self._field.name, self._field.type
        if is_measured(self._field):
            edges = self._sample.edges(self._num_ranges)
            return CategoryColumn(name=name, type=kind, has_ranges=True, edges=edges)
        ranked = _ranked(self._counts)[: self._max_categories]
        values = tuple(sorted(value for value, count in ranked if count >= self._min_rows))
        return CategoryColumn(name=name, type=kind, has_ranges=False, values=values)


class NumberSample:
    """A sample of the numbers of a column, every number with the same chance."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._values = np.empty(0)
        self._draws = np.empty(0)

    def add(self, numbers: NDArray[np.float64]) -> None:
        """Take some numbers; nan is none."""
        numbers = numbers[~np.isnan(numbers)]
        values = np.concatenate([self._values, numbers])
        draws = np.concatenate([self._draws, self._generator.random(len(numbers))])
        kept = np.argsort(draws, kind="stable")[:_SAMPLED_VALUES]
        self._values, self._draws = values[kept], draws[kept]

    def edges(self, num_ranges: int) -> tuple[float, ...]:
        """Return what divides the numbers into ranges of about the same size."""
        if not len(self._values):
            return ()
        shares = np.arange(1, num_ranges) / num_ranges
        found = np.unique(np.quantile(self._values, shares, method="inverted_cdf"))
        return tuple(float(edge) for edge in found if edge > self._values.min())

    def mean_and_scale(self) -> tuple[float, float]:
        """Return mean and standard deviation; the latter is 0 where numbers do not differ."""
        if not len(self._values):
            return 0.0, 0.0
        return float(self._values.mean()), float(self._values.std())


def is_measured(field: Field) -> bool:
    """Return whether the values are numbers that can be compared, not names of categories."""
    return field.type in _NUMBERS and not field.is_categorical


def plain_name(name: str) -> str:
    """Return one form for the ways to write a name: DEVICE_TYPE, device_type, deviceType."""
    return name.replace("_", "").lower()


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _parts(values: pa.Array) -> tuple[pa.Array, NDArray[np.int64]]:
    """Return the values of all cells, and for each the row that it is of; "" where there is none.

    A string holds several values, with `|` between them.
    """
    is_text = pa.types.is_string(values.type)
    texts = pc.fill_null(values.cast(pa.string()), "")
    cells = pc.split_pattern(texts, "|" if is_text else "\0")
    rows = np.repeat(np.arange(len(cells)), pc.list_value_length(cells).to_numpy())
    return pc.list_flatten(cells), rows


def _counted(values: pa.Array) -> dict[str, int]:
    parts, _ = _parts(values)
    counts = {one["values"]: one["counts"] for one in pc.value_counts(parts).to_pylist()}
    counts.pop("", None)
    return counts


def _categories_of(values: pa.Array, known: pa.StringArray) -> Categories:
    parts, rows = _parts(values)
    nums = pc.fill_null(pc.index_in(parts, value_set=known), -1).to_numpy().astype(np.int32) + 1
    is_value = pc.not_equal(parts, "").to_numpy(zero_copy_only=False)
    is_without = np.bincount(rows[is_value], minlength=len(values)) == 0
    is_first = np.diff(rows, prepend=-1) > 0
    is_kept = is_value | (is_first & is_without[rows])
    sizes = np.bincount(rows[is_kept], minlength=len(values))
    return Categories(nums[is_kept], offsets_of(sizes))
