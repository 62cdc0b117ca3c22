"""A filter as a tree of frozen values: what `grammar` makes of a text, and rules are made of."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Text = str
Number = int | float
Constant = Text | Number

ANY_EVENT_TYPE = "*"
EVENT_TYPE = "EVENT_TYPE"
"""The one field of interactions that filters know."""

Dataset = Literal["Items", "Interactions", "CurrentUser"]
Operator = Literal["IN", "NOT IN", "<", "<=", ">", ">="]
"""`=` is IN with one value, and `!=` is NOT IN."""

_LARGEST_INTEGER = 1 << 63
# Python's own float() would also take "nan", "infinity" and "1_000".
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")


@dataclass(frozen=True, slots=True)
class Parameter:
    """`$NAME`: each request says what stands there."""

    name: str


@dataclass(frozen=True, slots=True)
class CurrentItem:
    """`CurrentItem.FIELD`: what the item says that similar ones are asked for."""

    field: str


Value = Constant | Parameter | CurrentItem


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison of a field. Inside of rules all values are constants."""

    dataset: Dataset
    field: str
    operator: Operator
    values: tuple[Value, ...]

    def parameters(self) -> Iterator[str]:
        """Give the names of its parameters."""
        return (value.name for value in self.values if isinstance(value, Parameter))

    def constants(self) -> list[Constant]:
        """Return those of its values that are constants."""
        return [value for value in self.values if isinstance(value, str | int | float)]


Conditions = tuple[tuple[Condition, ...], ...]
"""True where any of them has all of its conditions true; without any, nowhere."""


@dataclass(frozen=True, slots=True)
class Clause:
    """`INCLUDE ItemID WHERE ... IF ...`, or EXCLUDE."""

    includes: bool
    where: Conditions
    """All of one dataset, that of `dataset`."""
    only_if: tuple[Condition, ...] = ()
    """Of the user who asks: unless all of them are true, the clause has no effect."""

    @property
    def dataset(self) -> Dataset:
        return self.where[0][0].dataset

    def conditions(self) -> Iterator[Condition]:
        """Give every condition, those of the user last."""
        for together in self.where:
            yield from together
        yield from self.only_if


@dataclass(frozen=True, slots=True)
class Expression:
    """Clauses with `|` between them: what any INCLUDE names, all without one, but no EXCLUDE."""

    clauses: tuple[Clause, ...]

    def conditions(self) -> Iterator[Condition]:
        """Give every condition of every clause."""
        for clause in self.clauses:
            yield from clause.conditions()

    def fields(self) -> set[str]:
        """Return the distinct fields, such as ITEMS.GENRE, as quotas count them."""
        found = set()
        for condition in self.conditions():
            found.add(f"{condition.dataset}.{condition.field}".upper())
            for value in condition.values:
                if isinstance(value, CurrentItem):
                    found.add(f"Items.{value.field}".upper())
        return found


def number_in(text: str) -> Number | None:
    """Return the number that a text spells, None where it spells none."""
    text = text.strip()
    if _NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    if abs(number) < _LARGEST_INTEGER and text.lstrip("+-").isdigit():
        return int(text)
    return number


def is_orderable(value: Value) -> bool:
    """Return whether <, <=, > and >= may have this value: texts have to spell numbers."""
    return not isinstance(value, str) or number_in(value) is not None
