"""What clients sent and put becomes part of a dataset once, whoever dies on the way."""

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from raysys import storage
from raysys.dataset.dataset import open_dataset
from raysys.errors import DatasetError, NothingUsableError
from raysys.logs import event_intake
from raysys.logs.call import run_here
from raysys.logs.event_intake import import_events
from raysys.logs.event_news import has_news
from raysys.logs.importing import import_log
from raysys.logs.manifest import DatasetManifest, ImportMode
from raysys.state.items import Item
from raysys.state.store import StateStore
from raysys.state.users import User
from tests.unit.logs.tools import write
from tests.unit.state.builders import event, sqlite_url


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    return tmp_path / "data" / "dataset"


def take_in(store: StateStore, dataset: Path) -> DatasetManifest | None:
    return import_events(store, dataset, num_shards=1, run=run_here)


def items_of(dataset: Path) -> list[str]:
    """Return the item of every interaction, sorted, after checking each file and every count."""
    opened = open_dataset(dataset)
    opened.verify()
    opened.manifest.check_counts()
    tables = [pq.read_table(path) for path in opened.shard_paths()]
    return sorted(item for table in tables for item in table["item_id"].to_pylist())


def test_each_time_only_what_came_since_is_read(store: StateStore, dataset: Path) -> None:
    store.put_events([event("a", 1, event_id="e-1"), event("b", 2)])
    assert take_in(store, dataset) is not None
    store.put_events([event("c", 3), event(None, 4)])
    assert has_news(store, dataset)
    manifest = take_in(store, dataset)
    assert manifest is not None
    assert manifest.imports[-1].rows_in == 1
    assert [Path(source.name).name for source in manifest.sources] == [
        "events-1-2.parquet",
        "events-3-4.parquet",
    ]
    assert items_of(dataset) == ["a", "b", "c"]
    assert [path.name for path in dataset.parent.iterdir()] == ["dataset"]
    before = (dataset / "manifest.json").read_bytes()
    assert not has_news(store, dataset)
    assert take_in(store, dataset) is None
    assert (dataset / "manifest.json").read_bytes() == before


def test_what_was_put_comes_along_and_replaces_what_was_known(
    store: StateStore, dataset: Path
) -> None:
    store.put_events([event("a", 1)])
    store.put_items([Item("a", '{"TITLE": "old"}'), Item("b", '{"TITLE": "b"}')])
    take_in(store, dataset)
    store.put_users([User("ann", '{"AGE": 30}')])
    assert not has_news(store, dataset)  # a user alone is none
    store.put_items([Item("a", '{"TITLE": "new"}')])
    manifest = take_in(store, dataset)
    assert manifest is not None
    assert manifest.items_file is not None
    assert manifest.users_file is not None
    items = pq.read_table(dataset / manifest.items_file).to_pylist()
    assert {row["item_id"]: row["title"] for row in items} == {"a": "new", "b": "b"}
    assert pq.read_table(dataset / manifest.users_file)["age"].to_pylist() == [30]
    assert items_of(dataset) == ["a"]


def test_another_log_that_is_added_meanwhile_changes_nothing_of_it(
    store: StateStore, dataset: Path, tmp_path: Path
) -> None:
    store.put_events([event("a", 1)])
    take_in(store, dataset)
    log = write(tmp_path / "log.csv", "USER_ID,ITEM_ID,TIMESTAMP\nbob,z,9\n")

    def add(mode: ImportMode) -> None:
        import_log([log], dataset, mode=mode, num_shards=1, dataset_group="films", run=run_here)

    add(ImportMode.INCREMENTAL)
    assert not has_news(store, dataset)
    add(ImportMode.FULL)
    assert has_news(store, dataset)
    take_in(store, dataset)
    assert items_of(dataset) == ["a", "z"]


def newest_removed_and_number_given_again(store: StateStore, directory: Path) -> StateStore:
    with sqlite3.connect(directory / "state.db") as connection:
        connection.execute("delete from events where item_id in ('c', 'd')")
    connection.close()
    store.put_events([event("e", 5)])  # its number is that of "c"
    return store


