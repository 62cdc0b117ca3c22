"""Whatever a file holds: every row is accepted, quarantined or a duplicate, and good rows stay."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.errors import SchemaError, SourceError
from raysys.hashing import sha256_of_file
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.logs.manifest import read_manifest
from raysys.logs.reasons import Reason
from tests.unit.logs.broken_inputs import BROKEN_INPUTS, HEADER
from tests.unit.logs.tools import write


@pytest.fixture
def dataset(tmp_path):
    """A dataset that was there before the broken file came."""
    old = write(tmp_path / "old.csv", HEADER + b"old,row,1\n")
    import_log([old], tmp_path / "data", num_shards=1, run=run_here)
    return tmp_path / "data"


def bytes_below(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): sha256_of_file(path)
        for path in directory.rglob("*")
        if path.is_file()
    }


def rows_of(dataset: Path, names: list[str]) -> list[dict]:
    return [row for name in names for row in pq.read_table(dataset / name).to_pylist()]


READABLE = {case: broken for case, broken in BROKEN_INPUTS.items() if not broken.error}


@pytest.mark.parametrize("case", READABLE)
def test_every_row_of_a_broken_file_is_accounted_for_and_good_rows_are_unchanged(tmp_path, case):
    broken = READABLE[case]
    source = write(tmp_path / broken.name, broken.content)
    manifest = import_log(
        [source], tmp_path / "data", layouts=broken.layouts, num_shards=1, run=run_here
    )
    found = (manifest.rows_accepted, manifest.rows_quarantined, manifest.rows_duplicate)
    assert found == (len(broken.good), len(broken.bad), broken.duplicates)
    assert manifest.rows_in == sum(found)
    accepted = rows_of(tmp_path / "data", manifest.shard_names())
    assert {
        row["source_row"]: (row["user_id"], row["item_id"], row["occurred_at"].timestamp())
        for row in accepted
    } == broken.good
    quarantined = rows_of(tmp_path / "data", manifest.quarantine_names())
    assert {row["source_row"]: row["reason"] for row in quarantined} == broken.bad
    assert all(row["detail"] for row in quarantined)


@pytest.mark.parametrize("case", [case for case in BROKEN_INPUTS if case not in READABLE])
def test_a_file_that_cannot_be_used_is_named_and_the_dataset_that_was_there_stays(
    tmp_path, dataset, case
):
    broken = BROKEN_INPUTS[case]
    source = write(tmp_path / broken.name, broken.content)
    before = bytes_below(dataset)
    with pytest.raises((SourceError, SchemaError), match=broken.error) as caught:
        import_log([source], dataset, layouts=broken.layouts, num_shards=1, run=run_here)
    assert broken.name in str(caught.value)
    assert bytes_below(dataset) == before


def test_there_is_a_broken_input_for_every_reason():
    found = {reason for broken in BROKEN_INPUTS.values() for reason in broken.bad.values()}
    assert found == set(Reason)


def test_a_file_that_vanishes_during_the_import_is_named_and_the_old_dataset_stays(
    tmp_path, dataset
):
    sources = [write(tmp_path / f"{n}.csv", HEADER + b"a,x,1\n") for n in range(2)]
    before = bytes_below(dataset)

    def run(calls):
        sources[1].unlink(missing_ok=True)
        return run_here(calls)

    with pytest.raises(SourceError, match=r"1\.csv"):
        import_log(sources, dataset, num_shards=1, run=run)
    assert bytes_below(dataset) == before
    assert {path.name for path in tmp_path.iterdir()} == {"old.csv", "0.csv", "data"}


def test_a_file_that_is_written_to_during_the_import_is_named_and_the_old_dataset_stays(
    tmp_path, dataset
):
    source = write(tmp_path / "growing.csv", HEADER + b"a,x,1\n")
    before = bytes_below(dataset)

    def run(calls):
        with source.open("ab") as file:
            file.write(b"b,y,2\n")
        return run_here(calls)

    with pytest.raises(SourceError, match=r"growing\.csv"):
        import_log([source], dataset, num_shards=1, run=run)
    assert bytes_below(dataset) == before


def test_a_broken_file_among_good_ones_stops_the_import_of_all(tmp_path, dataset):
    good = write(tmp_path / "good.csv", HEADER + b"a,x,1\n")
    bad = write(tmp_path / "bad.csv.gz", BROKEN_INPUTS["gzip cut off"].content)
    before = bytes_below(dataset)
    with pytest.raises(SourceError, match=r"bad\.csv\.gz"):
        import_log([good, bad], dataset, num_shards=1, run=run_here)
    assert bytes_below(dataset) == before


def test_all_that_can_be_read_is_imported_together_and_the_counts_add_up(tmp_path):
    """Rows of one file do not change what becomes of those of another, but for duplicates."""
    folder = tmp_path / "logs"
    folder.mkdir()
    readable = [broken for broken in READABLE.values() if not broken.layouts]
    for number, broken in enumerate(readable):
        write(folder / f"{number:03}-{broken.name}", broken.content)
    manifest = import_log([folder], tmp_path / "data", num_shards=3, run=run_here)
    assert manifest.rows_quarantined == sum(len(broken.bad) for broken in readable)
    rows_in = sum(len(b.good) + len(b.bad) + b.duplicates for b in readable)
    assert manifest.rows_in == rows_in == manifest.num_told
    distinct = {row for broken in readable for row in broken.good.values()}
    accepted = rows_of(tmp_path / "data", manifest.shard_names())
    seen = [(row["user_id"], row["item_id"], row["occurred_at"].timestamp()) for row in accepted]
    assert set(seen) == distinct
    assert read_manifest(tmp_path / "data") == manifest


def test_a_table_of_items_with_broken_rows_loses_only_those(tmp_path):
    log = write(tmp_path / "log.csv", HEADER + b"a,x,1\n")
    table = b"ITEM_ID,TITLE\nx,The X\n,nobody\nx,again\ny,\xff\nz\0,nul\n"
    items = write(tmp_path / "items.csv", table)
    manifest = import_log([log], tmp_path / "data", items=items, num_shards=1, run=run_here)
    assert manifest.items_file
    found = pq.read_table(tmp_path / "data" / manifest.items_file)
    assert found.column("item_id").to_pylist() == ["x", "y"]
    assert found.column("title").to_pylist() == ["The X", "\ufffd"]
    assert found.column("item_id").type == pa.string()
    assert any("left out" in notice for notice in manifest.notices)
