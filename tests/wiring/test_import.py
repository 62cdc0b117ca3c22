"""Imports on a real Ray: many files in, one dataset out, every row accounted for."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys import tables
from raysys.dataset.dataset import open_dataset
from raysys.dataset.measuring import measure
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DatasetError, NothingUsableError, SourceError
from raysys.hashing import sha256_of_file, stable_hash
from raysys.logs.call import run_here
from raysys.logs.calls import run_calls
from raysys.logs.distinct import distinct_ids
from raysys.logs.event_export import export_log
from raysys.logs.forgetting import forget_users
from raysys.logs.importing import import_log
from raysys.logs.manifest import DatasetManifest, ImportMode, manifest_path
from raysys.logs.numbering import Wanted, write_vocabularies
from raysys.logs.simulator import Simulator
from raysys.logs.simulator.writing import write_log
from raysys.state.events import Event
from raysys.state.store import StateStore
from tests.wiring.private_ray import private_ray

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    with private_ray():
        yield


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def interactions(dataset: Path) -> pa.Table:
    """Return the rows of all shards, shard after shard, after checking each file's hash."""
    manifest = DatasetManifest.model_validate_json(manifest_path(dataset).read_text())
    for name, written in manifest.files.items():
        assert sha256_of_file(dataset / name) == written.sha256
    return pa.concat_tables(pq.read_table(dataset / name) for name in manifest.shard_names())


def names_below(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """A directory with a log of each format; broken rows and duplicates among them."""
    directory = tmp_path / "logs"
    directory.mkdir()
    csv_rows = [f"u{n % 7},i{n},{1000 + n},click,{n}.5,e{n}" for n in range(300)]
    csv_rows[10] = ",i10,1010,click,1,e10"  # null_id
    csv_rows[20] = "u1,i20,soon,click,1,e20"  # bad_timestamp
    csv_rows[30] = "u5,elsewhere,5,buy,1,e3"  # the event e3 again, under another user
    header = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE,EVENT_ID"
    write(directory / "a.csv", "\n".join([header, *csv_rows]) + "\n")
    pq.write_table(
        pa.table(
            {
                "USER_ID": [0, 1, 1, None],
                "ITEM_ID": ["x", "y", "y", "z"],
                "TIMESTAMP": [7, 8, 8, 9],
                "DEVICE": ["tv"] * 4,
            }
        ),
        directory / "b.parquet",
    )
    write(
        directory / "c.inter",
        "user_id:token\titem_id:token\trating:float\ttimestamp:float\nu1\ti1\t4\t1001\nu1\ti1\t4\t1001\n",
    )
    return directory


def test_an_import_of_every_format_accounts_for_every_row(logs: Path, tmp_path: Path) -> None:
    seen: list[tuple[float, float | None]] = []
    manifest = import_log(
        [logs],
        tmp_path / "data",
        num_shards=3,
        on_progress=lambda done, total=None, note="": seen.append((done, total)),
    )
    assert manifest.rows_in == 300 + 4 + 2
    assert manifest.quarantined_by_reason == {"bad_timestamp": 1, "null_id": 2}
    assert manifest.rows_quarantined == 3
    assert manifest.rows_duplicate == 3  # e3, (1, y, 8) and (u1, i1, 1001)
    assert manifest.rows_accepted == 300
    assert [source.rows for source in manifest.sources] == [300, 4, 2]
    assert [Path(source.name).name for source in manifest.sources] == [
        "a.csv",
        "b.parquet",
        "c.inter",
    ]
    assert manifest.notices == [
        f"{logs}/b.parquet: not read, since no known column has that name: 'DEVICE'. A "
        "schema can declare it: see `raysys schema`.",
        f"{logs}/b.parquet: USER_ID holds integers; they were written as text.",
    ]
    assert seen[-1] == (306, 306)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)

    table = interactions(tmp_path / "data")
    assert table.schema == tables.INTERACTIONS
    assert manifest.num_users == len(set(table["user_id"].to_pylist())) == 9
    assert manifest.num_items == len(set(table["item_id"].to_pylist()))
    row = table.filter(pa.compute.equal(table["event_id"], "e3")).to_pylist()
    assert [(one["user_id"], one["source_file"], one["source_row"]) for one in row] == [
        ("u3", 0, 4)
    ]
    assert row[0]["event_value"] == 3.5

    quarantine = pa.concat_tables(
        pq.read_table(path)
        for path in sorted((tmp_path / "data" / manifest.import_id / "quarantine").iterdir())
    )
    assert quarantine.schema == tables.QUARANTINE
    assert [(one["source_row"], one["reason"]) for one in quarantine.to_pylist()] == [
        (11, "null_id"),
        (21, "bad_timestamp"),
        (4, "null_id"),
    ]


