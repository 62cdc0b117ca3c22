"""Queries to SQLite as sources: types, order, bounded memory, and errors that keep secrets."""

import pickle
import sqlite3
from decimal import Decimal
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.errors import SourceError
from raysys.logs import sql
from raysys.logs.call import run_here
from raysys.logs.columnar import check_columns
from raysys.logs.database_values import column_of
from raysys.logs.first_rows import first_rows
from raysys.logs.importing import import_log
from raysys.logs.source import Source
from raysys.logs.sql import fetch_query, sql_query
from tests.unit.logs.tools import LOG

check = partial(check_columns, LOG)


@pytest.fixture
def database(tmp_path):
    """A database with one log, `views`, and a table of films."""
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.executescript("""
        create table views (viewer integer, film text, at integer, stars real);
        insert into views values (7, 'a', 1000, 4.5), (8, 'b', 1001, null), (7, null, 1002, 1);
        create table films (item_id text, title text, price numeric);
        insert into films values ('a', '50%: yes', 3), ('b', null, 3.5);
    """)
    connection.close()
    return f"sqlite:///{tmp_path / 'shop.db'}"


VIEWS = (
    "select viewer as user_id, film as ITEM_ID, at as timestamp, stars as event_value from views"
)


def fetch(url, query, tmp_path, check=check):
    """Return what a query yields, and the table that it wrote."""
    *progress, source = fetch_query(sql_query(url, query), tmp_path / "fetched.parquet", check)
    assert isinstance(source, Source)
    return progress, pq.read_table(source.location)


def fetch_values(tmp_path, rows, *, declared="v"):
    """Return the one column of a table of SQLite, which holds what is put into it."""
    connection = sqlite3.connect(tmp_path / "values.db")
    connection.execute(f"create table t ({declared})")
    connection.executemany("insert into t values (?)", [(row,) for row in rows])
    connection.commit()
    connection.close()
    return fetch(f"sqlite:///{tmp_path}/values.db", "select * from t", tmp_path, lambda *_: None)


def test_what_queries_return_is_imported_row_by_row(database, tmp_path):
    manifest = import_log(
        [sql_query(database, VIEWS)],
        tmp_path / "data",
        items=sql_query(database, "select * from films where title is null or title like '50%'"),
        users=sql_query(database, "select distinct viewer user_id from views order by 1"),
        num_shards=1,
        run=run_here,
    )
    assert (manifest.rows_in, manifest.rows_accepted) == (3, 2)
    assert manifest.quarantined_by_reason == {"null_id": 1}
    name = f"{database}: {VIEWS}"
    assert [source.name for source in manifest.sources] == [name]
    users = f"{database}: select distinct viewer user_id from views order by 1"
    assert manifest.notices == [
        f"{one}: USER_ID holds integers; they were written as text." for one in (name, users)
    ]
    (shard,) = manifest.shard_names()
    rows = pq.read_table(tmp_path / "data" / shard).to_pylist()
    assert [
        (row["user_id"], row["item_id"], row["event_value"], row["source_row"]) for row in rows
    ] == [
        ("7", "a", 4.5, 1),
        ("8", "b", None, 2),
    ]
    assert pq.read_table(tmp_path / "data" / manifest.items_file).to_pylist() == [
        {"item_id": "a", "title": "50%: yes", "price": 3.0},
        {"item_id": "b", "title": None, "price": 3.5},
    ]
    assert pq.read_table(tmp_path / "data" / manifest.users_file).to_pylist() == [
        {"user_id": "7"},
        {"user_id": "8"},
    ]


def test_rows_keep_the_order_of_the_query_from_one_batch_to_the_next(
    database, tmp_path, monkeypatch
):
    monkeypatch.setattr(sql, "BATCH_ROWS", 2)
    progress, table = fetch(database, f"{VIEWS} order by at desc", tmp_path)
    assert progress == [2, 3]
    assert table["timestamp"].to_pylist() == [1002, 1001, 1000]


def test_no_more_rows_than_are_wanted_are_fetched(database, tmp_path, monkeypatch):
    monkeypatch.setattr(sql, "BATCH_ROWS", 2)
    query = sql_query(database, VIEWS)
    for wanted in (1, 2, 3, 4):
        (source,) = first_rows([query], wanted, tmp_path / str(wanted))
        table = pq.read_table(source.location)
        assert table["event_value"].to_pylist() == [4.5, None, 1.0][:wanted]
        assert source.name == query.name
    found = [*fetch_query(query, tmp_path / "2.parquet", lambda *_: None, most_rows=2)]
    assert found[:-1] == [2]  # the third row was never asked for


def test_a_result_without_rows_has_columns(database, tmp_path):
    _, table = fetch(database, f"{VIEWS} where at < 0", tmp_path)
    assert table.num_rows == 0
    assert table.column_names == ["user_id", "ITEM_ID", "timestamp", "event_value"]


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([None, None, 1, 2, None, 2.5], [None, None, 1.0, 2.0, None, 2.5]),
        ([1, 2, 3, "x", None], ["1", "2", "3", "x", None]),
        ([1, 2, 3, b"\xff", "ü"], [b"1", b"2", b"3", b"\xff", "ü".encode()]),
        ([None, None, None], [None, None, None]),
    ],
)
def test_a_column_grows_to_the_type_that_holds_all_its_values(
    tmp_path, monkeypatch, rows, expected
):
    monkeypatch.setattr(sql, "BATCH_ROWS", 2)
    _, table = fetch_values(tmp_path, rows)
    assert table["v"].to_pylist() == expected
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fetched.parquet", "values.db"]


