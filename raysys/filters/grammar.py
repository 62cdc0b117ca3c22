"""The grammar of filter expressions, read with pyparsing. Errors point at the character.

    expression := clause ("|" clause)*
    clause     := (INCLUDE | EXCLUDE) ItemID WHERE condition ((AND | OR) condition)*
                  [IF user-condition (AND user-condition)*]
    condition  := dataset.FIELD [NOT] IN "(" value ("," value)* ")"
                | dataset.FIELD [NOT] IN CurrentItem.FIELD
                | dataset.FIELD ("=" | "!=" | "<" | "<=" | ">" | ">=") (value | CurrentItem.FIELD)
    value      := "text" | number | $PARAMETER | "(" $PARAMETER ")"

Keywords and names of datasets may be written in any case. AND binds tighter than OR.
"""

from itertools import groupby
from typing import Any, cast

import pyparsing as pp

from raysys.errors import InvalidInputError
from raysys.filters.expression import (
    ANY_EVENT_TYPE,
    EVENT_TYPE,
    Clause,
    Condition,
    Constant,
    CurrentItem,
    Dataset,
    Expression,
    Operator,
    Parameter,
    Value,
    is_orderable,
    number_in,
)

MAX_LENGTH = 2500
MAX_FIELDS = 10
"""Distinct fields of one filter: a quota of Amazon Personalize."""

_MOST_SHOWN_CHARACTERS = 40
_OPERATORS = {"=": "IN", "!=": "NOT IN"}