def another_database(store: StateStore, directory: Path) -> StateStore:
    other = StateStore(f"sqlite:///{directory / 'other.db'}", "films")
    copied = [event(item, at) for at, item in enumerate("abcd", 1)]
    other.put_events([event("e", 5), *copied])
    return other


@pytest.mark.parametrize("change", [newest_removed_and_number_given_again, another_database])
def test_where_numbers_mean_other_events_all_are_read_again_and_none_is_lost_or_twice(
    store: StateStore,
    dataset: Path,
    tmp_path: Path,
    change: Callable[[StateStore, Path], StateStore],
) -> None:
    store.put_events([event(item, at) for at, item in enumerate("abcd", 1)])
    take_in(store, dataset)
    now = change(store, tmp_path)
    assert has_news(now, dataset)
    take_in(now, dataset)
    assert items_of(dataset) == ["a", "b", "c", "d", "e"]
    assert not has_news(now, dataset)
    if now is not store:
        now.close()


def test_events_that_no_import_takes_are_quarantined_once(store: StateStore, dataset: Path) -> None:
    store.put_events([event("a", 1)])
    take_in(store, dataset)
    store.put_events([event("", 2)])
    manifest = take_in(store, dataset)
    assert manifest is not None
    assert manifest.quarantined_by_reason == {"empty_id": 1}
    assert not has_news(store, dataset)


def test_what_another_import_added_meanwhile_is_not_overwritten(
    store: StateStore, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.put_events([event("a", 1)])
    write_interactions = event_intake.write_interactions

    def overtaken(*given: object, **more: object) -> object:
        monkeypatch.setattr(event_intake, "write_interactions", write_interactions)
        take_in(store, dataset)
        return write_interactions(*given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(event_intake, "write_interactions", overtaken)
    with pytest.raises(DatasetError, match="was changed by another import"):
        take_in(store, dataset)
    assert items_of(dataset) == ["a"]


def test_a_dataset_cannot_begin_with_nothing(store: StateStore, dataset: Path) -> None:
    assert take_in(store, dataset) is None
    store.put_items([Item("a")])
    with pytest.raises(NothingUsableError):
        take_in(store, dataset)
    assert not list(dataset.parent.iterdir())


# What makes things appear where others look, and removes them; test_crashes.py tries more.
CHANGES = ("rename", "replace", "rmdir")


def killed_before(number: int, work: Callable[[], object]) -> bool:
    """Do something in a child that is killed before its change `number`; say whether it was."""
    child = os.fork()
    if child == 0:
        done = 0

        def counted(change: Callable[..., object]) -> Callable[..., object]:
            def perform(*given: object, **more: object) -> object:
                nonlocal done
                done += 1
                if done == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return change(*given, **more)

            return perform

        try:
            for name in CHANGES:
                setattr(os, name, counted(getattr(os, name)))
            work()
            os._exit(0)
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0


def test_killed_at_every_step_and_run_again_every_event_is_there_once(
    store: StateStore, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "_is_running", lambda _: False)
    store.put_events([event("a", 1), event("b", 2, event_id="e-1")])
    take_in(store, dataset)
    store.put_events([event("c", 3), event("d", 4, event_id="e-2")])
    store.close()  # connections do not cross a fork
    shutil.copytree(dataset.parent, tmp_path / "before")

    def take_in_anew() -> None:
        own = StateStore(sqlite_url(tmp_path), "films")
        take_in(own, dataset)
        own.close()

    seen = []
    while killed_before(len(seen) + 1, take_in_anew):
        seen.append(items_of(dataset))
        take_in_anew()
        assert items_of(dataset) == ["a", "b", "c", "d"]
        shutil.rmtree(dataset.parent)
        shutil.copytree(tmp_path / "before", dataset.parent)
    assert len(seen) > 9, seen
    assert sorted(seen, key=len) == seen  # it changes in one moment
    assert {len(found) for found in seen} == {2, 4}
