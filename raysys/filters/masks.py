"""Which rows of a table a rule lets through, as masks that are kept.

Letters for shapes:
    n  rows of the table
"""

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isnan
from typing import Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.categories import plain_name
from raysys.dataset.features import Properties, text_of
from raysys.errors import InvalidInputError
from raysys.filters.columns import TRUTHS, Column, check_type, column_of, meets
from raysys.filters.expression import Condition, Conditions, Constant, number_in

_MOST_BYTES = 64 << 20
_MOST_MASKS = 1024


@dataclass(frozen=True, slots=True)
class Rule:
    """Which items may be shown, by what is known of them. All values are constants."""

    include: Conditions | None = None
    """None: all; without any conditions: none."""
    exclude: Conditions = ()

    def without_includes(self) -> "Rule":
        """Return the rule that only takes away."""
        return Rule(None, self.exclude)


EVERYTHING = Rule()


class Table:
    """Columns by name, however it is written: `releaseYear` is RELEASE_YEAR.

    Args:
        rows: mapped from a file, or in memory; a column is read when a condition first does.
        places: (n,) which of the rows the table is made of. None: all.
    """

    def __init__(self, rows: pa.Table, places: NDArray[np.integer] | None = None) -> None:
        self._rows = rows
        self._places = places
        self._names: dict[str, str] = {}
        for name in rows.column_names:
            self._names.setdefault(plain_name(name), name)
        self._columns: dict[str, Column] = {}

    def __len__(self) -> int:
        return int(self._rows.num_rows) if self._places is None else len(self._places)

    def has(self, field: str) -> bool:
        """Say whether there is such a column."""
        return plain_name(field) in self._names

    def name_of(self, field: str) -> str:
        """Return the column's own name for a field.

        Raises:
            InvalidInputError: there is no such column, or it holds what cannot be compared.
        """
        name = self._names.get(plain_name(field))
        if name is None:
            known = ", ".join(sorted(each.upper() for each in self._names.values()))
            raise InvalidInputError(
                f"The filter reads {field.upper()[:80]}, of which the release knows nothing: it "
                f"has {known or 'no columns'}. Change the filter, or build a release from a table "
                f"with that column."
            )
        check_type(self._rows.schema.field(name))
        return name

    def constants(self, field: str, row: int) -> tuple[Constant, ...]:
        """Return the values of a cell, none where it is missing.

        Raises:
            InvalidInputError: there is no such column.
        """
        value = self._rows.column(self.name_of(field))[row].as_py()
        if isinstance(value, datetime):
            return (value.timestamp(),)
        if isinstance(value, str):
            return tuple(each for each in value.split("|") if each)
        return (value,) if isinstance(value, int | float) and not isnan(value) else ()

    def row(self, row: int) -> "Table":
        """Return a table of one row of the given rows."""
        return Table(self._rows.slice(row, 1))

    def row_of_nobody(self) -> "Table":
        """Return a table of one row that says nothing."""
        fields = {field.name: pa.nulls(1, field.type) for field in self._rows.schema}
        return Table(pa.table(fields))

    def check(self, conditions: Conditions) -> None:
        """Raise InvalidInputError unless there are columns for all conditions."""
        for together in conditions:
            for condition in together:
                self.name_of(condition.field)

    def mask(self, rule: Rule) -> NDArray[np.bool_]:
        """Return which rows the rule lets through, (n,)."""
        is_let = np.ones(len(self), bool) if rule.include is None else self.any_of(rule.include)
        if rule.exclude:
            is_let &= ~self.any_of(rule.exclude)
        return is_let

    def any_of(self, conditions: Conditions) -> NDArray[np.bool_]:
        """Return which rows meet all conditions of any group, (n,)."""
        is_met = np.zeros(len(self), dtype=bool)
        for together in conditions:
            is_met |= self.all_of(together)
        return is_met

    def all_of(self, conditions: Sequence[Condition]) -> NDArray[np.bool_]:
        """Return which rows meet all of the conditions, (n,)."""
        is_met = np.ones(len(self), dtype=bool)
        for condition in conditions:
            is_met &= meets(self._column(condition.field), condition)
        return is_met

    def of_properties(self, ids: Sequence[str], known: Sequence[Properties]) -> "Table":
        """Return what requests say of items as a table of the same columns.

        Args:
            ids: of the items, which stand in the first column.
            known: names of no column are passed over; what is of another type counts as missing.
        """
        given = [{plain_name(name): value for name, value in each.items()} for each in known]
        columns = {}
        for place, field in enumerate(self._rows.schema):
            texts = [text_of(each.get(plain_name(field.name))) for each in given]
            if place == 0:
                texts = list(ids)
            columns[field.name] = _typed(pa.array(texts, pa.string()), field.type)
        return Table(pa.table(columns))

    def _column(self, field: str) -> Column:
        name = self.name_of(field)
        column = self._columns.get(name)
        if column is None:
            values = self._rows.column(name)
            if self._places is not None:
                values = values.take(pa.array(self._places))
            column = self._columns[name] = column_of(values)
        return column


