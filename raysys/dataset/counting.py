"""Counts that can be added up over the shards of a dataset, in any order, in bounded memory."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

ITEM_COUNTS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("interactions", pa.int64(), nullable=False),
        pa.field("first_us", pa.int64()),  # since 1970 UTC; null: only held back in these rows
        pa.field("last_of_a_user", pa.int64(), nullable=False),  # of users with three or more
        pa.field("last_but_one", pa.int64(), nullable=False),  # of the same users
    ]
)
"""One row per item; what leave-last-out would test and validate with is counted apart."""

_COMPACTED_ROWS = 1 << 18


class ItemCounts:
    """Tables of `ITEM_COUNTS`, added up by item. Memory: a small multiple of the distinct items."""

    def __init__(self) -> None:
        self._total = ITEM_COUNTS.empty_table()
        self._added: list[pa.Table] = []

    def add(self, counts: pa.Table) -> None:
        """Take a table of `ITEM_COUNTS`, in which an item may stand more than once."""
        self._added.append(counts)
        waiting = sum(table.num_rows for table in self._added)
        if waiting > max(_COMPACTED_ROWS, self._total.num_rows):
            self._compact()

    def table(self) -> pa.Table:
        """Return one row per item, in no order that may be relied on."""
        self._compact()
        return self._total

    def _compact(self) -> None:
        sums = ("interactions", "last_of_a_user", "last_but_one")
        grouped = (
            pa.concat_tables([self._total, *self._added])
            .group_by("item_id", use_threads=False)
            .aggregate([("first_us", "min"), *((name, "sum") for name in sums)])
        )
        names = {"first_us_min": "first_us", **{f"{name}_sum": name for name in sums}}
        renamed = grouped.rename_columns([names.get(name, name) for name in grouped.column_names])
        self._total = renamed.select(ITEM_COUNTS.names).cast(ITEM_COUNTS)
        self._added = []


@dataclass(slots=True)
class ValueCounts:
    """How often each value stands in a column, as long as there are at most `limit` of them."""

    limit: int
    counts: Counter[Any] = field(default_factory=Counter)
    is_complete: bool = True
    """False once there were more distinct values; then `counts` is empty."""

    def add_column(self, column: pa.Array | pa.ChunkedArray) -> None:
        """Count a column's values; nulls do not count."""
        if not self.is_complete:
            return
        found = pc.value_counts(column.drop_null())
        if len(found) > self.limit:
            self._give_up()
            return
        values, counts = found.field("values").to_pylist(), found.field("counts").to_pylist()
        self._add(Counter(dict(zip(values, counts, strict=True))))

    def add(self, other: "ValueCounts") -> None:
        """Add what another column's part holds."""
        if not other.is_complete:
            self._give_up()
        elif self.is_complete:
            self._add(other.counts)

    def most_common(self) -> list[tuple[Any, int]]:
        """Return values and counts, the most frequent first, ties by value."""
        return sorted(self.counts.items(), key=lambda pair: (-pair[1], pair[0]))

    def _add(self, counts: Counter[Any]) -> None:
        self.counts.update(counts)
        if len(self.counts) > self.limit:
            self._give_up()

    def _give_up(self) -> None:
        self.is_complete = False
        self.counts = Counter()


@dataclass(slots=True)
class ColumnProfile:
    """What a column holds, as far as its lowest and highest value tell."""

    rows: int = 0
    nulls: int = 0
    lowest: Any = None
    highest: Any = None

    def add_column(self, column: pa.Array | pa.ChunkedArray) -> None:
        """Take a part of the column; NaN is no value."""
        if pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
        ends = pc.min_max(column).as_py() if len(column) else {"min": None, "max": None}
        self.add(ColumnProfile(len(column), column.null_count, ends["min"], ends["max"]))

    def add(self, other: "ColumnProfile") -> None:
        """Add what another part of the column holds."""
        self.rows += other.rows
        self.nulls += other.nulls
        if other.lowest is None:
            return
        self.lowest = other.lowest if self.lowest is None else min(self.lowest, other.lowest)
        self.highest = other.highest if self.highest is None else max(self.highest, other.highest)

    @property
    def is_empty(self) -> bool:
        """Whether there is no value in it."""
        return self.nulls == self.rows

    @property
    def is_constant(self) -> bool:
        """Whether every row has the same value; a missing value is one of its own."""
        return not self.is_empty and not self.nulls and bool(self.lowest == self.highest)


def add_profiles(total: dict[str, ColumnProfile], added: dict[str, ColumnProfile]) -> None:
    """Add the columns of one part of a table to those of the others."""
    for name, profile in added.items():
        total.setdefault(name, ColumnProfile()).add(profile)
