"""The context of interactions in numbers: each declared column becomes categories.

The same value is the same category whether it comes from a shard or, as a text, from a request.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.categories import (
    Categories,
    CategoryColumn,
    CategoryFit,
    plain_name,
)
from raysys.dataset.kept_as_json import KeptAsJson
from raysys.logs.metadata import parse_metadata
from raysys.logs.schema import Field


class ContextEncoder(KeptAsJson):
    """The categories of every context column of a dataset; `fit_context` makes one."""

    columns: tuple[CategoryColumn, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many categories each column has, `MISSING` among them."""
        return tuple(column.num_categories for column in self.columns)

    @property
    def column_names(self) -> tuple[str, ...]:
        """What the columns are called in a dataset's shards; some shards may lack one."""
        return tuple(column.name.lower() for column in self.columns)

    def codes(self, interactions: pa.Table) -> NDArray[np.int64]:
        """Return one number for the context of each interaction, (R,).

        Its digits are the categories of the columns, the first column's the lowest, each to the
        base of its column's size. Of several values in a cell the first counts. 0: all is missing.
        """
        found = self.encode(interactions).values()
        return self._codes([each.nums[each.offsets[:-1]].astype(np.int64) for each in found])

    def code_of_request(self, context: Mapping[str, str]) -> int:
        """Return the code of one request's context."""
        nums = [np.array(nums[:1], np.int64) for nums in self.encode_request(context).values()]
        return int(self._codes(nums)[0]) if nums else 0

    def _codes(self, columns: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        codes = np.zeros(len(columns[0]) if columns else 0, np.int64)
        base = 1
        for nums, size in zip(columns, self.sizes, strict=True):
            codes += nums * base
            base *= size
        return codes

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
        given = {plain_name(name): value for name, value in context.items()}
        found = {}
        for one in self.columns:
            text = pa.array([given.get(plain_name(one.name))], pa.string())
            field = Field(one.name, one.type, is_nullable=True, is_categorical=not one.has_ranges)
            values, codes = parse_metadata(text, field)
            usable = pa.nulls(1, values.type) if codes[0] else values
            found[one.name.lower()] = one.encode(usable).nums.tolist()
        return found


NO_CONTEXT = ContextEncoder()


def fit_context(
    interactions: Iterable[pa.Table],
    fields: Sequence[Field],
    *,
    max_categories: int = 1_000,
    num_ranges: int = 32,
    seed: int = 0,
) -> ContextEncoder:
    """Find the categories of context columns in one pass over interactions.

    Memory: that of a `CategoryFit` for each column. The same tables in the same order give the same
    categories.

    Args:
        fields: of the dataset's context, see `Dataset.context_fields`.
        max_categories: how many values of a column are told apart, the most frequent ones; among
            equally frequent ones the first by UTF-8 bytes. Of five columns, the most that a schema
            has, the codes fit 64 bits up to 6,000.
        num_ranges: ranges of numbers, at most; each holds about as many interactions.
    """
    fits = {
        field.column: CategoryFit(
            field, max_categories=max_categories, min_rows=1, num_ranges=num_ranges, seed=seed
        )
        for field in fields
    }
    for table in interactions:
        for column, fit in fits.items():
            if column in table.column_names:
                fit.add(table.column(column).combine_chunks())
    return ContextEncoder(columns=tuple(fit.column() for fit in fits.values()))