def test_shards_follow_the_hash_of_the_user_and_their_order_is_total(
    logs: Path, tmp_path: Path
) -> None:
    manifest = import_log([logs], tmp_path / "data", num_shards=3)
    order = ["user_id", "occurred_at", "source_file", "source_row"]
    assert len(manifest.shard_names()) == 3
    for shard, name in enumerate(manifest.shard_names()):
        table = pq.read_table(tmp_path / "data" / name)
        assert {stable_hash(user) % 3 for user in table["user_id"].to_pylist()} <= {shard}
        assert table.sort_by([(column, "ascending") for column in order]) == table


def test_importing_the_same_logs_again_gives_the_same_rows_and_leaves_no_old_file(
    logs: Path, tmp_path: Path
) -> None:
    first = import_log([logs], tmp_path / "data", num_shards=3)
    before = interactions(tmp_path / "data")
    second = import_log([logs], tmp_path / "data", num_shards=3)
    assert interactions(tmp_path / "data") == before
    assert {n.partition("/")[2]: f for n, f in first.files.items()} == {
        n.partition("/")[2]: f for n, f in second.files.items()
    }
    assert names_below(tmp_path / "data") == {"manifest.json", *second.files}
    assert {path.name for path in tmp_path.iterdir()} == {"logs", "data"}


def test_the_same_log_given_twice_is_all_duplicates_the_second_time(
    logs: Path, tmp_path: Path
) -> None:
    once = import_log([logs], tmp_path / "once")
    twice = import_log([logs, logs], tmp_path / "twice")
    assert twice.rows_in == 2 * once.rows_in
    assert twice.rows_accepted == once.rows_accepted
    assert twice.rows_quarantined == once.rows_quarantined
    assert twice.rows_duplicate == once.rows_in + once.rows_duplicate
    assert interactions(tmp_path / "twice") == interactions(tmp_path / "once")


def test_tables_of_items_and_users_come_along(logs: Path, tmp_path: Path) -> None:
    items = write(tmp_path / "items.csv", "ITEM_ID,TITLE,GENRES\ni1,One,Drama|War\ni2,Two,\n")
    users = write(tmp_path / "people.user", "user_id:token\tage:token\nu1\t24\n")
    manifest = import_log([logs], tmp_path / "data", items=items, users=users)
    assert manifest.items_file
    assert manifest.users_file
    assert pq.read_table(tmp_path / "data" / manifest.items_file).to_pylist() == [
        {"item_id": "i1", "title": "One", "genres": "Drama|War"},
        {"item_id": "i2", "title": "Two", "genres": None},
    ]
    assert pq.read_table(tmp_path / "data" / manifest.users_file).to_pylist() == [
        {"user_id": "u1", "age": "24"}
    ]
    assert {manifest.items_file, manifest.users_file} <= set(manifest.files)


