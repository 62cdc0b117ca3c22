"""Files in which anything may have happened to some bytes: what was not touched stays as it was."""

import gzip
import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from raysys.errors import SourceError
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from tests.unit.logs.tools import csv_line, read_and_check, write

COLUMNS = ("USER_ID", "ITEM_ID", "TIMESTAMP")
ROWS = [(f"user{n}", f"item {n}", 1000 + n) for n in range(12)]
LINES = {
    "log.csv": [b",".join(map(str.encode, COLUMNS)), *(csv_line(row).encode() for row in ROWS)],
    "log.inter": [
        b"user_id:token\titem_id:token\ttimestamp:float",
        *("\t".join(map(str, row)).encode() for row in ROWS),
    ],
    "log.jsonl": [
        b"{}",  # in the place of a header, so that the rows have the same numbers
        *(json.dumps(dict(zip(COLUMNS, row, strict=True))).encode() for row in ROWS),
    ],
}
NASTY = st.sampled_from(
    [b'"', b'""', b"\n", b"\r", b"\r\n", b"\0", b"\xff", b"\xed\xa0\x80", b",", b"\t", b"{", b"\\"]
)
PIECES = st.lists(st.one_of(NASTY, st.binary(max_size=6)), max_size=3).map(b"".join)
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 40), PIECES), min_size=1, max_size=3)
"""Where in the rows, as a share, how many bytes are cut out there, and what is put in."""


def changed(rows: bytes, changes: list[tuple[float, int, bytes]]) -> tuple[bytes, int, int]:
    """Return the rows after all changes, and the first and the end of what they touched."""
    places = sorted((round(share * len(rows)), size, piece) for share, size, piece in changes)
    parts, at = [], 0
    for place, size, piece in places:
        parts += [rows[at : max(place, at)], piece]
        at = max(at, min(place + size, len(rows)))
    return b"".join([*parts, rows[at:]]), places[0][0], at


def untouched(lines: list[bytes], first: int, end: int) -> tuple[int, int]:
    """Return how many of the lines end before what was touched, and how many begin behind it."""
    ends = [sum(len(line) + 1 for line in lines[: place + 1]) for place in range(len(lines))]
    begins = [0, *ends[:-1]]
    return sum(at <= first for at in ends), sum(at - 1 >= end for at in begins)


@pytest.mark.parametrize("name", LINES)
@given(changes=CHANGES)
@example(changes=[(0.5, 0, b'"')])
@example(changes=[(0.1, 0, b'\n"'), (0.9, 0, b'"\n')])
@settings(max_examples=50)
def test_rows_before_and_behind_what_was_touched_come_through_unchanged(name, changes):
    header, *lines = LINES[name]
    rows, first, end = changed(b"\n".join(lines) + b"\n", changes)
    before, behind = untouched(lines, first, end)
    with TemporaryDirectory() as directory:
        path = write(Path(directory) / name, header + b"\n" + rows)
        try:
            rows_in, accepted, quarantine = read_and_check(path)
        except SourceError:
            assert name == "log.jsonl"  # a key may now stand twice, in two spellings
            return
    numbers = accepted["source_row"].to_pylist() + quarantine["source_row"].to_pylist()
    assert sorted(numbers) == list(range(1, rows_in + 1))
    found = list(
        zip(
            accepted["user_id"].to_pylist(),
            accepted["item_id"].to_pylist(),
            (accepted["occurred_at"].cast(pa.int64()).to_numpy() // 1_000_000).tolist(),
            strict=True,
        )
    )
    assert found[:before] == ROWS[:before]
    assert found[len(found) - behind :] == ROWS[len(ROWS) - behind :]
    is_json = name == "log.jsonl"  # whose first line is a row too, an empty one
    assert accepted["source_row"].to_pylist()[:before] == [
        number + is_json for number in range(1, before + 1)
    ]


PACKED = gzip.compress(b"\n".join(LINES["log.csv"]) + b"\n", mtime=0)


@given(st.integers(0, len(PACKED) - 1), st.integers(1, 255))
def test_a_packed_file_with_a_wrong_byte_is_refused_or_read_as_it_was(place, difference):
    wrong = bytearray(PACKED)
    wrong[place] ^= difference
    with TemporaryDirectory() as directory:
        path = write(Path(directory) / "log.csv.gz", bytes(wrong))
        try:
            _, accepted, quarantine = read_and_check(path)
        except SourceError:
            return
    assert accepted["user_id"].to_pylist() == [user for user, _, _ in ROWS]
    assert quarantine.num_rows == 0


rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.sampled_from(["x", "y"]),
        st.sampled_from([1, 2, -5]),
        st.sampled_from(["click", None]),
        st.sampled_from(["e", None, None]),
    ),
    min_size=1,
    max_size=6,
)
files = st.lists(
    st.tuples(st.sampled_from(["csv", "jsonl", "parquet"]), rows), min_size=1, max_size=3
)
ALL_COLUMNS = (*COLUMNS, "EVENT_TYPE", "EVENT_ID")


