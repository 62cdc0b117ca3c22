"""Whoever is forgotten is gone from every file, and old files do not bring them back."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raysys.dataset.dataset import open_dataset
from raysys.errors import ConfigError, DatasetError
from raysys.hashing import stable_hash
from raysys.logs import publish
from raysys.logs.call import run_here
from raysys.logs.forgetting import Receipt, forget_users
from raysys.logs.importing import import_log
from raysys.logs.manifest import ImportMode
from raysys.logs.tombstones import Tombstones
from tests.unit.logs.tools import write

HEADER = "USER_ID,ITEM_ID,TIMESTAMP\n"
NOW = datetime.fromtimestamp(1_000_000, UTC)
BAD = ["ann,i1,soon", "bob,i2,later", "ann,i3", "carl|ann,i4", ",ann-i,5"]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    rows = [f"{user},i{n % 5},{n}" for n in range(60) for user in ("ann", "bob", "carl")]
    return write(tmp_path / "log.csv", HEADER + "\n".join([*rows, "ann,i0,0", *BAD]) + "\n")


@pytest.fixture
def users(tmp_path: Path) -> Path:
    return write(tmp_path / "users.csv", "USER_ID,AGE\nann,30\nbob,40\n")


@pytest.fixture
def to(tmp_path: Path, log: Path, users: Path) -> Path:
    import_log([log], tmp_path / "data", users=users, num_shards=8, run=run_here)
    return tmp_path / "data"


def forget(to: Path, *user_ids: str, **more):
    return forget_users(to, user_ids, dataset_group="default", run=run_here, **{"now": NOW, **more})


def again(log: Path, to: Path, mode: ImportMode = ImportMode.INCREMENTAL, **more):
    return import_log([log], to, mode=mode, num_shards=8, run=run_here, **more)


def rows(to: Path) -> list[dict]:
    dataset = open_dataset(to)
    dataset.verify()
    return [row for path in dataset.shard_paths() for row in pq.read_table(path).to_pylist()]


def bytes_of(to: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(to.rglob("*")) if path.is_file())


def quarantine(to: Path) -> list[str]:
    names = open_dataset(to).manifest.quarantine_names()
    return [row["row"] for name in names for row in pq.read_table(to / name).to_pylist()]


def test_nothing_of_a_forgotten_user_is_left_and_others_keep_every_row(to):
    before = [row for row in rows(to) if row["user_id"] != "ann"]
    manifest, receipt = forget(to, "ann")
    assert rows(to) == before
    assert quarantine(to) == ["bob,i2,later", ",ann-i,5"]  # an item is no user
    users = pq.read_table(to / manifest.users_file).to_pylist()
    assert users == [{"user_id": "bob", "age": "40"}]
    assert open_dataset(to).user_vocabulary().ids.to_pylist() == ["bob", "carl"]
    assert receipt.rows == {"interactions": 60, "quarantine": 3, "users": 1}
    assert receipt.num_users_found == 1
    assert (manifest.rows_in, manifest.rows_accepted) == (186, 120)
    assert (manifest.rows_quarantined, manifest.rows_duplicate) == (2, 1)
    assert manifest.rows_forgotten == 63
    assert manifest.quarantined_by_reason == {"bad_timestamp": 1, "null_id": 1}
    assert (manifest.num_users, manifest.num_items) == (2, 5)
    assert {path.name for path in to.parent.iterdir()} == {"data", "log.csv", "users.csv"}


def test_the_dataset_says_nowhere_who_was_forgotten(tmp_path):
    log = write(tmp_path / "log.csv", HEADER + "somebody-else,i,1\nwho-was-it,i,2\n")
    import_log([log], tmp_path / "data", num_shards=1, run=run_here)
    assert b"who-was-it" in bytes_of(tmp_path / "data")
    forget(tmp_path / "data", "who-was-it", "never-there")
    assert b"who-was-it" not in bytes_of(tmp_path / "data")
    assert b"never-there" not in bytes_of(tmp_path / "data")


def test_only_shards_that_hold_them_are_written_again(to):
    before = set(open_dataset(to).manifest.shard_names())
    manifest, receipt = forget(to, "ann", "nobody")
    shard = stable_hash("ann") % 8
    assert receipt.shards_rewritten == [f"interactions/shard-{shard:05d}.parquet"]
    assert len(before & set(manifest.shard_names())) == 7
    found = {str(path.relative_to(to)) for path in to.rglob("*") if path.is_file()}
    assert found == {"manifest.json", *manifest.files}


def test_what_is_left_is_what_an_import_without_them_gives(to, tmp_path):
    rows_of_others = [
        line
        for line in (tmp_path / "log.csv").read_text().splitlines()
        if not line.startswith(("ann", "carl|"))
    ]
    forget(to, "ann")
    without = write(tmp_path / "others.csv", "\n".join(rows_of_others) + "\n")
    import_log([without], tmp_path / "others", num_shards=8, run=run_here)
    places = ["source_file", "source_row"]
    left, wanted = (
        [{name: row[name] for name in row if name not in places} for row in rows(path)]
        for path in (to, tmp_path / "others")
    )
    assert left == wanted
    assert open_dataset(to).manifest.shards == open_dataset(tmp_path / "others").manifest.shards


@pytest.mark.parametrize("mode", list(ImportMode))
def test_an_old_file_does_not_bring_them_back(to, log, users, mode):
    forget(to, "ann")
    left, left_in_quarantine = rows(to), quarantine(to)
    manifest = again(log, to, mode, users=users)
    assert rows(to) == left
    assert quarantine(to) == left_in_quarantine
    record = manifest.imports[-1]
    assert record.rows_suppressed == 64  # 61 rows, and three of quarantine
    assert record.num_told == record.rows_in == 186
    if mode is ImportMode.FULL:
        assert (record.rows_accepted, record.rows_quarantined) == (120, 2)
    else:
        assert (record.rows_accepted, record.rows_duplicate) == (0, 122)
    table = pq.read_table(to / manifest.users_file)
    assert table.column("user_id").to_pylist() == ["bob"]
    assert any("1 rows of the table of users were left out" in one for one in manifest.notices)


def test_rows_after_the_tombstone_are_a_new_user(to, tmp_path, users):
    forget(to, "ann")
    at = int(NOW.timestamp())
    later = write(tmp_path / "later.csv", HEADER + f"ann,i1,{at}\nann,i2,{at + 1}\n")
    manifest = again(later, to, users=users)
    record = manifest.imports[-1]
    assert (record.rows_accepted, record.rows_suppressed) == (1, 1)  # at its time: still old
    assert [row["item_id"] for row in rows(to) if row["user_id"] == "ann"] == ["i2"]
    table = pq.read_table(to / manifest.users_file)
    assert table.column("user_id").to_pylist() == ["bob", "ann"]
    assert open_dataset(to).user_vocabulary().ids.to_pylist() == ["bob", "carl", "ann"]


def test_rows_from_the_future_do_not_come_back_either(to, log):
    early = datetime.fromtimestamp(10, UTC)  # most of the log lies later
    manifest, _ = forget(to, "ann", now=early)
    left = rows(to)
    assert again(log, to).imports[-1].rows_suppressed == 64
    assert rows(to) == left
    tombstones = Tombstones.open(to / manifest.tombstones_file)
    assert list(tombstones.forgotten_at_us.values()) == [59_000_000]


def test_tombstones_and_receipts_outlive_a_full_import_and_add_up(to, log, tmp_path):
    first, _ = forget(to, "ann")
    manifest = again(log, to, ImportMode.FULL)
    assert manifest.tombstones_file == first.tombstones_file
    assert manifest.receipts == first.receipts
    second, receipt = forget(to, "bob")
    assert len(second.receipts) == 2
    assert len(Tombstones.open(to / second.tombstones_file)) == 2
    assert Receipt.model_validate_json((to / second.receipts[-1]).read_bytes()) == receipt
    other = write(tmp_path / "other.csv", HEADER + "carl,new,7\n")
    manifest = import_log([other, log], to, num_shards=8, run=run_here)
    assert {row["user_id"] for row in rows(to)} == {"carl"}
    assert manifest.receipts == second.receipts


def test_a_receipt_lets_whoever_has_the_id_ask_and_names_releases(to):
    manifest, receipt = forget(to, "ann", releases={"r/1": True, "r/2": False})
    tombstones = Tombstones.open(to / manifest.tombstones_file)
    assert receipt.users == [tombstones.digest("ann").hex()]
    assert receipt.releases_checked == ["r/1", "r/2"]
    assert receipt.releases_with_them == ["r/1"]
    assert receipt.forgotten_at == NOW


def test_two_datasets_do_not_give_the_same_user_the_same_hash(to, log, tmp_path):
    import_log([log], tmp_path / "two", num_shards=8, run=run_here)
    assert forget(to, "ann")[1].users != forget(tmp_path / "two", "ann")[1].users


def test_everybody_can_be_forgotten(to):
    manifest, _ = forget(to, "ann", "bob", "carl")
    assert rows(to) == []
    assert (manifest.num_users, manifest.first_occurred_at) == (0, None)
    assert quarantine(to) == [",ann-i,5"]
    assert forget(to, "ann")[1].rows == {"interactions": 0, "quarantine": 0, "users": 0}


def test_nobody_named_and_no_dataset_are_refused(to, tmp_path):
    with pytest.raises(ConfigError, match="Nobody was named"):
        forget(to)
    with pytest.raises(DatasetError, match="no dataset at"):
        forget(tmp_path / "nothing", "ann")
    with pytest.raises(DatasetError, match="dataset group 'default'"):
        forget_users(to, ["ann"], dataset_group="films", run=run_here)


def test_an_import_that_began_before_a_forgetting_is_not_published(to, log):
    def interfere(*_, **__):
        if not interfered:
            interfered.append(True)
            forget(to, "ann")

    interfered: list[bool] = []
    with pytest.raises(DatasetError, match="Users were forgotten in .* while the import ran"):
        again(log, to, ImportMode.FULL, on_progress=interfere)
    assert "ann" not in {row["user_id"] for row in rows(to)}


def test_a_forgetting_that_dies_before_it_is_published_changes_nothing(to, monkeypatch):
    before = rows(to)

    def fail(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(publish.storage, "move_directory", fail)
    with pytest.raises(KeyboardInterrupt):
        forget(to, "ann")
    assert rows(to) == before
    monkeypatch.undo()
    forget(to, "ann")
    assert "ann" not in {row["user_id"] for row in rows(to)}
