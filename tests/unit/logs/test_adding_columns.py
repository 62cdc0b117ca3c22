"""What is added to a dataset, and who is taken out of it, where the log has columns of its own."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raysys.dataset.dataset import open_dataset
from raysys.errors import SchemaError
from raysys.logs.avro import from_avro
from raysys.logs.call import run_here
from raysys.logs.forgetting import forget_users
from raysys.logs.importing import import_log
from raysys.logs.layout import declared
from raysys.logs.manifest import ImportMode
from raysys.logs.schema import Kind
from tests.unit.logs.tools import write

CORE = [("USER_ID", "string"), ("ITEM_ID", "string"), ("TIMESTAMP", "long")]
DEVICE = ("DEVICE", ["null", "string"])
PRICE = ("PRICE", ["null", "double"])


def layout(*fields):
    told = {
        "type": "record",
        "name": "Interactions",
        "namespace": "com.amazonaws.personalize.schema",
        "fields": [{"name": name, "type": kind} for name, kind in (*CORE, *fields)],
        "version": "1.0",
    }
    return declared(from_avro(told, Kind.INTERACTIONS))


def rows(to: Path) -> dict[tuple[str, str], dict]:
    dataset = open_dataset(to)
    dataset.verify()
    schemas = {pq.read_schema(path) for path in dataset.shard_paths()}
    assert len(schemas) == 1  # all shards have the same columns
    found = [row for path in dataset.shard_paths() for row in pq.read_table(path).to_pylist()]
    return {(row["user_id"], row["item_id"]): row for row in found}


@pytest.fixture
def to(tmp_path):
    log = write(
        tmp_path / "old.csv",
        "USER_ID,ITEM_ID,TIMESTAMP,DEVICE,IMPRESSION\n"
        + "".join(f"u{n},a,{n},tv,a|b\n" for n in range(9)),
    )
    layouts = [layout(DEVICE, ("IMPRESSION", "string"))]
    import_log([log], tmp_path / "data", layouts=layouts, num_shards=3, run=run_here)
    return tmp_path / "data"


def add(log, to, *layouts):
    mode = ImportMode.INCREMENTAL
    return import_log([log], to, layouts=layouts, mode=mode, run=run_here)


def test_a_log_is_read_by_the_schema_of_the_dataset_that_it_is_added_to(to, tmp_path):
    log = write(
        tmp_path / "new.csv", "USER_ID,ITEM_ID,TIMESTAMP,DEVICE,IMPRESSION\nu1,b,1,pc,b|c|d\n"
    )
    manifest = add(log, to)
    assert rows(to)["u1", "b"]["device"] == "pc"
    assert (manifest.impressions.rows, manifest.impressions.items) == (10, 21)


def test_a_column_may_come_to_it_and_is_null_in_every_row_before(to, tmp_path):
    log = write(
        tmp_path / "new.csv",
        "USER_ID,ITEM_ID,TIMESTAMP,DEVICE,IMPRESSION,PRICE\nu1,b,1,pc,b,2.5\n",
    )
    manifest = add(log, to, layout(DEVICE, ("IMPRESSION", "string"), PRICE))
    found = rows(to)
    assert len(found) == 10
    assert (found["u1", "b"]["price"], found["u1", "a"]["price"]) == (2.5, None)
    assert manifest.rows_accepted == 10
    again = add(log, to, layout(DEVICE, ("IMPRESSION", "string"), PRICE))
    assert again.import_id == manifest.import_id


def test_a_column_does_not_change_its_type_half_way(to, tmp_path):
    log = write(tmp_path / "new.csv", "USER_ID,ITEM_ID,TIMESTAMP,DEVICE\nu1,b,1,7\n")
    before = open_dataset(to).manifest
    with pytest.raises(SchemaError, match="DEVICE"):
        add(log, to, layout(("DEVICE", "long")))
    assert open_dataset(to).manifest == before


def test_forgetting_keeps_the_columns_of_others_and_counts_impressions_anew(to):
    manifest, receipt = forget_users(to, ["u1"], dataset_group="default", run=run_here)
    found = rows(to)
    assert ("u1", "a") not in found
    assert {row["device"] for row in found.values()} == {"tv"}
    assert receipt.rows["interactions"] == 1
    assert (manifest.impressions.rows, manifest.impressions.items) == (8, 16)
