"""FULL replaces, INCREMENTAL adds: what is new comes behind, what was there comes not twice."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.dataset.dataset import open_dataset
from raysys.errors import ConfigError, DatasetError, NothingUsableError, SourceError
from raysys.hashing import sha256_of_file
from raysys.logs.call import run_here
from raysys.logs.importing import import_log
from raysys.logs.manifest import DatasetManifest, ImportMode
from tests.unit.logs.tools import write

HEADER = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_ID\n"


def full(log, to, **more):
    return import_log([log], to, run=run_here, **{"num_shards": 3, **more})


def add(log, to, **more):
    return import_log([log], to, run=run_here, mode=ImportMode.INCREMENTAL, **more)


def rows(dataset: Path) -> list[dict]:
    """All interactions, after checking every file's hash, shard after shard."""
    opened = open_dataset(dataset)
    opened.verify()
    return [row for path in opened.shard_paths() for row in pq.read_table(path).to_pylist()]


def pairs(dataset: Path) -> list[tuple[str, str]]:
    return sorted((row["user_id"], row["item_id"]) for row in rows(dataset))


def counts(record) -> tuple[int, ...]:
    return (
        record.rows_in,
        record.rows_accepted,
        record.rows_quarantined,
        record.rows_duplicate,
        record.rows_suppressed,
    )


def state(dataset: Path) -> dict[str, str]:
    """Every file but the manifest, with its hash."""
    files = (path for path in dataset.rglob("*") if path.is_file())
    return {
        str(path.relative_to(dataset)): sha256_of_file(path)
        for path in files
        if path.name != "manifest.json"
    }


@pytest.fixture
def first(tmp_path):
    body = "".join(f"u{n},i{n % 4},{n},click,\n" for n in range(12))
    return write(tmp_path / "first.csv", HEADER + body + ",i1,5,click,\nu0,i0,soon,click,\n")


@pytest.fixture
def to(tmp_path, first):
    full(first, tmp_path / "data")
    return tmp_path / "data"


def test_what_is_added_comes_behind_and_numbers_of_sources_go_on(to, tmp_path):
    log = write(tmp_path / "second.csv", HEADER + "u0,new,0,click,\nu0,i0,0,click,\nnew,i1,5,,\n")
    before = len(rows(to))
    manifest = add(log, to)
    assert counts(manifest.imports[-1]) == (3, 2, 0, 1, 0)
    assert counts(manifest) == (17, 14, 2, 1, 0)
    assert len(rows(to)) == before + 2
    tied = [row for row in rows(to) if row["user_id"] == "u0"]
    assert [(row["item_id"], row["source_file"], row["source_row"]) for row in tied] == [
        ("i0", 0, 1),  # at the same time: the older import first
        ("new", 1, 1),
    ]
    assert [(one.mode, one.first_source, one.num_sources) for one in manifest.imports] == [
        (ImportMode.FULL, 0, 1),
        (ImportMode.INCREMENTAL, 1, 1),
    ]
    assert [Path(source.name).name for source in manifest.sources] == ["first.csv", "second.csv"]
    assert (manifest.num_users, manifest.num_items) == (13, 5)


def test_adding_leaves_the_shards_alone_that_get_no_row(to, tmp_path):
    before = open_dataset(to).manifest
    manifest = add(write(tmp_path / "one.csv", HEADER + "u3,new,99,click,\n"), to)
    kept = set(before.shard_names()) & set(manifest.shard_names())
    assert len(kept) == 2
    assert {name.partition("/")[0] for name in manifest.shard_names()} == {
        before.import_id,
        manifest.import_id,
    }
    assert set(state(to)) == set(manifest.files)


