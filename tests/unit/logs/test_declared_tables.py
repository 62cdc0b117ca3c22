"""Tables of items and users by a schema: typed, cleaned, and nothing dropped in silence."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.errors import SchemaError, SourceError
from raysys.logs.avro import from_avro, to_avro
from raysys.logs.catalogue import inspect_catalogue, read_catalogue
from raysys.logs.layout import declared, undeclared
from raysys.logs.prose import MAX_CHARACTERS, cleaned
from raysys.logs.schema import Field, Kind, Schema, ValueType
from tests.unit.logs.tools import ITEMS, USERS, table_at, write

FIELDS = (
    Field("ITEM_ID", ValueType.STRING),
    Field("LABEL", ValueType.STRING, is_nullable=True, is_item_name=True),
    Field("PRICE", ValueType.FLOAT, is_nullable=True),
    Field("GENRES", ValueType.STRING, is_categorical=True),
    Field("ABOUT", ValueType.STRING, is_nullable=True, is_textual=True),
    Field("CREATION_TIMESTAMP", ValueType.LONG, is_nullable=True),
)
LAYOUT = declared(Schema(Kind.ITEMS, FIELDS))
HEADER = "ITEM_ID,PRICE,GENRES,ABOUT,CREATION_TIMESTAMP,LABEL,SECRET\n"


def test_declared_columns_are_typed_cleaned_and_alone(tmp_path):
    rows = 'i1,9.50,a|b,"<p>An <b>old</b>  tale</p>",1700000000.9,One,x\ni2,,c,,,,x\n'
    catalogue = read_catalogue(table_at(write(tmp_path / "items.csv", HEADER + rows)), LAYOUT)
    assert catalogue.table.to_pylist() == [
        {
            "item_id": "i1",
            "title": "One",
            "price": 9.5,
            "genres": "a|b",
            "about": "An old tale",
            "creation_timestamp": 1_700_000_000,
        },
        {
            "item_id": "i2",
            "title": None,
            "price": None,
            "genres": "c",
            "about": None,
            "creation_timestamp": None,
        },
    ]
    assert catalogue.schema == LAYOUT.schema
    assert catalogue.notices == [
        "items.csv: not read, since no known column has that name: 'SECRET'. A "
        "schema can declare it: see `raysys schema`."
    ]


def test_a_bad_value_is_left_empty_where_null_is_allowed_and_else_costs_its_row(tmp_path):
    rows = [
        "i1,cheap,a,,1700000000,,",
        "i2,1,,,1700000000000,,",  # no genres: the row goes, so its bad time is not told
        "i3,inf,c,,soon,,",
        f"i4,1,{'g' * 1_001},,,,",
        ",1,a,,,,",
    ]
    path = write(tmp_path / "items.csv", HEADER + "\n".join(rows) + "\n")
    catalogue = read_catalogue(table_at(path), LAYOUT)
    assert catalogue.table.select(["item_id", "price", "creation_timestamp"]).to_pylist() == [
        {"item_id": "i1", "price": None, "creation_timestamp": 1_700_000_000},
        {"item_id": "i3", "price": None, "creation_timestamp": None},
    ]
    told = " ".join(catalogue.notices)
    assert "1 rows were left out, since their ITEM_ID cannot be used (null_id)" in told
    assert (
        "2 rows were left out, since their GENRES cannot be used (null_value, value_too_long), "
        "the first of them row 2." in told
    )
    assert (
        "2 values of PRICE were left empty, since they cannot be used (bad_number), the first of "
        "them in row 1." in told
    )
    assert (
        "1 values of CREATION_TIMESTAMP were left empty, since they cannot be used "
        "(bad_timestamp), the first of them in row 3." in told
    )


@pytest.mark.parametrize(
    "times",
    [
        pa.array([5_000_000, None], pa.timestamp("us")),
        pa.array([5_000, None], pa.timestamp("ms", "Europe/Paris")),
        pa.array([5, None], pa.int32()),
        pa.array([5.9, None]),
        pa.array(["5", None]),
    ],
)
def test_creation_times_are_whole_seconds_whatever_the_source_holds(tmp_path, times):
    table = pa.table({"ITEM_ID": ["a", "b"], "Creation_Timestamp": times, "PRICE": [1, 2]})
    pq.write_table(table, tmp_path / "items.parquet")
    for layout in (ITEMS, declared(Schema(Kind.ITEMS, (FIELDS[0], FIELDS[2], FIELDS[5])))):
        found = read_catalogue(table_at(tmp_path / "items.parquet"), layout).table
        assert found["creation_timestamp"].to_pylist() == [5, None]
        assert found["creation_timestamp"].type == pa.int64()


def test_a_creation_time_in_milliseconds_is_told_and_left_empty_without_a_schema_too(tmp_path):
    path = write(tmp_path / "items.csv", "ITEM_ID,CREATION_TIMESTAMP\na,1700000000000\nb,7\n")
    catalogue = read_catalogue(table_at(path), ITEMS)
    assert catalogue.table["creation_timestamp"].to_pylist() == [None, 7]
    assert "left empty" in catalogue.notices[0]
    assert "timestamp_out_of_range" in catalogue.notices[0]


def test_a_source_that_lacks_a_declared_column_is_refused_before_anything_is_read(tmp_path):
    source = table_at(write(tmp_path / "items.csv", "ITEM_ID,PRICE\na,1\n"))
    with pytest.raises(SchemaError, match="no columns called 'LABEL'"):
        inspect_catalogue(source, LAYOUT)
    users = declared(
        Schema(Kind.USERS, (Field("USER_ID", ValueType.STRING), Field("AGE", ValueType.INT)))
    )
    source = table_at(write(tmp_path / "users.csv", "USER_ID,AGES\na,1\n"))
    with pytest.raises(SchemaError, match="no column AGE.*Is 'AGES' meant by AGE"):
        inspect_catalogue(source, users)


def test_json_lines_may_lack_what_may_be_null(tmp_path):
    rows = [{"ITEM_ID": "a", "GENRES": ["x", "y"]}, {"ITEM_ID": "b", "GENRES": "z", "PRICE": "7"}]
    fields = (FIELDS[0], FIELDS[2], FIELDS[3])
    path = write(tmp_path / "items.jsonl", "\n".join(map(json.dumps, rows)))
    found = read_catalogue(table_at(path), declared(Schema(Kind.ITEMS, fields)))
    assert found.table.select(["price", "genres"]).to_pylist() == [
        {"price": None, "genres": "x|y"},
        {"price": 7.0, "genres": "z"},
    ]


def test_a_declared_column_of_a_type_of_no_use_is_refused(tmp_path):
    pq.write_table(pa.table({"USER_ID": ["a"], "AGE": [{"x": 1}]}), tmp_path / "users.parquet")
    layout = declared(
        Schema(Kind.USERS, (Field("USER_ID", ValueType.STRING), Field("AGE", ValueType.INT)))
    )
    with pytest.raises(SourceError, match="column AGE is of type struct"):
        inspect_catalogue(table_at(tmp_path / "users.parquet"), layout)


def test_columns_are_read_from_where_they_are_told_to_be_without_a_schema_too(tmp_path):
    path = write(tmp_path / "users.csv", "id,user_id,AGE\na,b,7\n")
    layout = undeclared(Kind.USERS, {"user_id": "id"})
    assert read_catalogue(table_at(path), layout).table.to_pylist() == [
        {"user_id": "a", "age": "7"}
    ]


def test_what_is_found_without_a_schema_is_said_as_one(tmp_path):
    table = pa.table({"USER_ID": ["a"], "age": [7], "score": [0.5], "größe": ["m"]})
    pq.write_table(table, tmp_path / "users.parquet")
    schema = read_catalogue(table_at(tmp_path / "users.parquet"), USERS).schema
    assert schema.columns == ("user_id", "age", "score", "größe")
    assert [field.type for field in schema.fields] == ["string", "long", "double", "string"]
    assert from_avro(to_avro(schema), Kind.USERS) == schema


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>One</p><p>two</p>", "One two"),
        ("a<br/>b <!-- not\nthis --> c", "a b c"),
        ("<script>var x = '<p>';</script>kept<STYLE>p {}</style >", "kept"),
        ("a < b and c > d", "a < b and c > d"),
        ("x &lt; y &amp; z&nbsp;!", "x < y & z !"),
        ("  many \t\r\n spaces\u2003here ", "many spaces here"),
        ("<b></b> ", None),
        ("", None),
        (None, None),
        ("é" * (MAX_CHARACTERS + 1), "é" * MAX_CHARACTERS),
        ("a" * (MAX_CHARACTERS - 1) + " b", "a" * (MAX_CHARACTERS - 1)),
        ("語" * 6_999 + " 語", "語" * 6_999),  # Japanese and Chinese end after 7,000
        ("ひらカナ" * 3_000, "ひらカナ" * 1_750),
        ("語" * 5_001 + "a" * 5_000, "語" * 5_001 + "a" * 1_999),
        ("語" * 5_000 + "a" * 5_000, "語" * 5_000 + "a" * 5_000),  # no more than half
        ("한국어" * 3_000, "한국어" * 3_000),
        ("語1" * 3_500 + "1", "語1" * 3_500),  # digits are no letters
    ],
)
def test_prose_loses_its_markup_and_its_extra_spaces_and_is_cut_off(text, expected):
    assert cleaned(pa.array([text], pa.string())).to_pylist() == [expected]
