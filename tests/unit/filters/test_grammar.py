"""Filter expressions as texts, and the values of requests. Run: pytest tests/unit/filters"""

import pytest

from raysys.errors import InvalidInputError
from raysys.filters.expression import Clause, Condition, CurrentItem, Parameter, number_in
from raysys.filters.grammar import MAX_LENGTH, parse_expression
from raysys.filters.values import parse_values

ITEMS = "INCLUDE ItemID WHERE Items."


def items(field: str, operator: str, *values: object) -> Condition:
    return Condition("Items", field, operator, values)  # type: ignore[arg-type]


def test_an_expression_becomes_its_clauses() -> None:
    text = (
        'INCLUDE ItemID WHERE Items.A = "x" OR Items.B NOT IN (1, 2.5, $P) AND Items.C != -3 '
        'IF CurrentUser.AGE >= 18 AND CurrentUser.PLAN IN ("gold", "silver") '
        '| EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("*")'
    )
    assert parse_expression(text).clauses == (
        Clause(
            True,
            (
                (items("A", "IN", "x"),),
                (items("B", "NOT IN", 1, 2.5, Parameter("P")), items("C", "NOT IN", -3)),
            ),
            (
                Condition("CurrentUser", "AGE", ">=", (18,)),
                Condition("CurrentUser", "PLAN", "IN", ("gold", "silver")),
            ),
        ),
        Clause(False, ((Condition("Interactions", "EVENT_TYPE", "IN", ("*",)),),)),
    )


def test_keywords_and_datasets_may_be_written_in_any_case_texts_and_parameters_may_not() -> None:
    lower = parse_expression('exclude itemid where INTERACTIONS.event_type in ("Purchase", $p)')
    upper = parse_expression('EXCLUDE ITEMID WHERE interactions.event_type IN ("Purchase", $p)')
    assert lower == upper
    assert lower.clauses[0].where[0][0].values == ("Purchase", Parameter("p"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ('A IN ("a\\"b", "IN", "|")', items("A", "IN", 'a"b', "IN", "|")),
        ("A IN ($P)", items("A", "IN", Parameter("P"))),
        ("A = ($P)", items("A", "IN", Parameter("P"))),
        ("A<$P", items("A", "<", Parameter("P"))),
        ('A <= "1990"', items("A", "<=", "1990")),
        ("A\n\tNOT  IN (1e3)", items("A", "NOT IN", 1000.0)),
        ("A IN CurrentItem.B", items("A", "IN", CurrentItem("B"))),
        ("A NOT IN CurrentItem.B", items("A", "NOT IN", CurrentItem("B"))),
        ("A > CurrentItem.B", items("A", ">", CurrentItem("B"))),
    ],
)
def test_every_operator_and_value_is_read(written: str, expected: Condition) -> None:
    assert parse_expression(ITEMS + written).clauses[0].where == ((expected,),)


@pytest.mark.parametrize(
    ("text", "character", "message"),
    [
        ("", 1, "expected INCLUDE or EXCLUDE, found the end"),
        ("INCLUDE UserID WHERE Users.X = 1", 9, "only items are filtered here"),
        ("INCLUDE Item WHERE", 9, "expected ItemID, found 'Item'"),
        ("INCLUDE ItemID WHERE Users.X = 1", 22, "behind IF"),
        (ITEMS + "X ~ 3", 30, "expected IN, NOT IN, =, !=, <, <=, > or >=, found '~'"),
        (ITEMS + 'X IN ("a"', 37, 'expected "," or ")", found the end'),
        (ITEMS + "X IN ()", 34, 'expected a "text", a number or a $PARAMETER'),
        (ITEMS + "X = 'a'", 32, 'expected a "text"'),
        (ITEMS + 'X = "a" XOR Items.Y = 1', 36, "expected AND, OR, IF, | or the end, found 'XOR'"),
        (ITEMS + 'X = "a" AND', 39, "expected Items.FIELD"),
        (ITEMS + 'X = "a" AND Interactions.EVENT_TYPE = "b"', 40, "all of one dataset, here Items"),
        (ITEMS + 'X < "abc"', 22, "compares numbers"),
        (ITEMS + 'X IN ("*")', 22, "stands for every Interactions.EVENT_TYPE"),
        (ITEMS + 'X = "a" IF Items.Y = 2', 39, "expected CurrentUser.FIELD"),
        (ITEMS + 'X = "a" |', 37, "expected INCLUDE or EXCLUDE"),
        ("INCLUDE ItemID WHERE Interactions.EVENT_VALUE > 3", 22, "only EVENT_TYPE"),
        ("INCLUDE ItemID WHERE Interactions.EVENT_TYPE = 3", 22, "types of events are texts"),
        (
            "INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN CurrentItem.X",
            22,
            "only fields of Items",
        ),
    ],
)
def test_an_error_points_at_the_character_and_says_what_was_expected(
    text: str, character: int, message: str
) -> None:
    with pytest.raises(InvalidInputError) as error:
        parse_expression(text)
    told, line, caret = str(error.value).split("\n")
    assert f"at character {character}:" in told
    assert message in told
    assert (line, len(caret)) == (text, character)


