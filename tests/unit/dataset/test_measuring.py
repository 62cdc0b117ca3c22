"""A whole dataset is measured; the calls run here instead of on Ray."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.dataset.checks import check
from raysys.dataset.dataset import Dataset, open_dataset
from raysys.dataset.measuring import measure
from raysys.dataset.summary import summary
from raysys.logs.call import run_here
from raysys.logs.manifest import read_manifest
from tests.unit.dataset.builders import interactions, write_dataset

DAY = 86_400_000_000
SHARDS = [
    [("a", "x", 0), ("a", "y", DAY), ("a", "x", 2 * DAY), ("c", "x", DAY)],
    [("b", "z", 5 * DAY), ("b", "y", 5 * DAY)],
]


def run_backwards(calls):
    """Reports may come in any order."""
    return run_here(calls[::-1])


def test_shards_and_tables_are_added_up(tmp_path):
    items = pa.table({"item_id": ["x", "q"], "title": ["The X", None]})
    dataset = open_dataset(write_dataset(tmp_path / "data", SHARDS, items=items))
    seen = []
    found = measure(
        dataset,
        run_backwards,
        now=datetime(1970, 1, 3, tzinfo=UTC),
        on_progress=lambda done, total=None, note="": seen.append((done, total)),
    )
    assert seen == [(2, 6), (6, 6)]
    assert found.shard.rows == 6
    assert found.shard.lengths == {3: 1, 2: 1, 1: 1}
    assert found.shard.longest == (3, "a")
    assert (found.shard.tied_rows, found.shard.future_rows) == (2, 2)
    assert found.items.select(["item_id", "interactions"]).to_pylist() == [
        {"item_id": "x", "interactions": 3},
        {"item_id": "y", "interactions": 2},
        {"item_id": "z", "interactions": 1},
    ]
    assert found.item_table is not None
    assert (found.item_table.matched, found.item_table.items_without_row) == (1, 2)
    assert found.user_table is None
    left = found.leave_last_out()  # a: x trains, y validates, x is to be found
    assert (left.users_tested, left.interactions_trained, left.tested_never_trained) == (1, 4, 0)
    assert found.resolution() == "days"
    assert len(check(found)) > 10


def test_an_item_that_is_only_found_in_what_is_tested_is_never_trained(tmp_path):
    rows = [
        ("a", "x", 0),
        ("a", "y", 1),
        ("a", "new", 2),
        ("b", "new", 0),
        ("b", "x", 1),
        ("b", "x", 2),
    ]
    for shards, lost in (([rows[:3]], 1), ([rows], 0)):
        path = write_dataset(tmp_path / str(lost), shards)
        assert measure(open_dataset(path), run_here).leave_last_out().tested_never_trained == lost


def test_the_summary_is_one_json_value_with_the_figures(tmp_path):
    items = pa.table({"item_id": ["x"], "title": ["The X"]})
    path = write_dataset(tmp_path / "data", SHARDS, items=items)
    found = json.loads(json.dumps(summary(measure(open_dataset(path), run_here)), allow_nan=False))
    assert (found["interactions"], found["users"], found["items"]) == (6, 3, 3)
    assert found["density"] == 0.6667
    assert found["history_length"] == {
        "mean": 2.0,
        "p50": 2,
        "p90": 3,
        "p99": 3,
        "max": 3,
        "users_with_two": 2,
        "users_with_three": 1,
    }
    assert found["popularity"]["share_of_top_10_percent"] == 0.5
    assert found["popularity"]["gini"] == pytest.approx(2 / 9, abs=1e-4)  # of 3, 2 and 1
    assert found["popularity"]["top"][0] == {"item_id": "x", "title": "The X", "interactions": 3}
    assert found["event_types"] is None
    assert found["activity"]["piece"] == "hour"
    assert found["activity"]["from"][0] == "1970-01-01T00:00:00+00:00"
    for name, total in (("interactions", 6), ("new_users", 3), ("new_items", 3)):
        assert sum(found["activity"][name]) == total


@pytest.mark.parametrize(
    ("share", "length"), [(0.0, 1), (0.33, 1), (0.34, 2), (0.66, 2), (0.67, 3), (1.0, 3)]
)
def test_a_percentile_of_history_lengths_is_reached_by_that_share_of_the_users(
    tmp_path, share, length
):
    found = measure(open_dataset(write_dataset(tmp_path / "data", SHARDS)), run_here)
    assert found.length_percentile(share) == length


def test_a_dataset_in_which_nobody_is_left_can_be_measured_and_fails(tmp_path):
    nobody = {"first_occurred_at": None, "last_occurred_at": None}
    path = write_dataset(tmp_path / "data", SHARDS, **nobody)
    shard = path / "import-1/interactions"
    pq.write_table(interactions([]), shard / "shard-00000.parquet")
    pq.write_table(interactions([]), shard / "shard-00001.parquet")
    found = measure(Dataset(path, read_manifest(path)), run_here)
    assert [finding.verdict for finding in check(found)] == ["FAIL"]
    assert summary(found) == {"interactions": 0, "users": 0, "items": 0}
