"""Tables beside the interactions: what they hold, and which ids find each other."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys import tables
from raysys.dataset.counting import ITEM_COUNTS
from raysys.dataset.table_statistics import (
    join_items,
    quarantine_examples,
    table_statistics,
    would_join,
)
from raysys.errors import DatasetError


def counted(**interactions):
    ids, counts = list(interactions), list(interactions.values())
    nothing = [0] * len(ids)
    return pa.table([ids, counts, nothing, nothing, nothing], schema=ITEM_COUNTS)


def written(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def test_items_join_in_both_directions(tmp_path):
    path = written(
        tmp_path / "items",
        item_id=["a", "b", "cold", "bare"],
        title=["A", None, "C", ""],
        genres=["x", None, None, None],
        creation_timestamp=[1, 2, 3, 4],
    )
    found = join_items(path, counted(a=5, b=4, lost=3, gone=9), ["a", "b", "lost"])
    assert (found.rows, found.matched, found.items_without_row) == (4, 2, 2)
    assert found.interactions_without_row == 12
    assert found.without_row == ["gone", "lost"]  # the most popular first
    assert found.unmatched == ["cold", "bare"]
    assert found.unmatched_without_metadata == 1  # b is bare too, but people chose it
    assert found.titles == {"a": "A"}
    assert found.columns["genres"].nulls == 3


@pytest.mark.parametrize(
    ("given", "ignored"),
    [
        (["A1", "B2"], "the case of letters"),
        ([" a1", "b2 "], "white space around ids"),
        (["1", "2"], "everything but digits"),
        (["x", "y"], None),
    ],
)
def test_ids_that_would_join_but_for_their_spelling_are_noticed(tmp_path, given, ignored):
    path = written(tmp_path / "items", item_id=given)
    counts = counted(a1=1, b2=1)
    assert would_join(join_items(path, counts, []), counts, path) == ignored


def test_numbers_written_in_two_ways_are_noticed(tmp_path):
    path = written(tmp_path / "items", item_id=["7", "8"])
    spellings = {
        ("007", "008"): "leading zeros",
        ("7.0", "8.0"): "a .0 at the end",
        ("i007", "i008"): "everything but digits, and leading zeros",
    }
    for ids, ignored in spellings.items():
        counts = counted(**dict.fromkeys(ids, 1))
        assert would_join(join_items(path, counts, []), counts, path) == ignored


def test_a_table_of_users_is_profiled_and_its_first_ids_are_quoted(tmp_path):
    path = written(tmp_path / "users", user_id=["a", "b", "c", "d"], country=["fr"] * 4)
    found = table_statistics(path)
    assert (found.rows, found.unmatched) == (4, ["a", "b", "c"])
    assert found.columns["country"].is_constant


def test_the_quarantine_gives_the_first_row_of_each_reason(tmp_path):
    rows = [
        ("log.csv", 3, None, "null_id", "user_id", "The id is missing.", ",i,1"),
        ("log.csv", 1200, "u", "bad_timestamp", "timestamp", "TIMESTAMP is 'soon'.", "u,i,soon"),
        ("log.csv", 5, None, "null_id", "user_id", "The id is missing.", ",i,2"),
    ]
    columns = [list(column) for column in zip(*rows, strict=True)]
    pq.write_table(pa.table(columns, schema=tables.QUARANTINE), tmp_path / "q")
    # Reading ends when every reason has its example: the second file is not there.
    paths = [tmp_path / "q", tmp_path / "gone"]
    assert quarantine_examples(paths, {"null_id": 2, "bad_timestamp": 1}) == {
        "null_id": "log.csv, row 3: The id is missing.",
        "bad_timestamp": "log.csv, row 1,200: TIMESTAMP is 'soon'.",
    }


def test_a_table_that_cannot_be_read_is_a_dataset_error(tmp_path):
    (tmp_path / "items").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match="is damaged"):
        table_statistics(tmp_path / "items")
