"""A schema out of the first rows says what they hold, and an import can follow it as it is."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.errors import SchemaError
from raysys.logs.avro import parse_schema, to_avro
from raysys.logs.inference import infer_schema
from raysys.logs.layout import declared
from raysys.logs.schema import Kind
from tests.unit.logs.tools import log_at, read_and_check, table_at, write

LOG = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,device,seconds,share,zip,IS_CHILD,empty\n" + "".join(
    f"u{n},i{n},{n},click,{'tv' if n % 2 else 'phone'},{n},{n}.5,0{n},{'true' if n else ''},\n"
    for n in range(9)
)


def written(schema):
    """Return the fields of a schema as Avro writes them, by name, once it has kept every rule."""
    record = to_avro(schema)
    assert parse_schema(json.dumps(record), schema.kind, "inferred") == schema
    return {field.pop("name"): field for field in record["fields"]}


def test_types_are_the_narrowest_that_fit_and_reserved_columns_have_their_own(tmp_path):
    found = infer_schema([log_at(write(tmp_path / "log.csv", LOG))], Kind.INTERACTIONS)
    assert written(found.schema) == {
        "USER_ID": {"type": "string"},
        "ITEM_ID": {"type": "string"},
        "TIMESTAMP": {"type": "long"},
        "EVENT_TYPE": {"type": ["string", "null"]},
        "DEVICE": {"type": ["string", "null"], "categorical": True},
        "SECONDS": {"type": ["long", "null"]},
        "SHARE": {"type": ["double", "null"]},
        "ZIP": {"type": ["string", "null"], "categorical": True},  # 01 is no number
        "IS_CHILD": {"type": ["boolean", "null"]},
    }
    assert found.notices == [
        "EMPTY: left out, since interactions have at most 5 columns of metadata. Put one in for "
        "another if it says more."
    ]


def test_an_import_follows_an_inferred_schema_and_loses_no_row(tmp_path):
    path = write(tmp_path / "log.csv", LOG)
    found = infer_schema([log_at(path)], Kind.INTERACTIONS)
    _, accepted, quarantine = read_and_check(path, declared(found.schema, found.called))
    assert (accepted.num_rows, quarantine.num_rows) == (9, 0)
    assert accepted["zip"].to_pylist()[3] == "03"
    assert accepted["seconds"].to_pylist()[3] == 3


def test_names_that_no_field_can_have_are_told_apart_and_mapped(tmp_path):
    header = "USER_ID,ITEM_ID,TIMESTAMP,Device Type,device-type,2nd,Größe\n"
    path = write(tmp_path / "log.csv", header + "u,i,1,a,b,c,d\n")
    found = infer_schema([log_at(path)], Kind.INTERACTIONS)
    assert found.called == {
        "DEVICE_TYPE": "Device Type",
        "DEVICE_TYPE_2": "device-type",
        "C_2ND": "2nd",
        "GR_SSE": "Größe",
    }
    assert set(written(found.schema)) == {"USER_ID", "ITEM_ID", "TIMESTAMP", *found.called}
    called = {name.lower(): told for name, told in found.called.items()}
    _, accepted, _ = read_and_check(path, declared(found.schema, called))
    assert accepted.select(["device_type", "device_type_2"]).to_pylist() == [
        {"device_type": "a", "device_type_2": "b"}
    ]


def test_columns_that_only_some_files_have_are_left_out(tmp_path):
    first = write(tmp_path / "a.csv", "USER_ID,ITEM_ID,TIMESTAMP,DEVICE,OLD\nu,i,1,tv,x\n")
    second = write(tmp_path / "b.csv", "USER_ID,ITEM_ID,TIMESTAMP,DEVICE,NEW\nu,i,2,7,x\n")
    found = infer_schema([log_at(first), log_at(second)], Kind.INTERACTIONS)
    assert "DEVICE" in written(found.schema)
    assert found.notices == ["OLD, NEW: left out, since only some of the files have it."]


def test_items_have_a_name_one_prose_and_categories(tmp_path):
    rows = [
        {
            "ITEM_ID": f"i{n}",
            "title": f"Item {n}",
            "about": f"a long and winding tale of item number {n}, told by nobody in particular",
            "genres": ["drama", "noir"],
            "price": n + 0.5,
            "CREATION_TIMESTAMP": n,
        }
        for n in range(5)
    ]
    path = write(tmp_path / "items.jsonl", "\n".join(map(json.dumps, rows)))
    found = infer_schema([table_at(path)], Kind.ITEMS)
    assert written(found.schema) == {
        "ITEM_ID": {"type": "string"},
        "TITLE": {"type": ["string", "null"], "itemName": True},
        "ABOUT": {"type": ["string", "null"], "textual": True},
        "GENRES": {"type": ["string", "null"], "categorical": True},
        "PRICE": {"type": ["double", "null"]},
        "CREATION_TIMESTAMP": {"type": ["long", "null"]},
    }


def test_parquet_gives_its_types_and_what_has_none_is_left_out(tmp_path):
    columns = {
        "USER_ID": ["u"],
        "age": pa.array([7], pa.int8()),
        "score": pa.array([0.5], pa.float32()),
        "active": [True],
        "place": [{"x": 1}],
    }
    pq.write_table(pa.table(columns), tmp_path / "users.parquet")
    found = infer_schema([table_at(tmp_path / "users.parquet")], Kind.USERS)
    assert {name: one["type"][0] for name, one in written(found.schema).items()} == {
        "USER_ID": "s",
        "AGE": "long",
        "SCORE": "double",
        "ACTIVE": "boolean",
    }
    assert found.notices == [
        "'place': left out, since its type is struct<x: int64>, which no schema has."
    ]


def test_a_table_of_ids_alone_has_nothing_to_declare(tmp_path):
    path = write(tmp_path / "users.csv", "USER_ID\nu\n")
    with pytest.raises(SchemaError, match="no column beside USER_ID"):
        infer_schema([table_at(path)], Kind.USERS)


def test_a_log_without_rows_has_columns_of_text(tmp_path):
    path = write(tmp_path / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP,DEVICE\n")
    found = infer_schema([log_at(path)], Kind.INTERACTIONS)
    assert written(found.schema)["DEVICE"]["type"] == ["string", "null"]
