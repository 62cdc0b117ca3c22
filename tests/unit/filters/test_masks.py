"""What conditions mean, worked out by hand, and rules over a table."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest

from raysys.errors import InvalidInputError
from raysys.filters.binding import Bound, EventTypes, bind
from raysys.filters.expression import Condition, Constant
from raysys.filters.grammar import parse_expression
from raysys.filters.masks import EVERYTHING, KeptMasks, Rule, Table
from raysys.filters.values import parse_values

ROWS = pa.table(
    {
        "item_id": ["a", "b", "c", "d", "e"],
        "genres": ["Comedy|Drama", "Drama", "comedy", None, ""],
        "year": ["1990", "about 1990", " 2000 ", None, "1990|2010"],  # texts that spell numbers
        "price": pa.array([9.99, 5.0, None, float("nan"), 10.0], pa.float32()),
        "stock": pa.array([0, 3, None, 2**62 + 1, -1], pa.int64()),
        "is_new": [True, False, None, True, False],
        "creation_timestamp": pa.array([0, 1_500_000, None, 10**15, 0], pa.timestamp("us", "UTC")),
        "tags": [["x"], ["y"], [], None, ["x", "y"]],
    }
)
TABLE = Table(ROWS)

# The field and what is asked of it; the rows that meet it. NOT IN and != are the other rows.
MEANINGS = [
    ('GENRES IN ("Comedy")', "a"),
    ('GENRES = "Comedy"', "a"),
    ('GENRES IN ("Drama", "comedy")', "abc"),
    ('GENRES = "Comedy|Drama"', ""),  # a cell of several values has each, and not all as one
    ('GENRES IN ("")', ""),  # what is empty is missing
    ('GENRES IN ("Com")', ""),
    ("YEAR = 1990", "ae"),
    ("YEAR = 1990.0", "ae"),
    ('YEAR = "1990"', "ae"),
    ('YEAR = "1990.0"', ""),  # texts are compared with texts exactly
    ('YEAR = " 2000 "', "c"),
    ("YEAR > 1990", "ce"),
    ('YEAR >= "1990"', "ace"),
    ("YEAR < 2000", "ae"),
    ("YEAR IN (2000, 2010)", "ce"),
    ("PRICE = 9.99", "a"),
    ('PRICE = "9.99"', "a"),
    ('PRICE = "cheap"', ""),
    ("PRICE <= 9.99", "ab"),
    ("PRICE < 9.99", "b"),
    ("PRICE > 5", "ae"),
    ("PRICE >= 1e999", ""),
    ("STOCK IN (0, 3.0, 2.5)", "ab"),
    ('STOCK IN ("3")', "b"),
    ("STOCK > 2.5", "bd"),
    ("STOCK >= 3", "bd"),
    ("STOCK < 0.5", "ae"),
    ("STOCK <= -0.5", "e"),
    ("STOCK = 4611686018427387905", "d"),  # 2**62 + 1, which no float holds
    ("STOCK = 4611686018427387904", ""),
    ("STOCK < 4611686018427387905", "abe"),
    ("STOCK < 1e30", "abde"),
    ("STOCK > -1e30", "abde"),
    ("STOCK > 1e30", ""),
    ('IS_NEW = "True"', "ad"),
    ("IS_NEW = 1", "ad"),
    ('IS_NEW IN ("false")', "be"),
    ("CREATION_TIMESTAMP > 1.4", "bd"),
    ("CREATION_TIMESTAMP = 1.5", "b"),
    ("creationTimestamp <= 1.5", "abe"),
    ('ITEM_ID IN ("c", "e", "z")', "ce"),
]


def rows_of(mask: np.ndarray) -> str:
    return "".join("abcde"[row] for row in np.flatnonzero(mask))


def bound(text: str, given: Mapping[str, str] | None = None, **cells: object) -> Bound:
    """Bind an expression; `cells` are the user's and the current item's fields."""
    expression = parse_expression(text)

    def meets(conditions: tuple[Condition, ...]) -> bool:
        user = {name: [value] for name, value in cells.items()}
        return bool(Table(pa.table({"user_id": ["u"], **user})).all_of(conditions)[0])

    def constants_of(field: str) -> tuple[Constant, ...]:
        return TABLE.constants(field, 0)

    return bind(expression, parse_values(expression, given or {}), meets, constants_of)


def kept(text: str, given: Mapping[str, str] | None = None, **cells: object) -> str:
    return rows_of(TABLE.mask(bound(text, given, **cells).rule))


@pytest.mark.parametrize(("condition", "expected"), MEANINGS)
def test_conditions_mean_what_was_worked_out_by_hand(condition: str, expected: str) -> None:
    others = "".join(row for row in "abcde" if row not in expected)
    assert kept(f"INCLUDE ItemID WHERE Items.{condition}") == expected
    assert kept(f"EXCLUDE ItemID WHERE Items.{condition}") == others
    for positive, negative in ((" IN ", " NOT IN "), (" = ", " != ")):
        if positive in condition:
            opposite = condition.replace(positive, negative)
            assert kept(f"INCLUDE ItemID WHERE Items.{opposite}") == others
            assert kept(f"EXCLUDE ItemID WHERE Items.{opposite}") == expected


def test_and_binds_tighter_than_or() -> None:
    text = 'INCLUDE ItemID WHERE Items.STOCK = 3 OR Items.GENRES = "Drama" AND Items.PRICE > 9'
    assert kept(text) == "ab"
    text = 'INCLUDE ItemID WHERE Items.PRICE > 9 AND Items.GENRES = "Drama" OR Items.STOCK = 3'
    assert kept(text) == "ab"


def test_includes_are_joined_and_excludes_are_taken_from_them_in_any_order() -> None:
    one, other, less = (
        'INCLUDE ItemID WHERE Items.GENRES = "Drama"',
        "INCLUDE ItemID WHERE Items.STOCK < 0",
        'EXCLUDE ItemID WHERE Items.ITEM_ID = "b"',
    )
    assert kept(f"{one} | {other}") == "abe"
    assert kept(f"{one} | {other} | {less}") == kept(f"{less} | {other} | {one}") == "ae"


def test_a_clause_whose_if_is_not_met_has_no_effect() -> None:
    adult = 'INCLUDE ItemID WHERE Items.GENRES = "Drama" IF CurrentUser.AGE > 18'
    assert kept(adult, AGE=30) == "ab"
    assert kept(adult, AGE=10) == kept(adult, AGE=None) == "abcde"
    both = f'{adult} AND CurrentUser.PLAN = "gold" | EXCLUDE ItemID WHERE Items.STOCK = 3'
    assert kept(both, AGE=30, PLAN="gold") == "a"
    assert kept(both, AGE=30, PLAN="free") == "acde"


def test_conditions_of_an_exclude_whose_parameter_is_missing_are_left_out() -> None:
    either = "EXCLUDE ItemID WHERE Items.GENRES IN ($G, $H) OR Items.STOCK = $S"
    assert kept(either) == "abcde"
    assert kept(either, {"G": '"Drama"'}) == "cde"
    assert kept(either, {"H": '"comedy"', "S": "3"}) == "ade"
    together = 'EXCLUDE ItemID WHERE Items.GENRES = "Drama" AND Items.STOCK = $S'
    assert kept(together) == "cde"
    assert kept(together, {"S": "3"}) == "acde"
    young = 'EXCLUDE ItemID WHERE Items.GENRES = "Drama" IF CurrentUser.AGE < $AGE'
    assert kept(young, AGE=10) == "abcde"
    assert kept(young, {"AGE": "18"}, AGE=10) == "cde"


def test_the_current_item_gives_its_values() -> None:
    # Those of item a: Comedy and Drama, the year 1990, no stock, the price 9.99 of 32 bits.
    assert kept("INCLUDE ItemID WHERE Items.GENRES IN CurrentItem.GENRES") == "ab"
    assert kept("INCLUDE ItemID WHERE Items.GENRES NOT IN CurrentItem.GENRES") == "cde"
    assert kept("INCLUDE ItemID WHERE Items.STOCK > CurrentItem.STOCK") == "bd"
    assert kept("INCLUDE ItemID WHERE Items.YEAR > CurrentItem.YEAR") == "ce"
    assert kept("INCLUDE ItemID WHERE Items.PRICE = CurrentItem.PRICE") == "a"
    assert kept("INCLUDE ItemID WHERE Items.STOCK < CurrentItem.GENRES") == ""
    assert Table(ROWS).constants("PRICE", 2) == Table(ROWS).constants("PRICE", 3) == ()
    assert Table(ROWS).constants("CREATION_TIMESTAMP", 1) == (1.5,)


def test_interactions_go_by_type_whatever_its_case() -> None:
    some = bound(
        'INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("Click", $T) | '
        'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE NOT IN ("click", "view")',
        {"T": '"buy"'},
    )
    types = ["click", "CLICK", "Buy", "view", None]
    assert [some.included.have(each) for each in types] == [True, True, True, False, False]
    assert [some.excluded.have(each) for each in types] == [False, False, True, False, True]
    assert some.rule == Rule((), ())  # no item is included by what is known of it
    every = bound('EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("*")')
    assert [every.excluded.have(each) for each in types] == [True] * 5
    assert (every.rule, bool(every.included)) == (EVERYTHING, False)
    assert bound("EXCLUDE ItemID WHERE Interactions.EVENT_TYPE = $T").excluded == EventTypes()


def test_unknown_columns_and_columns_of_lists_are_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match="reads COLOR.*GENRES, IS_NEW, ITEM_ID"):
        TABLE.check(bound('EXCLUDE ItemID WHERE Items.COLOR = "red"').rule.exclude)
    with pytest.raises(InvalidInputError, match="'tags', which holds list"):
        TABLE.check(bound('EXCLUDE ItemID WHERE Items.TAGS = "x"').rule.exclude)
    with pytest.raises(InvalidInputError, match="reads COLOR"):
        bound("EXCLUDE ItemID WHERE Items.GENRES IN CurrentItem.COLOR")


def test_a_table_may_be_made_of_some_rows_in_another_order() -> None:
    some = Table(ROWS.drop_columns("tags"), np.array([4, 1]))
    assert len(some) == 2
    rule = bound('INCLUDE ItemID WHERE Items.GENRES = "Drama"').rule
    assert some.mask(rule).tolist() == [False, True]


def test_what_requests_say_of_items_counts_as_cells_of_the_table_do() -> None:
    new = Table(ROWS.drop_columns("tags")).of_properties(
        ["n1", "n2", "n3"],
        [
            {"GENRES": ["Comedy", "War"], "year": 1990, "price": "9.5", "IsNew": True},
            {"genres": "Comedy|War", "stock": 3, "isNew": "FALSE", "creationTimestamp": 2},
            {"genres": {"a": 1}, "price": "cheap", "stock": None, "item_id": "a"},
        ],
    )
    meant = {
        'GENRES IN ("War")': [True, True, False],
        "YEAR = 1990": [True, False, False],
        "PRICE < 10": [True, False, False],
        "STOCK = 3": [False, True, False],
        'IS_NEW = "true"': [True, False, False],
        "IS_NEW = 0": [False, True, False],
        "CREATION_TIMESTAMP = 2": [False, True, False],
        'ITEM_ID = "n3"': [False, False, True],
        'GENRES != "War"': [False, False, True],
    }
    for condition, expected in meant.items():
        rule = bound(f"INCLUDE ItemID WHERE Items.{condition}").rule
        assert new.mask(rule).tolist() == expected, condition


def test_masks_are_kept_and_the_oldest_leave() -> None:
    masks = KeptMasks(TABLE)
    rules = [
        Rule(None, ((Condition("Items", "STOCK", "IN", (number,)),),)) for number in range(1024 + 1)
    ]
    first = masks.mask(rules[0])
    assert masks.mask(rules[0]) is first
    with pytest.raises(ValueError, match="read-only"):
        first[0] = False
    for rule in rules[1:]:
        masks.mask(rule)
    assert masks.mask(rules[0]) is not first
    assert masks.mask(rules[0]).tolist() == first.tolist()