def test_what_is_added_and_who_is_forgotten_on_a_cluster(logs: Path, tmp_path: Path) -> None:
    import_log([logs / "c.inter"], tmp_path / "data", num_shards=3)
    manifest = import_log([logs], tmp_path / "data", mode=ImportMode.INCREMENTAL)
    assert manifest.imports[-1].rows_duplicate == 3 + 1  # (u1, i1, 1001), once more
    users = set(interactions(tmp_path / "data")["user_id"].to_pylist())
    forgotten, receipt = forget_users(
        tmp_path / "data", ["u1", "u2"], dataset_group="default", run=run_calls
    )
    assert set(interactions(tmp_path / "data")["user_id"].to_pylist()) == users - {"u1", "u2"}
    assert receipt.rows["quarantine"] == 1  # u1's, of an hour that is no time
    again = import_log([logs], tmp_path / "data", mode=ImportMode.INCREMENTAL)
    # One row of quarantine, and one that had come twice, are theirs too.
    assert again.imports[-1].rows_suppressed == receipt.rows["interactions"] + 2
    assert again.import_id == forgotten.import_id


def test_an_import_in_which_nothing_is_usable_says_so_and_leaves_nothing(tmp_path: Path) -> None:
    bad = write(tmp_path / "bad.csv", "USER_ID,ITEM_ID,TIMESTAMP\n,i,1\nu,i,never\n")
    with pytest.raises(NothingUsableError) as caught:
        import_log([bad], tmp_path / "data")
    message = str(caught.value)
    assert "none of 2 rows can be used" in message
    assert "bad.csv, row 1 (null_id): ',i,1'" in message
    assert "row 2 (bad_timestamp)" in message
    header = write(tmp_path / "header.csv", "USER_ID,ITEM_ID,TIMESTAMP\n")
    with pytest.raises(NothingUsableError, match="there is no row"):
        import_log([header], tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == {"bad.csv", "header.csv"}


def test_an_import_that_fails_leaves_the_dataset_that_was_there(logs: Path, tmp_path: Path) -> None:
    import_log([logs], tmp_path / "data", num_shards=3)
    before = interactions(tmp_path / "data")
    path = tmp_path / "late.parquet"  # its footer is sound, its rows are not
    columns = {name: [f"{name}{n}" for n in range(5000)] for name in ("USER_ID", "ITEM_ID")}
    pq.write_table(pa.table({**columns, "TIMESTAMP": list(range(5000))}), path)
    content = path.read_bytes()
    middle = len(content) // 3
    path.write_bytes(content[:middle] + bytes(2000) + content[middle + 2000 :])
    with pytest.raises(SourceError, match=r"late\.parquet is damaged"):
        import_log([logs, path], tmp_path / "data")
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="holds no log"):
        import_log([tmp_path / "empty"], tmp_path / "data")
    with pytest.raises(DatasetError, match="other things in it"):
        import_log([logs], logs)
    assert interactions(tmp_path / "data") == before
    assert {path.name for path in tmp_path.iterdir()} == {
        "logs",
        "data",
        "late.parquet",
        "empty",
    }


def test_a_dataset_is_measured_alike_on_ray_and_without(logs: Path, tmp_path: Path) -> None:
    people = write(tmp_path / "users.csv", "USER_ID,AGE\nu1,24\nnobody,50\n")
    manifest = import_log([logs], tmp_path / "data", users=people, num_shards=3)
    dataset = open_dataset(tmp_path / "data")
    found, expected = (measure(dataset, run) for run in (run_calls, run_here))
    assert found.shard.rows == manifest.rows_accepted
    assert (found.num_users, found.num_items) == (manifest.num_users, manifest.num_items)
    assert found.items == expected.items
    assert found.shard.columns == expected.shard.columns
    assert found.user_table == expected.user_table
    assert found.user_table is not None
    assert (found.user_table.rows, found.user_table.matched) == (2, 1)