def test_adding_in_steps_gives_what_one_import_of_all_gives(tmp_path):
    lines = [
        f"u{n % 5},i{n % 7},{n % 11},{'ab'[n % 2]},{f'e{n % 13}' if n % 3 else ''}"
        for n in range(90)
    ]
    logs = [
        write(tmp_path / f"log{part}.csv", HEADER + "\n".join(lines[part::3]) + "\n")
        for part in range(3)
    ]
    import_log(logs, tmp_path / "whole", run=run_here, num_shards=3)
    full(logs[0], tmp_path / "steps")
    for log in logs[1:]:
        add(log, tmp_path / "steps")
    assert rows(tmp_path / "steps") == rows(tmp_path / "whole")
    stepwise, whole = (open_dataset(tmp_path / name).manifest for name in ("steps", "whole"))
    assert counts(stepwise) == counts(whole)
    assert stepwise.shards == whole.shards
    assert (stepwise.num_users, stepwise.num_items) == (whole.num_users, whole.num_items)


def test_a_file_that_is_imported_again_changes_no_byte(to, first, tmp_path):
    before, manifest = state(to), open_dataset(to).manifest
    again = add(first, to)
    assert counts(again.imports[-1]) == (14, 0, 0, 14, 0)  # those in quarantine are repeats too
    assert state(to) == before
    assert again.import_id == manifest.import_id
    assert again.files == manifest.files
    copy = write(tmp_path / "copy.csv", first.read_bytes())
    assert counts(add(copy, to).imports[-1]) == (14, 0, 0, 14, 0)
    assert state(to) == before


def test_a_log_that_grew_adds_its_new_rows_and_its_new_broken_ones(to, first):
    write(first, first.read_text() + "u1,i9,70,click,\n,i2,6,click,\n")
    manifest = add(first, to)
    assert counts(manifest.imports[-1]) == (16, 1, 1, 14, 0)
    assert counts(manifest) == (30, 13, 3, 14, 0)
    assert manifest.quarantined_by_reason == {"bad_timestamp": 1, "null_id": 2}
    assert manifest.imports[-1].quarantined_by_reason == {"null_id": 1}
    quarantine = [
        row["source_row"]
        for name in manifest.quarantine_names()
        for row in pq.read_table(to / name).to_pylist()
    ]
    assert quarantine == [13, 14, 16]


def test_an_event_id_that_is_known_is_a_duplicate_even_under_a_user_of_another_shard(tmp_path):
    old = write(tmp_path / "old.csv", HEADER + "u,i,1,click,e1\nu,i,2,click,\n")
    new = write(tmp_path / "new.csv", HEADER + "v,j,9,buy,e1\nv,j,9,buy,e2\nw,j,9,buy,e2\n")
    full(old, tmp_path / "data", num_shards=5)
    manifest = add(new, tmp_path / "data")
    assert counts(manifest.imports[-1]) == (3, 1, 0, 2, 0)
    assert pairs(tmp_path / "data") == [("u", "i"), ("u", "i"), ("v", "j")]


def test_items_and_users_that_come_again_are_replaced_by_id_and_others_stay(to, first, tmp_path):
    items = write(tmp_path / "items.csv", "ITEM_ID,TITLE,GENRES\ni1,One,War\ni2,Two,Drama\n")
    users = write(tmp_path / "users.csv", "USER_ID,AGE\nu1,30\n")
    add(first, to, items=items, users=users)
    write(items, "ITEM_ID,TITLE,YEAR\ni2,Zwei,1999\ni3,Three,2000\n")
    manifest = add(first, to, items=items)
    assert pq.read_table(to / manifest.items_file).to_pylist() == [
        {"item_id": "i1", "title": "One", "genres": "War", "year": None},
        {"item_id": "i2", "title": "Zwei", "genres": None, "year": "1999"},
        {"item_id": "i3", "title": "Three", "genres": None, "year": "2000"},
    ]
    assert pq.read_table(to / manifest.users_file).to_pylist() == [{"user_id": "u1", "age": "30"}]
    before = state(to)
    add(first, to, items=items, users=users)
    assert state(to) == before