def test_the_caret_stands_under_the_character_in_a_text_of_several_lines() -> None:
    with pytest.raises(InvalidInputError) as error:
        parse_expression('INCLUDE ItemID WHERE\n\tItems.X ~ "a"\n| EXCLUDE')
    assert str(error.value).split("\n")[1:] == [' Items.X ~ "a"', "         ^"]


def test_long_expressions_and_many_fields_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="2501 characters"):
        parse_expression(" " * (MAX_LENGTH + 1))
    ten = " AND ".join(f"Items.F{number} = CurrentItem.f{number}" for number in range(10))
    parse_expression(f"INCLUDE ItemID WHERE {ten}")  # the same field is counted with ITEMS once
    with pytest.raises(InvalidInputError, match="11 distinct fields"):
        parse_expression(f"INCLUDE ItemID WHERE {ten} | {ITEMS}G = 1")


INCLUDING = parse_expression(ITEMS + "GENRE IN ($GENRE) AND Items.YEAR > $YEAR")
EXCLUDING = parse_expression("EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ($TYPES)")


def test_values_hold_texts_in_quotes_of_their_own_and_numbers() -> None:
    values = parse_values(INCLUDING, {"GENRE": '"Comedy", "a \\"b\\", c",7', "YEAR": " 1990.5 "})
    assert values == {"GENRE": ("Comedy", 'a "b", c', 7), "YEAR": (1990.5,)}
    assert parse_values(EXCLUDING, {}) == {}


@pytest.mark.parametrize(
    ("expression", "given", "message"),
    [
        (INCLUDING, {"GENRE": '"a"'}, r"lacks \$YEAR"),
        (INCLUDING, {"GENRE": '"a"', "YEAR": "1", "year": "1"}, r"'year'.*takes \$GENRE, \$YEAR"),
        (INCLUDING, {"GENRE": "Comedy", "YEAR": "1"}, "GENRE is 'Comedy'.*character 1:"),
        (INCLUDING, {"GENRE": '"a" "b"', "YEAR": "1"}, "character"),
        (INCLUDING, {"GENRE": '"a",', "YEAR": "1"}, "character 5:"),
        (INCLUDING, {"GENRE": '"a', "YEAR": "1"}, "character 1:"),
        (INCLUDING, {"GENRE": "", "YEAR": "1"}, "character 1:"),
        (INCLUDING, {"GENRE": "nan", "YEAR": "1"}, "character 1:"),
        (INCLUDING, {"GENRE": "1", "YEAR": "1,2"}, "YEAR has 2 values"),
        (INCLUDING, {"GENRE": "1", "YEAR": '"new"'}, "YEAR is 'new', but > compares numbers"),
        (EXCLUDING, {"TYPES": "3"}, "types of events are texts"),
        (parse_expression(ITEMS + "A = 1"), {"A": "1"}, "has no parameters"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    expression: object, given: dict[str, str], message: str
) -> None:
    with pytest.raises(InvalidInputError, match=f"(?s){message}"):
        parse_values(expression, given)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "number"),
    [("7", 7), (" -7 ", -7), ("+.5", 0.5), ("1e3", 1000.0), ("9" * 30, 1e30), ("1e999", None)],
)
def test_numbers_are_what_texts_spell(text: str, number: float | None) -> None:
    assert number_in(text) == (float("inf") if number is None else number)
    assert number_in(text + "x") is number_in("nan") is number_in("1_0") is number_in("") is None