class Masked(Protocol):
    """Rows of which a rule lets some through."""

    def __len__(self) -> int: ...

    def mask(self, rule: Rule) -> NDArray[np.bool_]: ...


class ChangedRows:
    """A table some of whose rows hold something else by now, and some of which nobody may see.

    Args:
        kept: the masks of the table as it was.
        rows: (m,) those that changed.
        changed: (m,) what they hold now.
        hidden: (h,) those that no rule lets through.
    """

    def __init__(
        self,
        kept: "KeptMasks",
        rows: NDArray[np.integer],
        changed: Table,
        hidden: NDArray[np.integer],
    ) -> None:
        self._kept = kept
        self._rows = rows
        self._changed = changed
        self._hidden = hidden

    def __len__(self) -> int:
        return len(self._kept.table)

    def mask(self, rule: Rule) -> NDArray[np.bool_]:
        """Return which rows the rule lets through, (n,)."""
        is_let = self._kept.mask(rule).copy()
        if len(self._rows):
            is_let[self._rows] = self._changed.mask(rule)
        is_let[self._hidden] = False
        return is_let


class KeptMasks:
    """The masks of a table: made when they are first asked for, the latest ones kept.

    Kept are 64 MiB of them; any thread may ask.
    """

    def __init__(self, table: Masked) -> None:
        self.table = table
        self._kept: OrderedDict[Rule, NDArray[np.bool_]] = OrderedDict()
        self._most = max(1, min(_MOST_MASKS, _MOST_BYTES // max(1, len(table))))
        self._lock = threading.Lock()

    def keeps(self, rule: Rule) -> bool:
        """Say whether the mask of a rule is there from before."""
        return rule in self._kept

    def mask(self, rule: Rule) -> NDArray[np.bool_]:
        """Return which rows the rule lets through, (n,), not to be written to.

        Raises:
            InvalidInputError: it reads a column that the table does not have, or cannot compare.
        """
        with self._lock:
            found = self._kept.get(rule)
            if found is None:
                found = self._kept[rule] = self.table.mask(rule)
                found.flags.writeable = False
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
            else:
                self._kept.move_to_end(rule)
            return found


def _typed(texts: pa.Array, kind: pa.DataType) -> pa.Array:
    """Return texts as values of a column; those that spell none are missing."""
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return texts
    spelled = TRUTHS if pa.types.is_boolean(kind) else {}
    numbers = [_number(text, spelled) for text in texts.to_pylist()]
    if spelled:
        return pa.array([None if each is None else each != 0 for each in numbers], pa.bool_())
    return pa.array(numbers, pa.float64())


def _number(text: str | None, spelled: Mapping[str, int]) -> float | None:
    if text is None:
        return None
    word = spelled.get(text.lower())
    number = number_in(text) if word is None else word
    return None if number is None else float(number)