def write_rows(path: Path, rows: list[tuple]) -> None:
    if path.suffix == ".csv":
        lines = [csv_line("" if value is None else value for value in row) for row in rows]
        path.write_text("\n".join([",".join(ALL_COLUMNS), *lines]) + "\n")
    elif path.suffix == ".jsonl":
        objects = (dict(zip(ALL_COLUMNS, row, strict=True)) for row in rows)
        path.write_text("".join(json.dumps(one) + "\n" for one in objects))
    else:
        columns = [list(column) for column in zip(*rows, strict=True)]
        types = [pa.string(), pa.string(), pa.int64(), pa.string(), pa.string()]
        arrays = [pa.array(values, kind) for values, kind in zip(columns, types, strict=True)]
        pq.write_table(pa.table(arrays, names=list(ALL_COLUMNS)), path)


def by_hand(files: list[tuple[str, list[tuple]]]) -> tuple[list[tuple], int, int]:
    """Return the rows that should be accepted, by file and row, and the counts of the others.

    A bad row of a file that is given twice was read before, so the second time it is a duplicate.
    """
    accepted, bad, duplicates, seen = [], 0, 0, set()
    for source, (suffix, rows) in enumerate(files):
        is_given_again = (suffix, rows) in files[:source]
        for number, (user, item, time, kind, event) in enumerate(rows, start=1):
            key = (user, item, time, kind) if event is None else event
            if user is None or time < 0:
                bad += not is_given_again
                duplicates += is_given_again
            elif key in seen:
                duplicates += 1
            else:
                seen.add(key)
                accepted.append((source, number, user, item, time, kind, event))
    return accepted, bad, duplicates


@given(files)
@settings(max_examples=20)
def test_an_import_of_several_files_accepts_what_counting_by_hand_accepts(files):
    expected, bad, duplicates = by_hand(files)
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        sources = [folder / f"{place}.{suffix}" for place, (suffix, _) in enumerate(files)]
        for path, (_, rows) in zip(sources, files, strict=True):
            write_rows(path, rows)
        if not expected:
            with pytest.raises(SourceError, match="none of"):
                import_log(sources, folder / "data", num_shards=2, run=run_here)
            return
        manifest = import_log(sources, folder / "data", num_shards=2, run=run_here)
        shards = [pq.read_table(folder / "data" / name) for name in manifest.shard_names()]
    assert (manifest.rows_quarantined, manifest.rows_duplicate) == (bad, duplicates)
    assert manifest.rows_in == len(expected) + bad + duplicates
    names = (
        "source_file",
        "source_row",
        "user_id",
        "item_id",
        "occurred_at",
        "event_type",
        "event_id",
    )
    found = [
        tuple(row["occurred_at"].timestamp() if one == "occurred_at" else row[one] for one in names)
        for row in pa.concat_tables(shards).to_pylist()
    ]
    assert sorted(found, key=lambda row: row[:2]) == expected
