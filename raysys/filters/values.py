"""The values of a request's parameters: texts that hold constants, as Personalize has them.

`{"GENRE": "\\"Comedy\\",\\"Drama\\""}` gives GENRE two texts, `{"PRICE": "9.5"}` PRICE a number.
"""

import re
from collections.abc import Iterable, Mapping

from raysys.errors import InvalidInputError
from raysys.filters.expression import (
    Clause,
    Condition,
    Constant,
    Expression,
    is_orderable,
    number_in,
)

_CONSTANT = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+))\s*(,|$)')
_MOST_SHOWN_CHARACTERS = 60

Values = Mapping[str, tuple[Constant, ...]]


def parse_values(expression: Expression, given: Mapping[str, str]) -> Values:
    """Return the constants that a request gives to the parameters of an expression.

    Parameters of an INCLUDE clause are all demanded, those of an EXCLUDE clause may be missing.

    Raises:
        InvalidInputError: one is missing, is no parameter of the expression, or is ill-formed.
    """
    known = {name for each in expression.conditions() for name in each.parameters()}
    unknown = sorted(given.keys() - known)
    if unknown:
        takes = f"takes {_named(known)}" if known else "has no parameters"
        raise InvalidInputError(
            f"filterValues names {_shown(unknown[0])}, but the filter {takes}. Names are "
            f"case-sensitive."
        )
    needed = {
        name
        for clause in expression.clauses
        if clause.includes
        for each in clause.conditions()
        for name in each.parameters()
    }
    missing = needed - given.keys()
    if missing:
        raise InvalidInputError(
            f"filterValues lacks {_named(missing)}: every parameter of an INCLUDE needs a value."
        )
    values = {name: _constants(name, text) for name, text in given.items()}
    for clause in expression.clauses:
        for condition in clause.conditions():
            _check_uses(condition, values)
    return values


def _check_uses(condition: Condition, values: Values) -> None:
    """Refuse values that a condition cannot take: several to compare with, or a wrong kind."""
    is_ordered = condition.operator not in ("IN", "NOT IN")
    for name in condition.parameters():
        if is_ordered and len(values.get(name, ("1",))) != 1:
            raise InvalidInputError(
                f"filterValues.{name} has {len(values[name])} values, but "
                f"{condition.field} {condition.operator} ${name} compares with one."
            )
        for value in values.get(name, ()):
            if is_ordered and not is_orderable(value):
                raise InvalidInputError(
                    f"filterValues.{name} is {_shown(value)}, but {condition.operator} compares "
                    f"numbers. Numbers are written without quotes."
                )
            if condition.dataset == "Interactions" and not isinstance(value, str):
                raise InvalidInputError(
                    f"filterValues.{name} is the number {_shown(value)}, but types of events are "
                    f'texts. Put it into double quotes: "\\"{value}\\"".'
                )


def _constants(name: str, text: str) -> tuple[Constant, ...]:
    """Return what a value holds: texts in double quotes and numbers, with commas between."""
    found: list[Constant] = []
    place = 0
    while place <= len(text):
        match = _CONSTANT.match(text, place)
        if match is None:
            raise _ill_formed(name, text, place)
        quoted, bare, separator = match.groups()
        number = None if bare is None else number_in(bare)
        if quoted is None and number is None:
            raise _ill_formed(name, text, match.start(2))
        found.append(re.sub(r"\\(.)", r"\1", quoted) if number is None else number)
        if not separator:
            return tuple(found)
        place = match.end()
    raise _ill_formed(name, text, len(text))


def _ill_formed(name: str, text: str, place: int) -> InvalidInputError:
    return InvalidInputError(
        f"filterValues.{name} is {_shown(text)}, which is wrong at character {place + 1}: it takes "
        f'numbers, and texts in double quotes of their own, with commas between, such as "9.5" or '
        f'"\\"Comedy\\",\\"Drama\\"".'
    )


def bound_condition(condition: Condition, values: Values) -> Condition | None:
    """Return a condition with constants for its parameters; None where it has none left."""
    constants: list[Constant] = []
    for value in condition.values:
        if isinstance(value, str | int | float):
            constants.append(value)
    for name in condition.parameters():
        constants += values.get(name, ())
    if not constants:
        return None
    return Condition(condition.dataset, condition.field, condition.operator, tuple(constants))


def is_whole(clause: Clause, values: Values) -> bool:
    """Return whether the values say whether the clause has effect: all of its IF is known."""
    return all(name in values for each in clause.only_if for name in each.parameters())


def _named(names: Iterable[str]) -> str:
    return ", ".join(f"${name}" for name in sorted(names))


def _shown(value: Constant) -> str:
    text = str(value)
    if len(text) > _MOST_SHOWN_CHARACTERS:
        return f"{text[:_MOST_SHOWN_CHARACTERS]!r}… ({len(text)} characters)"
    return repr(text)
