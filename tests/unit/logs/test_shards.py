"""Parts become shards: each user in one of them, in order, duplicates removed by the rules."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysys import tables
from raysys.hashing import sha256_of_file, stable_hash
from raysys.logs.duplicates import RepeatedInteractions
from raysys.logs.parts import PartWriter
from raysys.logs.runs import sorted_places
from raysys.logs.shards import find_repeated_events, write_shard


def interactions(*rows, source_file=0):
    """Rows are (user, item, second, type, event id); their numbers are their places, from 1."""
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 5
    users, items, seconds, types, event_ids = columns
    return pa.table(
        {
            "user_id": users,
            "item_id": items,
            "occurred_at": [second * 1_000_000 for second in seconds],
            "event_type": pa.array(types, pa.string()),
            "event_value": pa.nulls(len(rows), pa.float64()),
            "event_id": pa.array(event_ids, pa.string()),
            "source_file": pa.array([source_file] * len(rows), pa.int32()),
            "source_row": list(range(1, len(rows) + 1)),
        }
    ).cast(tables.INTERACTIONS)


def repeats(table):
    """The numbers of the rows that are found to repeat an earlier one."""
    order = [(name, "ascending") for name in ("user_id", "occurred_at", "source_row")]
    table = table.sort_by(order)
    mask = pa.array(RepeatedInteractions().among(table))
    return set(table.column("source_row").filter(mask).to_pylist())


def test_without_event_id_the_same_user_item_time_and_type_is_a_duplicate():
    table = interactions(
        ("u", "i", 1, "click", None),
        ("u", "i", 1, "click", None),  # the same
        ("v", "i", 1, "click", None),
        ("u", "j", 1, "click", None),
        ("u", "i", 2, "click", None),
        ("u", "i", 1, "buy", None),
        ("u", "i", 1, None, None),
        ("u", "i", 1, None, None),  # an absent type is a type of its own
        ("u", "i", 1, "click", None),  # a third time
    )
    assert repeats(table) == {2, 8, 9}


def test_rows_with_an_event_id_are_neither_duplicates_nor_originals_by_content():
    table = interactions(
        ("u", "i", 1, "click", "e1"), ("u", "i", 1, "click", None), ("u", "i", 1, "click", "e2")
    )
    assert repeats(table) == set()


keys = st.tuples(st.sampled_from("uv"), st.sampled_from("ij"), st.integers(0, 1))
logs = st.lists(
    st.tuples(keys, st.sampled_from([None, "a"]), st.sampled_from([None, None, "e1", "e2"])),
    max_size=12,
)


@pytest.fixture
def tiny_pieces(monkeypatch):
    """Everything is cut into so little that every border lies between any two rows once."""
    monkeypatch.setattr("raysys.logs.runs._MOST_BATCH_ROWS", 2)
    monkeypatch.setattr("raysys.logs.parts.BUFFERED_BYTES", 300)
    monkeypatch.setattr("raysys.logs.merging.MOST_OPEN_RUNS", 2)
    monkeypatch.setattr("raysys.logs.shard_file.ROW_GROUP_ROWS", 3)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(logs, logs)
def test_what_is_kept_is_what_the_two_rules_say_row_by_row(
    tmp_path_factory, tiny_pieces, first, second
):
    work = tmp_path_factory.mktemp("work")
    logs_in = [
        interactions(*[(*key, kind, event) for key, kind, event in log], source_file=number)
        for number, log in enumerate([first, second])
    ]
    seen, expected = set(), []
    for number, log in enumerate([first, second]):  # the rules once more, one row at a time
        for row, (key, kind, event) in enumerate(log, start=1):
            said = event if event is not None else (key, kind)
            if said not in seen:
                expected.append((number, row))
            seen.add(said)
    shards = shards_of_logs(work, logs_in, num_shards=3)
    kept = [
        (row["source_file"], row["source_row"])
        for report in shards
        for row in pq.read_table(report.path).to_pylist()
    ]
    assert sorted(kept) == expected
    assert sum(report.duplicates for report in shards) == len(first) + len(second) - len(expected)


def shards_of_logs(work, logs_in, num_shards, batch_rows=5, **options):
    writers = []
    for number, table in enumerate(logs_in):
        with PartWriter(work / f"source-{number}", num_shards) as writer:
            for start in range(0, table.num_rows, batch_rows):
                writer.write(table.slice(start, batch_rows))
        writers.append(writer)
    repeated = [
        find_repeated_events(runs, num_shards, work / "repeated")
        for place in range(num_shards)
        if (runs := [run for one in writers for run in one.event_ids.get(place, [])])
    ]
    return [
        write_shard(
            shard,
            [run for one in writers for run in one.interactions.get(shard, [])],
            [runs[shard] for runs in repeated if shard in runs],
            work / f"shard-{shard}",
            **options,
        )
        for shard in range(num_shards)
    ]


def test_an_event_id_counts_once_even_under_two_users_in_different_shards(tmp_path):
    users = ["u", "v"]
    assert len({stable_hash(user) % 5 for user in users}) == 2
    table = interactions(*[(user, "i", 1, None, "e") for user in users])
    shards = shards_of_logs(tmp_path, [table], num_shards=5)
    kept = [row["user_id"] for one in shards for row in pq.read_table(one.path).to_pylist()]
    assert kept == ["u"]


def test_a_shard_is_sorted_by_user_then_time_and_ties_keep_the_order_of_the_log(tmp_path):
    first = interactions(
        ("b", "1", 5, None, None),
        ("a", "2", 9, None, None),
        ("a", "4", 3, None, None),
        ("a", "3", 3, None, None),
    )
    second = interactions(("é", "5", 0, None, None), ("a", "1", 3, None, None), source_file=1)
    (report,) = shards_of_logs(tmp_path, [first, second], num_shards=1)
    table = pq.read_table(report.path)
    assert table.schema == tables.INTERACTIONS
    assert table.select(["user_id", "item_id"]).to_pylist() == [
        {"user_id": "a", "item_id": "4"},
        {"user_id": "a", "item_id": "3"},
        {"user_id": "a", "item_id": "1"},
        {"user_id": "a", "item_id": "2"},
        {"user_id": "b", "item_id": "1"},
        {"user_id": "é", "item_id": "5"},  # by UTF-8 bytes
    ]
    assert (report.rows, report.duplicates, report.num_users) == (6, 0, 3)
    assert (report.first_occurred_at_us, report.last_occurred_at_us) == (0, 9_000_000)
    assert report.file.sha256 == sha256_of_file(tmp_path / report.path)


def test_users_are_spread_by_their_stable_hash_and_a_shard_may_be_empty(tmp_path):
    table = interactions(*[(f"u{n % 7}", f"i{n}", n, None, None) for n in range(100)])
    shards = shards_of_logs(tmp_path, [table], num_shards=16)
    for report in shards:
        users = pq.read_table(report.path).column("user_id").to_pylist()
        assert {stable_hash(user) % 16 for user in users} <= {report.shard}
    assert sum(report.rows for report in shards) == 100
    assert sum(report.num_users for report in shards) == 7
    empty = [report for report in shards if not report.rows]
    assert empty
    assert empty[0].first_occurred_at_us is None


def test_the_file_is_the_same_however_its_rows_came_in_pieces(tmp_path, monkeypatch, request):
    monkeypatch.setattr("raysys.logs.shard_file.ROW_GROUP_ROWS", 3)
    table = interactions(*[(f"u{n % 3}", f"i{n % 50}", n // 7, None, None) for n in range(200)])
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    (whole,) = shards_of_logs(tmp_path / "whole", [table], num_shards=1, batch_rows=1000)
    request.getfixturevalue("tiny_pieces")
    (cut,) = shards_of_logs(tmp_path / "cut", [table], num_shards=1)
    assert cut.file == whole.file
    assert (cut.rows, cut.duplicates, cut.num_users) == (whole.rows, whole.duplicates, 3)


def test_a_history_is_far_longer_than_what_a_shard_task_holds(tmp_path, tiny_pieces):
    seconds = [n * 7919 % 100 for n in range(200)]  # ties, and no order
    table = interactions(*[("u", f"i{n}", second, None, None) for n, second in enumerate(seconds)])
    (report,) = shards_of_logs(tmp_path, [table], num_shards=1)
    rows = pq.read_table(report.path).column("source_row").to_pylist()
    assert rows == [row + 1 for row in sorted(range(200), key=lambda row: seconds[row])]
    assert report.num_users == 1


def test_the_same_moment_may_be_longer_than_what_a_shard_task_holds(tmp_path, tiny_pieces):
    table = interactions(*[("u", f"i{n % 40}", 5, None, None) for n in range(200)])
    (report,) = shards_of_logs(tmp_path, [table], num_shards=1)
    assert pq.read_table(report.path).column("source_row").to_pylist() == list(range(1, 41))
    assert report.duplicates == 160


def test_a_shard_as_it_was_is_one_more_run_that_comes_first(tmp_path):
    rows = [(f"u{n % 3}", f"i{n}", n % 5, None, None) for n in range(40)]
    old = interactions(*rows[:25])
    new = interactions(*rows[10:], source_file=1)  # 15 rows once more, 15 new ones
    for name in ("old", "new", "both"):
        (tmp_path / name).mkdir()
    (base,) = shards_of_logs(tmp_path / "old", [old], num_shards=1)
    path = Path(base.path)
    (added,) = shards_of_logs(tmp_path / "new", [new], num_shards=1, base=path)
    (both,) = shards_of_logs(tmp_path / "both", [old, new], num_shards=1)
    assert pq.read_table(added.path) == pq.read_table(both.path)
    assert (added.rows, added.duplicates, added.num_users) == (40, 15, 3)


def test_a_column_that_the_old_shard_or_a_log_lacks_holds_nulls(tmp_path):
    wider = tables.INTERACTIONS.append(pa.field("device", pa.string()))
    old = interactions(("u", "a", 1, None, None))
    new = interactions(("u", "b", 2, None, None), source_file=1)
    new = new.append_column("device", pa.array(["tv"]))
    (tmp_path / "old").mkdir()
    (base,) = shards_of_logs(tmp_path / "old", [old], num_shards=1)
    (report,) = shards_of_logs(
        tmp_path, [new, old], num_shards=1, base=Path(base.path), schema=wider
    )
    table = pq.read_table(report.path)
    assert table.schema == wider
    assert table.column("device").to_pylist() == [None, "tv"]


def test_rows_of_a_piece_count_from_where_the_piece_begins(tmp_path):
    table = interactions(("u", "a", 1, None, None), ("u", "b", 1, None, None))
    with PartWriter(tmp_path / "parts", 1) as writer:
        writer.write(table)
    runs = [replace(run, row_offset=70) for run in writer.interactions[0]]
    report = write_shard(0, runs, [], tmp_path / "shard")
    assert pq.read_table(report.path).column("source_row").to_pylist() == [71, 72]


ranks = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4_000_000_000)), max_size=30)


@given(ranks, st.sampled_from([1, 1_000_000, 2_000_000]))
def test_rows_are_sorted_by_rank_and_time_and_ties_stay_in_order(rows, unit):
    """The unit is microseconds: whole seconds take less room in a key, and the year 2096 more."""
    given_ranks = np.array([rank for rank, _ in rows], np.int64)
    times = np.array([time % 4 * unit + time for _, time in rows], np.int64)
    expected = sorted(range(len(rows)), key=lambda row: (given_ranks[row], times[row]))
    assert sorted_places(given_ranks, times).tolist() == expected
    many = given_ranks << 40  # no room left: the other way
    assert sorted_places(many, times).tolist() == expected
