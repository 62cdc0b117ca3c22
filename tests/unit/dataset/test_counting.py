"""Counts add up over parts, in any order, to what counting the whole gives."""

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from raysys.dataset import counting
from raysys.dataset.counting import ITEM_COUNTS, ColumnProfile, ItemCounts, ValueCounts

parts = st.lists(st.lists(st.sampled_from(["a", "b", "c", None]), max_size=6), max_size=5)


@given(parts, st.integers(0, 3))
def test_values_are_counted_exactly_or_not_at_all(parts, limit):
    total = ValueCounts(limit)
    for part in parts:
        one = ValueCounts(limit)
        one.add_column(pa.array(part, pa.string()))
        total.add(one)
    whole = [value for part in parts for value in part if value is not None]
    assert total.is_complete == (len(set(whole)) <= limit)
    assert total.counts == ({v: whole.count(v) for v in whole} if total.is_complete else {})


@given(parts)
def test_a_profile_of_parts_is_that_of_the_whole(parts):
    total = ColumnProfile()
    for part in parts:
        total.add_column(pa.array(part, pa.string()))
    whole = [value for part in parts for value in part]
    assert (total.rows, total.nulls) == (len(whole), whole.count(None))
    assert total.is_empty == (set(whole) <= {None})
    assert total.is_constant == (len(set(whole)) == 1 and whole[0] is not None)


def test_a_column_of_nan_is_empty_and_a_nan_among_numbers_is_missing():
    nothing, some = ColumnProfile(), ColumnProfile()
    nothing.add_column(pa.array([float("nan"), None]))
    some.add_column(pa.array([0.5, float("nan")]))
    assert (nothing.is_empty, nothing.is_constant) == (True, False)
    assert (some.nulls, some.highest, some.is_constant) == (1, 0.5, False)


def test_items_are_added_up_however_often_sums_are_made_in_between(monkeypatch):
    monkeypatch.setattr(counting, "_COMPACTED_ROWS", 2)
    counts = ItemCounts()
    for number in range(10):
        row = [["x", f"i{number % 3}"], [1, 2], [number, 100 - number], [0, 1], [1, 0]]
        counts.add(pa.table(row, schema=ITEM_COUNTS))
    found = {row.pop("item_id"): row for row in counts.table().to_pylist()}
    assert found["x"] == {
        "interactions": 10,
        "first_us": 0,
        "last_of_a_user": 0,
        "last_but_one": 10,
    }
    assert found["i0"]["interactions"] == 8
    assert found["i2"]["first_us"] == 92
