"""A dataset's schema when imports add to it; whole imports, without Ray."""

import json

import pyarrow.parquet as pq
import pytest

from raysys.dataset.context import fit_context
from raysys.dataset.dataset import open_dataset
from raysys.errors import SchemaError
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.logs.layout import declared, undeclared
from raysys.logs.manifest import ImportMode
from raysys.logs.schema import Field, Kind, Schema, ValueType
from tests.unit.logs.tools import write

CORE = (
    Field("USER_ID", ValueType.STRING),
    Field("ITEM_ID", ValueType.STRING),
    Field("TIMESTAMP", ValueType.LONG),
)
DEVICE = Field("DEVICE", ValueType.STRING, is_categorical=True)
SECONDS = Field("SECONDS", ValueType.INT, is_nullable=True)


def layout(*fields):
    return declared(Schema(Kind.INTERACTIONS, (*CORE, *fields)))


@pytest.fixture
def dataset(tmp_path):
    """Return what imports a log of these lines into one dataset, and its manifest after it."""
    number = iter(range(100))

    def run(text, *layouts, mode=ImportMode.INCREMENTAL, **more):
        path = write(tmp_path / f"{next(number)}.csv", text)
        return import_log(
            [path],
            tmp_path / "data",
            layouts=layouts,
            mode=mode,
            num_shards=2,
            run=run_here,
            **more,
        )

    return run


def rows(tmp_path, *columns):
    found = open_dataset(tmp_path / "data")
    tables = [pq.read_table(path) for path in found.shard_paths()]
    assert len({str(table.schema) for table in tables}) == 1  # one schema in all shards
    found = [
        tuple(row[name] for name in ("user_id", *columns))
        for table in tables
        for row in table.to_pylist()
    ]
    return sorted(found, key=str)


FIRST = "USER_ID,ITEM_ID,TIMESTAMP,DEVICE\na,i,1,tv\nb,i,1,phone\nc,i,1,\n"
MORE = "USER_ID,ITEM_ID,TIMESTAMP,DEVICE,SECONDS\na,i,2,tv,7\n"


def test_a_declared_schema_stands_in_the_manifest_and_types_the_shards(dataset, tmp_path):
    manifest = dataset(FIRST, layout(DEVICE))
    assert manifest.quarantined_by_reason == {"null_value": 1}
    assert manifest.declared_schemas == ["interactions"]
    fields = manifest.schemas["interactions"]["fields"]
    assert fields[-1] == {"name": "DEVICE", "type": "string", "categorical": True}
    assert rows(tmp_path, "device") == [("a", "tv"), ("b", "phone")]
    found = open_dataset(tmp_path / "data")
    assert found.context_fields() == (DEVICE,)
    encoder = fit_context(found.interactions(["device"]), found.context_fields())
    assert encoder.columns[0].values == ("phone", "tv")


def test_what_is_added_follows_the_schema_that_was_declared(dataset, tmp_path):
    dataset(FIRST, layout(DEVICE))
    manifest = dataset(MORE)
    assert rows(tmp_path, "device") == [("a", "tv"), ("a", "tv"), ("b", "phone")]
    assert manifest.declared_schemas == ["interactions"]
    with pytest.raises(SchemaError, match="no column DEVICE"):
        dataset("USER_ID,ITEM_ID,TIMESTAMP\na,i,3\n")


def test_a_new_column_is_null_in_old_rows_of_every_shard(dataset, tmp_path):
    dataset(FIRST, layout(DEVICE))
    manifest = dataset(MORE, layout(DEVICE, SECONDS))
    found = rows(tmp_path, "item_id", "seconds")
    assert found == [("a", "i", 7), ("a", "i", None), ("b", "i", None)]
    types = {one["name"]: one["type"] for one in manifest.schemas["interactions"]["fields"]}
    assert types["DEVICE"] == "string"
    assert types["SECONDS"] == ["int", "null"]


def test_the_same_log_again_changes_nothing(dataset, tmp_path):
    dataset(FIRST, layout(DEVICE))
    before = dataset(MORE, layout(DEVICE, SECONDS))
    after = dataset(MORE, layout(DEVICE, SECONDS))
    assert after.files == before.files
    assert after.schemas == before.schemas
    assert after.imports[-1].rows_duplicate == 1


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([Field("DEVICE", ValueType.LONG)], "DEVICE is declared as long, but the dataset holds"),
        ([Field(f"M{n}X", ValueType.INT, True) for n in range(5)], "6 columns of metadata"),
    ],
)
def test_a_schema_that_does_not_fit_is_refused_and_the_dataset_stays(
    dataset, tmp_path, fields, words
):
    before = dataset(FIRST, layout(DEVICE))
    header = ",".join(["USER_ID,ITEM_ID,TIMESTAMP", *(one.name for one in fields)])
    with pytest.raises(SchemaError, match=words):
        dataset(f"{header}\na,i,9{',1' * len(fields)}\n", layout(*fields))
    assert open_dataset(tmp_path / "data").manifest == before
    manifest = dataset(
        f"{header}\na,i,9{',1' * len(fields)}\n", layout(*fields), mode=ImportMode.FULL
    )
    assert manifest.rows_accepted == 1


def test_impressions_count_over_all_that_is_there(dataset):
    header = "USER_ID,ITEM_ID,TIMESTAMP,IMPRESSION\n"
    manifest = dataset(f"{header}a,i,1,i|j\nb,i,1,i|j|k\na,i,1,i|j\n")
    assert manifest.impressions.model_dump() == {"rows": 2, "items": 5}
    manifest = dataset(f"{header}c,i,1,i\nc,j,1,\n")
    assert manifest.impressions.model_dump() == {"rows": 3, "items": 6}


def test_items_that_are_added_follow_the_declared_schema(dataset, tmp_path):
    log = "USER_ID,ITEM_ID,TIMESTAMP\na,i,1\n"
    fields = (Field("ITEM_ID", ValueType.STRING), Field("PRICE", ValueType.DOUBLE, True))
    first = write(tmp_path / "items.csv", "ITEM_ID,PRICE\ni,1.5\n")
    dataset(log, declared(Schema(Kind.ITEMS, fields)), items=first)
    second = write(tmp_path / "more.csv", "sku,PRICE\nj,2.5\n")
    manifest = dataset(log, undeclared(Kind.ITEMS, {"item_id": "sku"}), items=second)
    table = pq.read_table(tmp_path / "data" / str(manifest.items_file))
    assert table.select(["item_id", "price"]).to_pylist() == [
        {"item_id": "i", "price": 1.5},
        {"item_id": "j", "price": 2.5},
    ]
    assert json.dumps(manifest.schemas["items"]["fields"][1]) == json.dumps(
        {"name": "PRICE", "type": ["double", "null"]}
    )
