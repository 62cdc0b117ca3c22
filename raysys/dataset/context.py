"""The context of interactions in numbers: each declared column becomes categories.

Category 0 of a column is everything missing or unknown, in training as at serving, so that a model
has an answer for it. Strings, truth values and categorical integers have a category for each of the
most frequent values, other numbers one for each range of values. The same value is the same
category whether it comes from a shard or, as a text, from a request.

Letters for shapes:
    R  interactions    V  values of all of them in one column, V >= R
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from raysys import storage
from raysys.dataset.histories import offsets_of
from raysys.logs.metadata import parse_metadata
from raysys.logs.schema import Field, ValueType

MISSING = 0
"""The category of a value that is missing, or that was not seen when the categories were made."""

_SAMPLED_VALUES = 100_000  # of a numeric column, for its ranges
_NUMBERS = (ValueType.INT, ValueType.LONG, ValueType.FLOAT, ValueType.DOUBLE)


class Categories(NamedTuple):
    """What one column says of R interactions, as an embedding bag takes it.

    Attributes:
        nums: (V,) int32 categories.
        offsets: (R + 1,) int64; interaction r has those from offsets[r] to offsets[r + 1], at least
            one.
    """

    nums: NDArray[np.int32]
    offsets: NDArray[np.int64]


class ContextColumn(BaseModel):
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


class ContextEncoder(BaseModel):
    """The categories of every context column of a dataset; `fit_context` makes one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: tuple[ContextColumn, ...]

    def encode(self, interactions: pa.Table) -> dict[str, Categories]:
        """Return the categories of interactions by column, in small letters.

        A column that the table lacks is missing in every row.
        """
        found = {}
        for one in self.columns:
            name = one.name.lower()
            if name in interactions.column_names:
                values = interactions.column(name).combine_chunks()
            else:
                values = pa.nulls(interactions.num_rows, one.type.arrow)
            found[name] = one.encode(values)
        return found

    def encode_request(self, context: Mapping[str, str]) -> dict[str, list[int]]:
        """Return the categories of one request's context by column.

        Args:
            context: texts by name; case and underscores of a name do not count, so that
                `deviceType` is DEVICE_TYPE. Names of no column are passed over.
        """
        given = {_plain(name): value for name, value in context.items()}
        found = {}
        for one in self.columns:
            text = pa.array([given.get(_plain(one.name))], pa.string())
            field = Field(one.name, one.type, is_nullable=True, is_categorical=not one.has_ranges)
            values, codes = parse_metadata(text, field)
            usable = pa.nulls(1, values.type) if codes[0] else values
            found[one.name.lower()] = one.encode(usable).nums.tolist()
        return found

    def save(self, path: Path) -> None:
        """Write a JSON file that `open` reads."""
        storage.write_json(path, self.model_dump(mode="json"))

    @classmethod
    def open(cls, path: Path) -> "ContextEncoder":
        """Read what `save` wrote."""
        return cls.model_validate(storage.read_json(path))


def fit_context(
    interactions: Iterable[pa.Table],
    fields: Sequence[Field],
    *,
    max_categories: int = 10_000,
    num_ranges: int = 32,
    seed: int = 0,
) -> ContextEncoder:
    """Find the categories of context columns in one pass over interactions.

    Memory: the distinct values of the categorical columns, and a sample of the other numbers. The
    same tables in the same order give the same categories.

    Args:
        fields: of the dataset's context, see `Dataset.context_fields`.
        max_categories: how many values of a column are told apart, the most frequent ones; among
            equally frequent ones the first by UTF-8 bytes.
        num_ranges: ranges of numbers, at most; each holds about as many interactions.
    """
    counts: dict[str, Counter[str]] = {one.column: Counter() for one in fields if not _ranged(one)}
    samples = {one.column: _Sample(seed) for one in fields if _ranged(one)}
    for table in interactions:
        for column, counter in counts.items():
            if column in table.column_names:
                counter.update(_counted(table.column(column).combine_chunks()))
        for column, sample in samples.items():
            if column in table.column_names:
                sample.add(table.column(column).cast(pa.float64()).to_numpy())
    columns = []
    for one in fields:
        if _ranged(one):
            edges = samples[one.column].edges(num_ranges)
            columns.append(
                ContextColumn(name=one.name, type=one.type, has_ranges=True, edges=edges)
            )
        else:
            ranked = sorted(counts[one.column].items(), key=lambda pair: (-pair[1], pair[0]))
            values = tuple(sorted(value for value, _ in ranked[:max_categories]))
            columns.append(
                ContextColumn(name=one.name, type=one.type, has_ranges=False, values=values)
            )
    return ContextEncoder(columns=tuple(columns))


class _Sample:
    """A sample of the numbers of a column, every number with the same chance."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.default_rng(seed)
        self._values = np.empty(0)
        self._draws = np.empty(0)

    def add(self, numbers: NDArray[np.float64]) -> None:
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


def _ranged(field: Field) -> bool:
    return field.type in _NUMBERS and not field.is_categorical


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


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
