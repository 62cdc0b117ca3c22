"""Sources become raw batches: right columns, right row numbers, errors that say what to do."""

import gzip

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.errors import SourceError
from raysys.logs.columnar import read_parquet
from raysys.logs.delimited import read_text
from raysys.logs.formats import CSV
from raysys.logs.readers import inspect_source, read_source
from tests.unit.logs.tools import ITEMS, LOG, log_at, read_and_check, table_at, write

HEADER = "USER_ID,ITEM_ID,TIMESTAMP\n"


def pairs(table):
    return list(zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))


def test_columns_are_found_by_name_in_any_case_and_order(tmp_path):
    text = 'Timestamp,"item_id", User_ID ,EVENT_VALUE\n5,b,a,2.5\n'
    _, accepted, _ = read_and_check(write(tmp_path / "log.csv", text))
    assert pairs(accepted) == [("a", "b")]
    assert accepted["event_value"].to_pylist() == [2.5]
    assert accepted["occurred_at"].cast(pa.int64()).to_pylist() == [5_000_000]


def test_columns_that_are_not_known_are_named_in_a_notice(tmp_path):
    path = write(tmp_path / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP,DEVICE\na,b,1,phone\n")
    assert inspect_source(log_at(path), LOG)[1] == [
        "log.csv: not read, since no known column has that name: 'DEVICE'. A "
        "schema can declare it: see `raysys schema`."
    ]


def test_row_numbers_count_records_and_not_lines(tmp_path):
    text = HEADER + '"a\nb",i,1\n\n\nc,i\nd,i,3\n'
    _, accepted, quarantine = read_and_check(write(tmp_path / "log.csv", text))
    assert accepted["source_row"].to_pylist() == [1, 3]
    assert accepted["user_id"].to_pylist() == ["a\nb", "d"]
    assert quarantine["source_row"].to_pylist() == [2]


@pytest.mark.parametrize("chunk_bytes", [30, 64, 1000])
def test_row_numbers_go_on_from_one_piece_of_the_file_to_the_next(tmp_path, chunk_bytes):
    rows = "".join(f"u{n},i,{n}\n" if n % 10 else "broken\n" for n in range(1, 101))
    path = write(tmp_path / "log.csv", HEADER + rows)
    batches = list(read_text(log_at(path), CSV, LOG, chunk_bytes=chunk_bytes))
    read = {
        row: user.decode()
        for batch in batches
        for row, user in zip(batch.rows.tolist(), batch.columns["user_id"].to_pylist(), strict=True)
    }
    assert read == {n: f"u{n}" for n in range(1, 101) if n % 10}
    refused = [row.row for batch in batches for row in batch.refused]
    assert refused == list(range(10, 101, 10))


def test_all_line_ends_and_a_byte_order_mark_are_understood(tmp_path):
    content = b"\xef\xbb\xbfUSER_ID,ITEM_ID,TIMESTAMP\r\na,i,1\nb,i,2\rc,i,3"
    _, accepted, quarantine = read_and_check(write(tmp_path / "log.csv", content))
    assert accepted["user_id"].to_pylist() == ["a", "b", "c"]
    assert quarantine.num_rows == 0


def test_a_packed_csv_reads_like_the_plain_one(tmp_path):
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress((HEADER + "a,i,1\n" * 1000).encode()))
    rows_in, accepted, _ = read_and_check(path)
    assert (rows_in, accepted.num_rows) == (1000, 1000)


def test_a_packed_csv_that_is_cut_off_is_a_source_error(tmp_path):
    path = tmp_path / "log.csv.gz"
    content = "".join(f"user{n * 7919 % 1000},i,{n}\n" for n in range(1000))
    path.write_bytes(gzip.compress((HEADER + content).encode())[:-300])
    with pytest.raises(SourceError, match=r"log.csv.gz cannot be read to its end"):
        read_and_check(path)


def test_recbole_names_lose_their_type_and_a_rating_is_the_event_value(tmp_path):
    text = "user_id:token\titem_id:token\trating:float\ttimestamp:float\n196\t242\t3.5\t8.8e8\n"
    _, accepted, _ = read_and_check(write(tmp_path / "log.inter", text))
    assert pairs(accepted) == [("196", "242")]
    assert accepted["event_value"].to_pylist() == [3.5]
    assert accepted["occurred_at"].cast(pa.int64()).to_pylist() == [880_000_000_000_000]


def test_parquet_keeps_its_types_and_integer_ids_are_noticed(tmp_path):
    path = tmp_path / "log.parquet"
    table = pa.table({"USER_ID": [1, 2], "item_id": ["1.0", "b"], "TIMESTAMP": [10, 20]})
    pq.write_table(table, path)
    _, accepted, quarantine = read_and_check(path)
    assert pairs(accepted) == [("1", "1.0"), ("2", "b")]  # a text column may hold such an id
    assert quarantine.num_rows == 0
    assert inspect_source(log_at(path), LOG)[1] == [
        "log.parquet: USER_ID holds integers; they were written as text."
    ]


def test_arrow_timestamps_and_dictionaries_are_understood_in_parquet(tmp_path):
    path = tmp_path / "log.parquet"
    times = pa.array([1_500_000_000_123], pa.timestamp("ms"))
    users = pa.array(["a"]).dictionary_encode()
    pq.write_table(pa.table({"USER_ID": users, "ITEM_ID": ["b"], "TIMESTAMP": times}), path)
    _, accepted, _ = read_and_check(path)
    assert accepted["occurred_at"].cast(pa.int64()).to_pylist() == [1_500_000_000_123_000]
    assert "taken as UTC" in inspect_source(log_at(path), LOG)[1][0]