def test_replacing_everything_tells_which_tables_are_gone(first, tmp_path):
    items = write(tmp_path / "items.csv", "ITEM_ID,TITLE\ni,One\n")
    assert full(first, tmp_path / "data", items=items).notices == []
    assert add(first, tmp_path / "data").notices == []
    (notice,) = full(first, tmp_path / "data").notices
    assert "table of items" in notice
    assert "--items" in notice
    assert full(first, tmp_path / "data").notices == []


def test_a_column_of_items_cannot_become_text_half_way(to, first, tmp_path):
    for name, year in (("a", [1999]), ("b", ["old"])):
        table = pa.table({"ITEM_ID": ["i1"], "YEAR": year})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    add(first, to, items=tmp_path / "a.parquet")
    before = state(to)
    with pytest.raises(SourceError, match="string values in its column 'year'.* has int64"):
        add(first, to, items=tmp_path / "b.parquet")
    assert state(to) == before


def test_known_ids_keep_their_numbers_and_new_ones_follow(to, tmp_path):
    known = open_dataset(to).item_vocabulary().ids.to_pylist()
    add(write(tmp_path / "more.csv", HEADER + "aa,a-new,1,,\nu1,i0,9,,\n"), to)
    dataset = open_dataset(to)
    assert dataset.item_vocabulary().ids.to_pylist() == [*known, "a-new"]
    assert dataset.user_vocabulary().ids.to_pylist()[-1] == "aa"


def test_a_dataset_keeps_its_number_of_shards(to, first):
    with pytest.raises(ConfigError, match="has 3 shards.* cannot have 4"):
        add(first, to, num_shards=4)
    add(first, to, num_shards=3)


def test_where_there_is_nothing_an_addition_is_the_first_import(first, tmp_path):
    manifest = add(first, tmp_path / "new")
    assert counts(manifest) == (14, 12, 2, 0, 0)
    assert manifest.imports[-1].mode is ImportMode.INCREMENTAL


def test_a_log_without_a_row_adds_nothing_but_one_of_broken_rows_is_refused(to, tmp_path):
    before = state(to)
    manifest = add(write(tmp_path / "empty.csv", HEADER), to)
    assert counts(manifest.imports[-1]) == (0, 0, 0, 0, 0)
    with pytest.raises(NothingUsableError, match="none of 1 rows"):
        add(write(tmp_path / "bad.csv", HEADER + ",i,1,,\n"), to)
    assert state(to) == before


def test_a_dataset_of_an_older_version_is_replaced_but_not_added_to(to, first):
    manifest = open_dataset(to).manifest.model_copy(update={"format_version": 1})
    (to / "manifest.json").write_text(manifest.model_dump_json())
    with pytest.raises(DatasetError, match="has format 1"):
        add(first, to)
    full(first, to)
    assert len(open_dataset(to).manifest.imports) == 1


def test_an_addition_to_a_dataset_that_changed_meanwhile_is_refused(to, first, tmp_path):
    other = write(tmp_path / "other.csv", HEADER + "u1,other,1,,\n")

    def interfere(*_, **__):
        if not interfered:
            interfered.append(True)
            add(other, to)

    interfered: list[bool] = []
    log = write(tmp_path / "mine.csv", HEADER + "u1,mine,1,,\n")
    with pytest.raises(DatasetError, match="changed by another import"):
        add(log, to, on_progress=interfere)
    assert ("u1", "other") in pairs(to)
    assert ("u1", "mine") not in pairs(to)
    assert set(state(to)) == set(open_dataset(to).manifest.files)


def test_a_manifest_whose_rows_do_not_add_up_is_refused(to):
    manifest: DatasetManifest = open_dataset(to).manifest
    manifest.check_counts()
    for changed in (
        {"rows_accepted": manifest.rows_accepted + 1},
        {"rows_forgotten": 1},
        {"imports": [manifest.imports[0].model_copy(update={"rows_in": 13})]},
    ):
        with pytest.raises(DatasetError, match="Nothing is published"):
            manifest.model_copy(update=changed).check_counts()