def test_exported_events_are_imported_again_and_know_each_other(tmp_path: Path) -> None:
    """Two exports that overlap, and the log that came before: every event is there once."""
    store = StateStore(f"sqlite:///{tmp_path / 'state.db'}", "films")
    at_us = 1_700_000_000_123_456
    store.put_events(
        [
            Event("ann", "s", "a", "watch", at_us, "e-1", 4.5),
            Event("bob", "s", "12.5", "click", at_us + 1),
        ]
    )
    export_log(store.log, tmp_path / "first")
    store.put_events([Event("ann", "s", "b", "click", at_us + 2, "e-2")])
    export_log(store.log, tmp_path / "whole")
    store.close()
    header = "USER_ID,ITEM_ID,TIMESTAMP,EVENT_TYPE,EVENT_VALUE,EVENT_ID\n"
    old = write(tmp_path / "old.csv", header + "ann,z,1600000000,click,,\n")
    sources = [old, *(tmp_path / name / "interactions.parquet" for name in ("first", "whole"))]
    manifest = import_log(sources, tmp_path / "dataset", num_shards=1)
    assert (manifest.rows_accepted, manifest.rows_duplicate) == (4, 2)
    assert (manifest.rows_quarantined, manifest.notices) == (0, [])
    read = interactions(tmp_path / "dataset").drop_columns(["source_file", "source_row"])
    times = read["occurred_at"].cast(pa.int64()).to_pylist()
    assert times == [1_600_000_000_000_000, at_us, at_us + 2, at_us + 1]
    assert read.drop_columns(["occurred_at"]).to_pydict() == {
        "user_id": ["ann", "ann", "ann", "bob"],
        "item_id": ["z", "a", "b", "12.5"],
        "event_type": ["click", "watch", "click", "click"],
        "event_value": [None, 4.5, None, None],
        "event_id": [None, "e-1", "e-2", None],
    }


def test_a_world_is_the_same_whoever_writes_it_and_is_imported_whole(tmp_path: Path) -> None:
    world = Simulator("new-like-old", seed=2, num_users=300)
    alone = write_log(world, tmp_path / "alone")
    spread = write_log(world, tmp_path / "spread", run=run_calls)  # a task for each of 3 tables
    assert names_below(tmp_path / "spread") == names_below(tmp_path / "alone")
    for name in names_below(tmp_path / "alone"):
        here, there = (tmp_path / one / name for one in ("alone", "spread"))
        assert sha256_of_file(here) == sha256_of_file(there)
    assert spread.num_rows == alone.num_rows
    files = spread.files
    manifest = import_log(
        [files.interactions], tmp_path / "data", items=files.items, users=files.users
    )
    assert manifest.rows_accepted == manifest.rows_in == spread.num_rows
    assert manifest.num_users == 300


def test_a_large_file_is_read_in_pieces_and_its_rows_keep_their_numbers(tmp_path: Path) -> None:
    """It holds 17 MiB; the rows are long, so that they are few."""
    rows = [f"{'u' * 150}{n % 50},i{n % 99},{n}\n" for n in range(110_000)]
    rows[100_000] = ",i,1\n"
    log = write(tmp_path / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP\n" + "".join(rows))
    notes: list[str] = []
    manifest = import_log(
        [log],
        tmp_path / "data",
        on_progress=lambda done, total=None, note="": notes.append(note),
    )
    assert "2 of 2 pieces of files" in notes
    assert (manifest.rows_in, manifest.rows_accepted) == (110_000, 109_999)
    assert manifest.sources[0].sha256 == sha256_of_file(log)
    kept = interactions(tmp_path / "data")
    assert sorted(kept["source_row"].to_pylist()) == [
        row for row in range(1, 110_001) if row != 100_001
    ]
    (quarantine,) = (tmp_path / "data" / manifest.import_id / "quarantine").iterdir()
    assert pq.read_table(quarantine)["source_row"].to_pylist() == [100_001]


def test_vocabularies_of_many_tasks_are_those_of_one_memory(tmp_path: Path) -> None:
    distinct = []
    for number in range(3):
        shard = tmp_path / f"{number}.parquet"
        ids = [f"{n * 7 % 100:02}" for n in range(30 * number, 30 * number + 40)]
        pq.write_table(pa.table({"id": ids}), shard)
        distinct.append(distinct_ids(shard, "id", tmp_path / f"{number}.ids"))
    wanted = {"items": Wanted(distinct)}
    path = write_vocabularies(wanted, tmp_path, run=run_calls, ids_per_range=40)["items"]
    Vocabulary.from_ids(f"{n:02}" for n in range(100)).save(tmp_path / "expected")
    assert path.read_bytes() == (tmp_path / "expected").read_bytes()