def test_parquet_row_numbers_go_on_from_one_batch_to_the_next(tmp_path):
    path = tmp_path / "log.parquet"
    users = [f"u{n}" for n in range(1, 11)]
    pq.write_table(
        pa.table({"USER_ID": users, "ITEM_ID": users, "TIMESTAMP": list(range(10))}), path
    )
    batches = list(read_parquet(log_at(path), LOG, batch_rows=4))
    assert [batch.rows.tolist() for batch in batches] == [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10]]
    assert batches[-1].bytes_read == path.stat().st_size


def test_parquet_row_numbers_cross_row_groups(tmp_path):
    path = tmp_path / "log.parquet"
    table = pa.table(
        {
            "USER_ID": [f"u{n}" if n != 7 else None for n in range(1, 11)],
            "ITEM_ID": ["i"] * 10,
            "TIMESTAMP": list(range(10)),
        }
    )
    pq.write_table(table, path, row_group_size=3)
    _, accepted, quarantine = read_and_check(path)
    assert accepted["source_row"].to_pylist() == [1, 2, 3, 4, 5, 6, 8, 9, 10]
    assert quarantine.select(["source_row", "reason"]).to_pylist() == [
        {"source_row": 7, "reason": "null_id"}
    ]
    assert quarantine["row"].to_pylist() == ['{"USER_ID": null, "ITEM_ID": "i", "TIMESTAMP": 6}']


UNREADABLE = {
    "empty.csv": (b"", "is empty"),
    "blank.csv": (b"\n\n\n", "no header line, only empty lines"),
    "wide.csv": (
        "USER_ID,ITEM_ID,TIMESTAMP\na,b,1\n".encode("utf-16"),
        "is a text in UTF-16. Save it as UTF-8",
    ),
    "missing.csv": (
        b"USER_ID,ITEM\na,b\n",
        r"no column ITEM_ID or TIMESTAMP\. .*--column ITEM_ID=\.\.\. --column TIMESTAMP=\.\.\.$",
    ),
    "three.csv": (b"who,what\na,b\n", "no column USER_ID, ITEM_ID or TIMESTAMP"),
    "book.csv": (b"PK\x03\x04\x14\xff\n\x00", r"seems to be no text: it begins with 'PK\\x03"),
    "semicolons.csv": (b"USER_ID;ITEM_ID;TIMESTAMP\na;b;1\n", "separated by semicolons"),
    "headless.csv": (b"196,242,881250949\n", "first line looks like data"),
    "twice.csv": (b"USER_ID,user_id,ITEM_ID,TIMESTAMP\na,a,b,1\n", "USER_ID 2 times"),
    "packed.csv": (gzip.compress(b"USER_ID,ITEM_ID,TIMESTAMP\na,b,1\n"), "let its name end with"),
    "garbage.parquet": (b"PAR1 this is no Parquet file", "not a complete Parquet file"),
    "log.txt": (b"USER_ID,ITEM_ID,TIMESTAMP\na,b,1\n", "no known format"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_source_that_cannot_be_read_is_named_with_what_is_wrong(tmp_path, name):
    content, message = UNREADABLE[name]
    path = write(tmp_path / name, content)
    for attempt in (inspect_source, lambda *given: list(read_source(*given))):
        with pytest.raises(SourceError, match=message) as caught:
            attempt(log_at(path), LOG)
        assert name in str(caught.value)


def test_a_missing_column_is_told_with_the_option_of_its_table(tmp_path):
    path = write(tmp_path / "items.csv", "sku,GENRES\nx,War\n")
    with pytest.raises(SourceError, match=r"no column ITEM_ID\. .*: --item-column ITEM_ID=\.\.\.$"):
        inspect_source(table_at(path), ITEMS)


def test_a_missing_file_is_a_source_error(tmp_path):
    with pytest.raises(SourceError, match=r"nowhere.csv does not exist"):
        log_at(tmp_path / "nowhere.csv")


def test_a_parquet_file_cut_off_in_its_rows_is_a_source_error(tmp_path):
    path = tmp_path / "log.parquet"
    columns = {name: [f"{name}{n}" for n in range(5000)] for name in ("USER_ID", "ITEM_ID")}
    pq.write_table(pa.table({**columns, "TIMESTAMP": list(range(5000))}), path)
    content = path.read_bytes()
    middle = len(content) // 3
    path.write_bytes(content[:middle] + bytes(2000) + content[middle + 2000 :])
    with pytest.raises(SourceError, match="its rows cannot"):
        read_and_check(path)


@pytest.mark.parametrize(
    ("column", "values"),
    [("USER_ID", [[1]]), ("ITEM_ID", [True]), ("TIMESTAMP", [{"a": 1}]), ("EVENT_TYPE", [3])],
)
def test_a_column_of_a_type_that_no_row_can_use_is_refused_at_once(tmp_path, column, values):
    columns = {"USER_ID": ["a"], "ITEM_ID": ["b"], "TIMESTAMP": [1], column: values}
    path = tmp_path / "log.parquet"
    pq.write_table(pa.table(columns), path)
    with pytest.raises(SourceError, match=f"column {column} is of type"):
        inspect_source(log_at(path), LOG)
