"""From an expression, a request's values and who asks to what applies to this one query."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from raysys.filters.expression import (
    ANY_EVENT_TYPE,
    Clause,
    Condition,
    Conditions,
    Constant,
    CurrentItem,
    Expression,
    is_orderable,
)
from raysys.filters.masks import EVERYTHING, Rule
from raysys.filters.values import Values, bound_condition, is_whole

UserMeets = Callable[[tuple[Condition, ...]], bool]
"""Says whether who asks meets all of some conditions, whose values are constants."""

ConstantsOf = Callable[[str], tuple[Constant, ...]]
"""Returns what the current item holds in a field."""


@dataclass(frozen=True, slots=True)
class EventTypes:
    """Which types of events some conditions ask for."""

    conditions: Conditions = ()

    def __bool__(self) -> bool:
        return bool(self.conditions)

    def have(self, event_type: str | None) -> bool:
        """Return whether one interaction meets the conditions.

        Args:
            event_type: None where the log has none: then only `"*"` and NOT IN find it.
        """
        return any(all(_meets(event_type, each) for each in group) for group in self.conditions)


@dataclass(frozen=True, slots=True)
class Bound:
    """What a filter demands of one query.

    Shown may be what the rule lets through, and what `included` finds among the user's interactions
    and no EXCLUDE names; but nothing that `excluded` finds there.
    """

    rule: Rule = EVERYTHING
    included: EventTypes = field(default_factory=EventTypes)
    excluded: EventTypes = field(default_factory=EventTypes)

    @property
    def has_past(self) -> bool:
        """Whether it asks for interactions of the user."""
        return bool(self.included) or bool(self.excluded)


def bind(
    expression: Expression, values: Values, user_meets: UserMeets, constants_of: ConstantsOf
) -> Bound:
    """Return what an expression demands.

    A clause whose IF the user does not meet has no effect, and neither has what an EXCLUDE compares
    with a parameter that has no value: the condition is left out, a clause without conditions too.
    Where no INCLUDE has effect, nothing has to be included.
    """
    included: dict[str, list[tuple[Condition, ...]]] = {"Items": [], "Interactions": []}
    excluded: dict[str, list[tuple[Condition, ...]]] = {"Items": [], "Interactions": []}
    has_include = False
    for clause in expression.clauses:
        if not _applies(clause, values, user_meets):
            continue
        has_include |= clause.includes
        named = included if clause.includes else excluded
        named[clause.dataset] += _bound_groups(clause, values, constants_of)
    include = tuple(included["Items"]) if has_include else None
    return Bound(
        Rule(include, tuple(excluded["Items"])),
        EventTypes(tuple(included["Interactions"])),
        EventTypes(tuple(excluded["Interactions"])),
    )


def _applies(clause: Clause, values: Values, user_meets: UserMeets) -> bool:
    if not clause.only_if:
        return True
    if not is_whole(clause, values):
        return False
    bound = (bound_condition(each, values) for each in clause.only_if)
    return user_meets(tuple(each for each in bound if each is not None))


def _bound_groups(
    clause: Clause, values: Values, constants_of: ConstantsOf
) -> Iterable[tuple[Condition, ...]]:
    for together in clause.where:
        bound = (_bound(each, values, constants_of) for each in together)
        group = tuple(each for each in bound if each is not None)
        if group:
            yield group


def _bound(condition: Condition, values: Values, constants_of: ConstantsOf) -> Condition | None:
    if not isinstance(condition.values[0], CurrentItem):
        return bound_condition(condition, values)
    constants, operator = constants_of(condition.values[0].field), condition.operator
    if operator not in ("IN", "NOT IN"):
        constants = tuple(each for each in constants if is_orderable(each))[:1]
        if not constants:  # nothing is more or less than what is missing: it is in no list
            operator = "IN"
    return Condition(condition.dataset, condition.field, operator, constants)


def _meets(event_type: str | None, condition: Condition) -> bool:
    named = {str(value).casefold() for value in condition.constants()}
    is_in = ANY_EVENT_TYPE in named or (event_type is not None and event_type.casefold() in named)
    return is_in if condition.operator == "IN" else not is_in
