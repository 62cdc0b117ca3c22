"""One pass over a shard finds what counting by hand finds, wherever the batches end."""

from collections import Counter
from itertools import groupby, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.dataset.shard_statistics import ShardScan, shard_statistics
from raysys.dataset.time_bins import DAY_US, HOUR_US, MINUTE_US, TimeBins
from raysys.errors import DatasetError
from tests.unit.dataset.builders import interactions

BINS = TimeBins(0, 10, 3)
rows = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.integers(0, 29)), max_size=25
).map(lambda found: sorted(found, key=lambda row: (row[0], row[2])))


def scanned(table, size, bins=BINS, now_us=100):
    scan = ShardScan(bins, now_us)
    for start in range(0, len(table), size):
        scan.add(table.slice(start, size))
    return scan.finish()


def item_counts(found):
    names = ("interactions", "first_us", "last_of_a_user", "last_but_one")
    return {row["item_id"]: tuple(row[name] for name in names) for row in found.items.to_pylist()}


@given(rows, st.integers(1, 26))
def test_a_scan_finds_what_counting_by_hand_finds_wherever_batches_end(rows, size):
    found = scanned(interactions(rows), size, now_us=20)
    histories = {user: list(group) for user, group in groupby(rows, lambda row: row[0])}
    assert found.rows == len(rows)
    assert found.lengths == Counter(len(history) for history in histories.values())
    longest = max((len(history) for history in histories.values()), default=0)
    assert found.longest[0] == longest
    assert not rows or len(histories[found.longest[1]]) == longest
    by_moment = Counter((user, time) for user, _, time in rows)
    assert found.tied_rows == sum(by_moment[user, time] > 1 for user, _, time in rows)
    assert found.future_rows == sum(time > 20 for *_, time in rows)
    assert found.per_bin.tolist() == [sum(time // 10 == n for *_, time in rows) for n in range(3)]
    firsts = [history[0][2] for history in histories.values()]
    assert found.new_users_per_bin.tolist() == [sum(t // 10 == n for t in firsts) for n in range(3)]
    long = [history for history in histories.values() if len(history) >= 3]
    assert item_counts(found) == {
        item: (
            sum(row[1] == item for row in rows),
            min(row[2] for row in rows if row[1] == item),
            sum(history[-1][1] == item for history in long),
            sum(history[-2][1] == item for history in long),
        )
        for item in {row[1] for row in rows}
    }


def test_times_that_are_whole_days_are_whole_hours_too():
    table = interactions(
        [("a", "x", DAY_US), ("a", "y", DAY_US + HOUR_US), ("a", "y", 90 * DAY_US)]
    )
    found = scanned(table, 2, bins=TimeBins(0, DAY_US, 100))
    assert found.rows_on_whole == {"days": 2, "hours": 3, "minutes": 3, "seconds": 3}


def test_every_column_is_profiled_but_those_of_identity_and_place():
    table = interactions([("a", "x", 1), ("a", "y", 2), ("b", "y", 3)])
    table = table.set_column(3, "event_type", pa.array(["buy", None, "buy"]))
    table = table.append_column("device", pa.array(["tv", "phone", "tv"]))
    found = scanned(table, 2)
    assert set(found.columns) == {"event_type", "event_value", "device"}
    assert found.event_types.counts == {"buy": 2}
    device, types = found.columns["device"], found.columns["event_type"]
    assert (device.lowest, device.highest, device.is_constant) == ("phone", "tv", False)
    assert (types.nulls, types.is_constant) == (1, False)
    assert found.columns["event_value"].is_empty


def test_columns_of_every_type_that_a_schema_declares_are_profiled(tmp_path):
    table = interactions([("a", "x", 1), ("b", "y", 2)])
    table = table.append_column("source_page", pa.array(["home", "home"]))
    table = table.append_column("is_child", pa.array([True, False]))
    table = table.append_column("seconds", pa.array([7, None]))
    table = table.append_column("share", pa.array([0.5, float("nan")]))
    pq.write_table(table, tmp_path / "shard")
    found = shard_statistics(tmp_path / "shard", BINS, 100).columns
    assert {name for name, profile in found.items() if profile.is_constant} == {"source_page"}
    assert (found["is_child"].lowest, found["is_child"].highest) == (False, True)
    assert (found["seconds"].nulls, found["seconds"].highest) == (1, 7)


def test_more_distinct_event_types_than_can_be_counted_are_not_counted_at_all():
    table = interactions([("a", "x", n % 30) for n in range(1200)])
    table = table.set_column(3, "event_type", pa.array([f"t{n}" for n in range(1200)]))
    found = ShardScan(BINS, 0)
    found.add(table.sort_by("occurred_at"))
    types = found.finish().event_types
    assert not types.is_complete
    assert types.counts == {}


def test_users_are_joined_with_their_table(tmp_path):
    pq.write_table(interactions([("a", "x", 1), ("b", "y", 2), ("c", "y", 3)]), tmp_path / "shard")
    pq.write_table(pa.table({"user_id": ["z", "c", "a"]}), tmp_path / "users")
    found = shard_statistics(tmp_path / "shard", BINS, 100, tmp_path / "users")
    assert (found.users_in_table, found.users_without_row) == (2, ["b"])


def test_a_shard_that_cannot_be_read_is_a_dataset_error(tmp_path):
    (tmp_path / "shard").write_bytes(b"PAR1 no Parquet")
    with pytest.raises(DatasetError, match="is damaged"):
        shard_statistics(tmp_path / "shard", BINS, 100)


@pytest.mark.parametrize(
    ("span_us", "width_us"),
    [(0, MINUTE_US), (DAY_US, MINUTE_US), (30 * DAY_US, HOUR_US), (900 * DAY_US, DAY_US)],
)
def test_bins_are_as_fine_as_their_number_allows_and_hold_both_ends(span_us, width_us):
    first = 1_500_000_000_123_456
    bins = TimeBins.between(first, first + span_us)
    assert bins.width_us == width_us
    assert bins.start_us % width_us == 0
    counts = bins.counts(np.array([first, first + span_us]))
    assert (counts[0] >= 1, counts[-1] >= 1, counts.sum()) == (True, True, 2)


def test_bins_of_a_log_from_1970_to_2099_are_not_too_many():
    bins = TimeBins.between(0, 4_102_444_799_999_999)
    assert bins.num == 47_482
    assert all(a < b for a, b in pairwise([bins.start_of(0), bins.start_of(1)]))
