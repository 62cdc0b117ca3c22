"""Every row comes out once: as it went in, or in quarantine with its number and reason."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys import tables
from raysys.logs.reasons import Reason
from raysys.logs.row_parser import NULL_TEXTS
from tests.unit.logs.tools import csv_line, read_and_check, write

HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE,EVENT_ID"

BROKEN = {  # a row, its reason, a part of the sentence about it
    "no user": (b",i,1,,,", "null_id", "USER_ID"),
    "no item": (b"u,,1,,,", "null_id", "ITEM_ID"),
    "a NULL of SQL": (b"NULL,i,1,,,", "null_id", "USER_ID"),
    "a NULL of MySQL": (b"u,\\N,1,,,", "null_id", "ITEM_ID"),
    "an empty text": (b'"",i,1,,,', "empty_id", "USER_ID is ''"),
    "white space": (b" ,i,1,,,", "empty_id", "white space"),
    "no-break space": ("\u00a0,i,1,,,".encode(), "empty_id", "white space"),
    "a float": (b"u,12.0,1,,,", "float_id", "12.0"),
    "257 characters": ("é".encode() * 257 + b",i,1,,,", "id_too_long", "257 characters"),
    "no time": (b"u,i,,,,", "null_timestamp", "TIMESTAMP"),
    "a quoted empty time": (b'u,i,"",,,', "null_timestamp", "TIMESTAMP"),
    "a word for a time": (b"u,i,yesterday,,,", "bad_timestamp", "'yesterday'"),
    "a date": (b"u,i,2026-01-01T00:00:00Z,,,", "bad_timestamp", "seconds since"),
    "not a number": (b"u,i,nan,,,", "bad_timestamp", "seconds since"),
    "a hexadecimal time": (b"u,i,0x10,,,", "bad_timestamp", "0x10"),
    "before 1970": (b"u,i,-1,,,", "negative_timestamp", "-1"),
    "just before 1970": (b"u,i,-0.5,,,", "negative_timestamp", "-0.5"),
    "2100": (b"u,i,4102444800,,,", "timestamp_out_of_range", "2099"),
    "milliseconds": (b"u,i,1767323045678,,,", "timestamp_out_of_range", "divide by 1,000."),
    "nanoseconds": (b"u,i,1767323045678000000,,,", "timestamp_out_of_range", "nanoseconds"),
    "a huge time": (b"u,i,1" + b"0" * 30 + b",,,", "timestamp_out_of_range", "2099"),
    "a long type": (b"u,i,1," + b"t" * 257 + b",,", "event_type_too_long", "EVENT_TYPE"),
    "a word for a value": (b"u,i,1,,good,", "bad_event_value", "'good'"),
    "an infinite value": (b"u,i,1,,inf,", "bad_event_value", "finite"),
    "a long event id": (b"u,i,1,,," + b"e" * 257, "id_too_long", "EVENT_ID"),
    "Latin 1": (b"Andr\xe9,i,1,,,", "bad_encoding", "Andr\\xe9"),
    "half a surrogate": (b"\xed\xa0\x80,i,1,,,", "bad_encoding", "UTF-8"),
    "a NUL": (b"u\0,i,1,,,", "nul_byte", "USER_ID"),
    "a column too few": (b"u,i,1,,", "wrong_column_count", "5 columns, the header has 6"),
    "a column too many": (b"u,i,1,,,,", "wrong_column_count", "7 columns, the header has 6"),
    "Latin 1, too few": (b"Andr\xe9,i", "wrong_column_count", "2 columns"),
    "the header again": (HEADER.encode(), "repeated_header", "header"),
    "an open quote": (b'u,"i,1,,,', "unclosed_quote", "never closed"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_row_is_quarantined_with_its_reason_and_costs_no_other_row(tmp_path, case):
    row, reason, words = BROKEN[case]
    content = HEADER.encode() + b"\ngood,i,1,,,\n" + row + b"\ngood,i,2,,,\n"
    rows_in, accepted, quarantine = read_and_check(write(tmp_path / "log.csv", content))
    assert rows_in == 3
    assert accepted["source_row"].to_pylist() == [1, 3]
    assert accepted["user_id"].to_pylist() == ["good", "good"]
    (found,) = quarantine.to_pylist()
    assert (found["source"], found["source_row"], found["reason"]) == ("log.csv", 2, reason)
    assert words in found["detail"]
    assert found["row"] == row.decode("utf-8", "backslashreplace").replace("\0", "\\x00")


def test_every_reason_has_a_broken_row_above_or_a_test_of_its_own():
    # tests/unit/logs/test_records.py and test_json_lines.py
    elsewhere = {Reason.ROW_TOO_LONG, Reason.BAD_JSON, Reason.WRONG_TYPE}
    elsewhere |= {  # tests/unit/logs/test_metadata.py
        Reason.NULL_VALUE,
        Reason.BAD_INTEGER,
        Reason.BAD_NUMBER,
        Reason.BAD_BOOLEAN,
        Reason.VALUE_TOO_LONG,
    }
    assert {reason for _, reason, _ in BROKEN.values()} == set(Reason) - elsewhere
    assert all(reason.sentence for reason in Reason)


def test_what_is_unusual_but_usable_is_kept_as_it_is(tmp_path):
    rows = [
        " u ,i,0,,,",  # white space belongs to the id; the first second of 1970 is a time
        "1e5,007,1.5,,,",  # no floats: hexadecimal-looking ids and leading zeros are ids
        "u,i, 4102444799 ,,nan,",  # the last second of 2099; NaN is no value
        'u,i,881250949.123456,"",-1e3,""',
    ]
    content = HEADER + "\n" + "\n".join(rows) + "\n"
    _, accepted, quarantine = read_and_check(write(tmp_path / "log.csv", content))
    assert quarantine.num_rows == 0
    assert accepted["user_id"].to_pylist() == [" u ", "1e5", "u", "u"]
    assert accepted["item_id"].to_pylist() == ["i", "007", "i", "i"]
    assert accepted["occurred_at"].cast(pa.int64()).to_pylist() == [
        0,
        1_500_000,
        4_102_444_799_000_000,
        881_250_949_123_456,
    ]
    assert accepted["event_value"].to_pylist() == [None, None, None, -1000.0]
    assert accepted["event_type"].to_pylist() == [None, None, None, None]
    assert accepted["event_id"].to_pylist() == [None, None, None, None]


def test_an_id_may_have_256_characters_however_many_bytes_they_take(tmp_path):
    content = f"{HEADER}\n{'é' * 256},i,1,{'é' * 256},,{'e' * 256}\n"
    _, accepted, quarantine = read_and_check(write(tmp_path / "log.csv", content))
    assert quarantine.num_rows == 0
    assert accepted["user_id"].to_pylist() == ["é" * 256]


def test_ids_that_are_floats_in_parquet_are_refused_row_by_row(tmp_path):
    path = tmp_path / "log.parquet"
    table = pa.table(
        {"USER_ID": [1.0, None, float("nan")], "ITEM_ID": ["i"] * 3, "TIMESTAMP": [1, 2, 3]}
    )
    pq.write_table(table, path)
    _, accepted, quarantine = read_and_check(path)
    assert accepted.num_rows == 0
    assert quarantine["reason"].to_pylist() == ["float_id", "null_id", "null_id"]


def test_text_that_is_no_utf8_in_a_parquet_text_column_is_quarantined(tmp_path):
    path = tmp_path / "log.parquet"
    users = pa.array([b"a", b"\xff", b"c"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"USER_ID": users, "ITEM_ID": ["i"] * 3, "TIMESTAMP": [1] * 3}), path)
    _, accepted, quarantine = read_and_check(path)
    assert accepted["user_id"].to_pylist() == ["a", "c"]
    assert quarantine.select(["source_row", "reason"]).to_pylist() == [
        {"source_row": 2, "reason": "bad_encoding"}
    ]


@pytest.mark.parametrize(
    ("times", "micros"),
    [
        (pa.array([5], pa.int8()), 5_000_000),
        (pa.array([5], pa.uint64()), 5_000_000),
        (pa.array([5.25], pa.float32()), 5_250_000),
        (pa.array(["5.25"]), 5_250_000),
        (pa.array([5_250_000_000], pa.timestamp("ns", "Europe/Paris")), 5_250_000),
    ],
)
def test_times_of_every_type_become_microseconds(tmp_path, times, micros):
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table({"USER_ID": ["u"], "ITEM_ID": ["i"], "TIMESTAMP": times}), path)
    _, accepted, _ = read_and_check(path)
    assert accepted["occurred_at"].cast(pa.int64()).to_pylist() == [micros]


def test_the_largest_number_of_seconds_is_out_of_range_and_not_an_error(tmp_path):
    path = tmp_path / "log.parquet"
    times = pa.array([2**64 - 1], pa.uint64())
    pq.write_table(pa.table({"USER_ID": ["u"], "ITEM_ID": ["i"], "TIMESTAMP": times}), path)
    _, _, quarantine = read_and_check(path)
    assert quarantine["reason"].to_pylist() == ["timestamp_out_of_range"]


ids = st.text(
    st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12
).filter(lambda text: text.strip() and not text.replace(".", "").strip("+-").isdecimal())
good_rows = st.tuples(
    ids.filter(lambda text: text not in NULL_TEXTS),
    ids.filter(lambda text: text not in NULL_TEXTS),
    st.integers(0, 4_102_444_799),
    st.sampled_from(["", "click", "a,b", 'say "x"']),
    st.one_of(st.just(""), st.integers(-1000, 1000)),
    st.just(""),
)
broken_rows = st.sampled_from(list(BROKEN.values()))


@settings(max_examples=40)
@given(st.lists(st.one_of(good_rows, broken_rows), max_size=12))
def test_rows_in_are_rows_out_and_good_rows_come_through_unchanged(rows):
    is_good = [len(row) == 6 for row in rows]
    # An open quote is closed by the next quote, so a file may have one only as its last row.
    rows = [
        row for row, good in zip(rows, is_good, strict=True) if good or row[1] != "unclosed_quote"
    ]
    lines = [csv_line(row).encode() if len(row) == 6 else row[0] for row in rows]
    content = b"\n".join([HEADER.encode(), *lines]) + b"\n"
    with TemporaryDirectory() as directory:
        rows_in, accepted, quarantine = read_and_check(write(Path(directory) / "log.csv", content))
    assert rows_in == len(rows) == accepted.num_rows + quarantine.num_rows
    assert accepted.schema == tables.INTERACTIONS
    numbered = list(enumerate(rows, start=1))
    assert list(
        zip(
            accepted["source_row"].to_pylist(),
            accepted["user_id"].to_pylist(),
            accepted["item_id"].to_pylist(),
            accepted["occurred_at"].cast(pa.int64()).to_pylist(),
            accepted["event_type"].to_pylist(),
            accepted["event_value"].to_pylist(),
            strict=True,
        )
    ) == [
        (n, row[0], row[1], row[2] * 1_000_000, row[3] or None, None if row[4] == "" else row[4])
        for n, row in numbered
        if len(row) == 6
    ]
    assert list(
        zip(quarantine["source_row"].to_pylist(), quarantine["reason"].to_pylist(), strict=True)
    ) == [(n, row[1]) for n, row in numbered if len(row) == 3]
