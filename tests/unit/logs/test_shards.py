"""Parts become shards: each user in one of them, in order, duplicates removed by the rules."""

from itertools import permutations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys import tables
from raysys.hashing import sha256_of_file, stable_hash
from raysys.logs.duplicates import ranks_of, repeats_event, repeats_interaction
from raysys.logs.parts import EVENT_IDS, PartWriter, read_parts
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
    """The numbers of the rows that `repeats_interaction` finds."""
    order = [(name, "ascending") for name in ("user_id", "occurred_at", "source_row")]
    table = table.sort_by(order)
    users = ranks_of(table.column("user_id"))
    times = table.column("occurred_at").cast(pa.int64()).to_numpy()
    mask = pa.array(repeats_interaction(table, users, times))
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


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_of_one_event_id_the_first_in_log_order_stays_whatever_the_order_of_parts(order):
    rows = [("e", 0, 0, 7), ("e", 3, 1, 2), ("e", 0, 1, 5)]
    events = pa.Table.from_pylist(
        [dict(zip(EVENT_IDS.names, rows[place], strict=True)) for place in order], EVENT_IDS
    )
    assert [order[place] for place in range(3) if not repeats_event(events)[place]] == [0]


keys = st.tuples(st.sampled_from("uv"), st.sampled_from("ij"), st.integers(0, 1))
logs = st.lists(
    st.tuples(keys, st.sampled_from([None, "a"]), st.sampled_from([None, None, "e1", "e2"])),
    max_size=12,
)


@settings(max_examples=30)  # each writes a dozen files
@given(logs, logs)
def test_what_is_kept_is_what_the_two_rules_say_row_by_row(tmp_path_factory, first, second):
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


def shards_of_logs(work, logs_in, num_shards):
    writers = []
    for number, table in enumerate(logs_in):
        with PartWriter(work / f"source-{number}", num_shards) as writer:
            writer.write(table)
        writers.append(writer)
    repeated = [
        find_repeated_events(parts, work / "repeated")
        for place in range(num_shards)
        if (parts := [one.event_ids[place] for one in writers if place in one.event_ids])
    ]
    return [
        write_shard(
            shard,
            [one.interactions[shard] for one in writers if shard in one.interactions],
            repeated,
            work / f"shard-{shard}",
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


def test_parts_keep_log_order_when_rows_come_in_many_small_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("raysys.logs.parts.BUFFERED_ROWS", 10)
    table = interactions(*[("u", f"i{n}", 0, None, None) for n in range(95)])
    with PartWriter(tmp_path / "parts", 2) as writer:
        for start in range(0, 95, 7):
            writer.write(table.slice(start, 7))
    (path,) = writer.interactions.values()
    assert read_parts([path], tables.INTERACTIONS) == table


def test_every_part_keeps_log_order_whatever_users_come_in_between(tmp_path):
    table = interactions(*[(f"u{n * 7919 % 101}", "i", 0, None, None) for n in range(5000)])
    with PartWriter(tmp_path / "parts", 3) as writer:
        writer.write(table)
    assert len(writer.interactions) == 3
    for path in writer.interactions.values():
        rows = read_parts([path], tables.INTERACTIONS).column("source_row").to_pylist()
        assert rows == sorted(rows)
