"""Tables of items and users from what people have."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys import tables
from raysys.errors import SourceError
from raysys.logs.catalogue import inspect_catalogue, read_catalogue
from tests.unit.logs.tools import ITEMS, USERS, table_at, write


def test_a_csv_of_items_has_id_and_title_first_and_everything_as_text(tmp_path):
    path = write(tmp_path / "items.csv", 'Price,TITLE,ITEM_ID\n9.50,"A, B",007\n,,i2\n')
    items = read_catalogue(table_at(path), ITEMS).table
    assert items.column_names == ["item_id", "title", "price"]
    assert items.to_pylist() == [
        {"item_id": "007", "title": "A, B", "price": "9.50"},
        {"item_id": "i2", "title": None, "price": None},
    ]
    assert items.select(tables.ITEMS.names).cast(tables.ITEMS).num_rows == 2


def test_recbole_items_get_their_year_back_into_the_title(tmp_path):
    text = (
        "item_id:token\tmovie_title:token_seq\trelease_year:token\tclass:token_seq\n"
        "1\tToy Story\t1995\tAnimation Children's Comedy\n"
        "1412\tLand Before Time III (1995)\tV\tAnimation\n"
        "267\tunknown\tunknown\tunknown\n"
    )
    items = read_catalogue(table_at(write(tmp_path / "ml.item", text)), ITEMS).table
    assert items.to_pylist() == [
        {
            "item_id": "1",
            "title": "Toy Story (1995)",
            "year": "1995",
            "genres": "Animation|Children's|Comedy",
        },
        {
            "item_id": "1412",
            "title": "Land Before Time III (1995) (V)",
            "year": None,
            "genres": "Animation",
        },
        {"item_id": "267", "title": "unknown", "year": None, "genres": "unknown"},
    ]


def test_parquet_keeps_numbers_and_joins_lists_and_leaves_out_what_is_neither(tmp_path):
    path = tmp_path / "items.parquet"
    columns = {
        "ITEM_ID": [7, 8],
        "price": [1.5, None],
        "tags": [["a", "b"], []],
        "in_stock": [True, False],
        "place": [{"x": 1}, {"x": 2}],
    }
    pq.write_table(pa.table(columns), path)
    items = read_catalogue(table_at(path), ITEMS)
    assert items.table.to_pylist() == [
        {"item_id": "7", "title": None, "price": 1.5, "tags": "a|b", "in_stock": "true"},
        {"item_id": "8", "title": None, "price": None, "tags": "", "in_stock": "false"},
    ]
    assert items.notices == [
        "items.parquet: ITEM_ID holds integers; they were written as text.",
        "items.parquet: column 'place' was left out, since its type is struct<x: int64>.",
    ]


def test_rows_without_a_usable_id_and_repeated_ids_are_left_out_and_counted(tmp_path):
    path = write(tmp_path / "users.csv", b"USER_ID,AGE\na,1\n,2\n\xff,3\nb\na,4\nc,\xe9\n")
    users = read_catalogue(table_at(path), USERS)
    assert users.table.to_pylist() == [
        {"user_id": "a", "age": "1"},
        {"user_id": "c", "age": "\N{REPLACEMENT CHARACTER}"},
    ]
    assert users.notices == [
        "users.csv: 1 rows were left out, since they are no whole rows.",
        "users.csv: some text is not UTF-8; its bad bytes were replaced.",
        "users.csv: 2 rows were left out, since their USER_ID cannot be used "
        "(bad_encoding, null_id), the first of them row 2.",
        "users.csv: 1 rows were left out, since their id came before.",
    ]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("items.csv", b"ID,TITLE\n1,a\n", "no column ITEM_ID"),
        ("items.csv", b"ITEM_ID,a,A\n1,a\n", "column A 2 times"),
        ("items.parquet", b"nothing of the kind", "not a complete Parquet file"),
        ("items.xlsx", b"PK", "no known format"),
        ("items.csv", b"", "is empty"),
        ("items.csv", b"\n", "no header line"),
    ],
)
def test_a_table_that_cannot_be_read_is_a_source_error(tmp_path, name, content, words):
    path = write(tmp_path / name, content)
    with pytest.raises(SourceError, match=words):
        inspect_catalogue(table_at(path), ITEMS)


def test_a_table_without_rows_is_a_table(tmp_path):
    for name, content in (("a.csv", "ITEM_ID,TITLE\n"), ("b.item", "item_id:token\n")):
        items = read_catalogue(table_at(write(tmp_path / name, content)), ITEMS).table
        assert items.column_names == ["item_id", "title"]
        assert items.num_rows == 0