def test_text_that_is_no_utf8_costs_its_row_alone(tmp_path):
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.executescript(
        "create table t (user_id, item_id, timestamp); insert into t values ('a', 'i', 1),"
        " (cast(x'ff' as text), 'i', 2), ('c', 'i', 3)"
    )
    connection.close()
    query = sql_query(f"sqlite:///{tmp_path}/shop.db", "select * from t")
    manifest = import_log([query], tmp_path / "data", run=run_here)
    assert manifest.rows_accepted == 2
    assert manifest.quarantined_by_reason == {"bad_encoding": 1}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([Decimal(12), None, Decimal("2E+3")], [12, None, 2000]),
        ([Decimal("1.50"), Decimal(2)], [1.5, 2.0]),
        ([2**70, 1], [str(2**70), "1"]),
        ([["a", None, "b"], [], None], ["a|b", "", None]),
        ([{"a": [1, None]}], ['{"a":[1,null]}']),
        ([True, 1], ["true", "1"]),
        ([memoryview(b"x")], [b"x"]),
    ],
)
def test_what_drivers_give_becomes_what_arrow_holds(values, expected):
    assert column_of(values).to_pylist() == expected


def test_an_id_with_decimal_places_is_refused_like_in_any_source(tmp_path):
    connection = sqlite3.connect(tmp_path / "shop.db")
    connection.executescript(
        "create table t (user_id real, item_id, timestamp); insert into t values (7, 'i', 1)"
    )
    connection.close()
    url = f"sqlite:///{tmp_path}/shop.db"
    with pytest.raises(SourceError, match="1 float_id"):
        import_log([sql_query(url, "select * from t")], tmp_path / "data", run=run_here)
    integers = "select cast(user_id as integer) user_id, item_id, timestamp from t"
    assert (
        import_log([sql_query(url, integers)], tmp_path / "data", run=run_here).rows_accepted == 1
    )


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select viewer as user_id, film as item_id from views", "no column TIMESTAMP"),
        ("select * from nowhere", "no such table: nowhere"),
        ("selec", "syntax error"),
        ("select 1 as a, 2 as a", "the column 'a' 2 times"),
        ("delete from views", "readonly|returns no rows"),
        ("create table t (a)", "readonly|returns no rows"),
    ],
)
def test_a_query_that_is_none_of_interactions_is_refused_and_changes_nothing(
    database, tmp_path, query, words
):
    with pytest.raises(SourceError, match=words) as caught:
        fetch(database, query, tmp_path)
    assert query in str(caught.value)
    assert fetch(database, VIEWS, tmp_path)[1].num_rows == 3


def test_an_import_whose_query_fails_leaves_the_dataset_that_was_there(database, tmp_path):
    before = import_log([sql_query(database, VIEWS)], tmp_path / "data", run=run_here)
    (tmp_path / "shop.db").write_bytes(b"no database" * 1000)
    with pytest.raises(SourceError, match="file is not a database"):
        import_log([sql_query(database, VIEWS)], tmp_path / "data", run=run_here)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"shop.db", "data"}
    assert (tmp_path / "data" / before.import_id).is_dir()


def test_user_and_password_are_in_no_name_and_no_error(monkeypatch):
    url = "postgresql://ann:geheim@127.0.0.1:1/shop?sslpassword=versteckt"
    query = sql_query(url, "select 1")
    assert query.name == "postgresql://127.0.0.1:1/shop: select 1"
    assert "geheim" not in repr(query)
    with pytest.raises(SourceError) as caught:
        list(fetch_query(query, None, check))
    told = f"{caught.value!r} {caught.value.__cause__!r} {pickle.dumps(caught.value)!r}"
    assert "Connection refused" in told
    assert "geheim" not in told
    assert "versteckt" not in told
    assert pickle.loads(pickle.dumps(query)) == query  # tasks need the password


def test_the_password_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("RAYSYS_SQL_PASSWORD", "ge:heim@")
    assert ":ge%3Aheim%40@" in sql_query("postgresql://ann@host/shop", "select 1").url
    assert ":own@" in sql_query("postgresql://ann:own@host/shop", "select 1").url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("shop.db", "must be given as a URL"),
        ("postgresql://ann:geheim@host:port/shop", "must be given as a URL"),
        ("sqlite:///nowhere/shop.db", "there is no file"),
        ("sqlite://", "lies in memory"),
    ],
)
def test_a_database_that_cannot_be_meant_is_refused_at_once(url, words):
    with pytest.raises(SourceError, match=words):
        sql_query(url, "select 1")


@pytest.mark.parametrize("url", ["nosuch://host/db", "mysql+nosuch://host/db"])
def test_a_driver_that_is_not_there_is_named_with_what_to_install(tmp_path, url):
    with pytest.raises(SourceError, match="needs a driver that is not installed"):
        list(fetch_query(sql_query(url, "select 1"), tmp_path / "f.parquet", check))


def test_timestamps_and_dates_of_databases_are_times(tmp_path):
    table = pa.table({"user_id": ["a"], "item_id": ["b"], "timestamp": pa.array([1], pa.date32())})
    assert check(table.schema, "q")[1] == [
        "q: TIMESTAMP holds dates; each was taken as its midnight, UTC."
    ]