def parse_expression(text: str) -> Expression:
    """Return what an expression says.

    Raises:
        InvalidInputError: it says nothing; the message shows where, and what was expected.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidInputError(
            f"The filter expression has {len(text)} characters, at most {MAX_LENGTH} are allowed."
        )
    try:
        clauses = _EXPRESSION.parse_string(text)
    except pp.ParseBaseException as error:
        raise InvalidInputError(_explained(text, error.loc, str(error.msg))) from None
    expression = Expression(tuple(clauses))
    fields = expression.fields()
    if len(fields) > MAX_FIELDS:
        raise InvalidInputError(
            f"The filter expression names {len(fields)} distinct fields, at most {MAX_FIELDS} are "
            f"allowed. Make several filters of it."
        )
    return expression


def _explained(text: str, place: int, message: str) -> str:
    """Return the message, and below it the line with a caret under the character."""
    place = len(text) - len(text[place:].lstrip())
    start = text.rfind("\n", 0, place) + 1
    end = text.find("\n", place)
    line = text[start : len(text) if end < 0 else end].replace("\t", " ")
    rest = text[place:].split(maxsplit=1)
    found = repr(rest[0][:_MOST_SHOWN_CHARACTERS]) if rest else "the end"
    if message.startswith("Expected "):
        message = f"{message[0].lower()}{message[1:]}, found {found}"
    caret = " " * (place - start) + "^"
    return f"The filter expression is wrong at character {place + 1}: {message}\n{line}\n{caret}"


def _keyword(word: str) -> pp.ParserElement:
    return pp.CaselessKeyword(word).set_name(word)


def _checked_condition(text: str, place: int, tokens: pp.ParseResults) -> Condition:
    """Make a condition, once it means something; pyparsing reports the place otherwise."""
    dataset, field = cast(Dataset, tokens["dataset"]), str(tokens["field"])
    values = cast("tuple[Value, ...]", tuple(tokens["values"]))
    written = str(tokens["operator"])
    condition = Condition(dataset, field, cast(Operator, _OPERATORS.get(written, written)), values)
    problem = _problem_of(condition)
    if problem is not None:
        raise pp.ParseFatalException(text, place, problem)
    return condition


def _problem_of(condition: Condition) -> str | None:
    """Return what is wrong with a condition that the grammar allows."""
    is_ordered = condition.operator not in ("IN", "NOT IN")
    if condition.dataset != "Items" and any(isinstance(v, CurrentItem) for v in condition.values):
        return "only fields of Items can be compared with CurrentItem"
    if condition.dataset == "Interactions":
        if condition.field.upper() != EVENT_TYPE:
            return f"of interactions only {EVENT_TYPE} can be filtered by"
        if is_ordered or any(not isinstance(v, str | Parameter) for v in condition.values):
            return "types of events are texts: IN, NOT IN, = or != with texts in double quotes"
    elif ANY_EVENT_TYPE in condition.values:
        return f'"{ANY_EVENT_TYPE}" stands for every Interactions.{EVENT_TYPE} and for nothing else'
    if is_ordered and any(not is_orderable(value) for value in condition.values):
        return f"{condition.operator} compares numbers, and this text spells none"
    return None


def _checked_clause(text: str, place: int, tokens: pp.ParseResults) -> Clause:
    conditions: list[tuple[int, Condition]] = [(at, each) for at, each in tokens["where"][0::2]]
    first = conditions[0][1].dataset
    for at, condition in conditions:
        if condition.dataset != first:
            problem = (
                f"conditions joined by AND and OR are all of one dataset, here {first}; write a "
                f"clause of its own for {condition.dataset}, with | between"
            )
            raise pp.ParseFatalException(text, at, problem)
    joined = groupby(tokens["where"], key=lambda each: each == "OR")
    where = tuple(
        tuple(each[1] for each in group if each != "AND") for is_or, group in joined if not is_or
    )
    only_if = tuple(tokens["only_if"]) if "only_if" in tokens else ()
    return Clause(tokens["kind"] == "INCLUDE", where, only_if)


def _refused_subject(text: str, place: int, tokens: pp.ParseResults) -> None:
    problem = f"only items are filtered here, so ItemID has to stand there and not {tokens[0]}"
    raise pp.ParseFatalException(text, place, problem)


def _refused_users(text: str, place: int, tokens: pp.ParseResults) -> None:
    problem = "fields of Users select users; of who asks they are called CurrentUser, behind IF"
    raise pp.ParseFatalException(text, place, problem)


def _constant(tokens: pp.ParseResults) -> Constant:
    number = number_in(str(tokens[0]))
    assert number is not None
    return number


def _grammar() -> pp.ParserElement:
    field = pp.Regex(r"[A-Za-z_][A-Za-z0-9_]*").set_name("the name of a field")
    text = pp.QuotedString('"', esc_char="\\", multiline=False, convert_whitespace_escapes=False)
    number = pp.Regex(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?").set_parse_action(_constant)
    parameter = pp.Regex(r"\$[A-Za-z0-9_]{1,50}")
    parameter.set_parse_action(lambda tokens: Parameter(tokens[0][1:]))
    opening, closing = pp.Suppress("("), pp.Suppress(")")
    single = (text | number | parameter).set_name('a "text", a number or a $PARAMETER')
    items = opening - pp.DelimitedList(single) - closing.set_name('"," or ")"')
    current = _keyword("CurrentItem").suppress() + pp.Suppress(".") - field
    current.set_parse_action(lambda tokens: CurrentItem(tokens[0]))
    in_list = (current | items).set_name("a list in brackets or CurrentItem.FIELD")
    compared = (current | opening + parameter + closing | single).set_name(
        'a "text", a number, a $PARAMETER or CurrentItem.FIELD'
    )
    one_of = pp.Combine(
        pp.Optional(_keyword("NOT")) + _keyword("IN"), adjacent=False, join_string=" "
    )
    order = pp.one_of("<= >= != = < >")
    comparison = one_of("operator") - pp.Group(in_list)("values") | order("operator") - pp.Group(
        compared
    )("values")
    comparison.set_name("IN, NOT IN, =, !=, <, <=, > or >=")

    def condition(dataset: pp.ParserElement) -> pp.ParserElement:
        whole = dataset("dataset") - pp.Suppress(".") - field("field") - comparison
        return whole.set_parse_action(_checked_condition)

    users = _keyword("Users").set_parse_action(_refused_users)
    dataset = (_keyword("Items") | _keyword("Interactions") | users).set_name(
        "Items.FIELD or Interactions.EVENT_TYPE"
    )
    of_item = condition(dataset).add_parse_action(lambda text, at, tokens: [(at, tokens[0])])
    of_user = condition(_keyword("CurrentUser").set_name("CurrentUser.FIELD"))
    where = of_item + pp.ZeroOrMore((_keyword("AND") | _keyword("OR")) - of_item)
    only_if = (
        _keyword("IF").suppress() - of_user + pp.ZeroOrMore(_keyword("AND").suppress() - of_user)
    )
    kind = (_keyword("INCLUDE") | _keyword("EXCLUDE")).set_name("INCLUDE or EXCLUDE")
    others = (_keyword("UserID") | _keyword("ActionID")).set_parse_action(_refused_subject)
    subject = (_keyword("ItemID") | others).set_name("ItemID").suppress()
    clause = (
        kind("kind")
        - subject
        - _keyword("WHERE").suppress()
        - pp.Group(where)("where")
        - pp.Optional(pp.Group(only_if)("only_if"))
    ).set_parse_action(_checked_clause)
    end = pp.StringEnd().set_name("AND, OR, IF, | or the end")
    whole: pp.ParserElement = clause + pp.ZeroOrMore(pp.Suppress("|") - clause) + end
    return whole.parse_with_tabs()


_EXPRESSION: Any = _grammar()
