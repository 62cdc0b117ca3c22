"""An older database becomes what this code expects, every row kept; others are refused."""

import shutil
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

import raysys.state
from raysys.errors import StateError
from raysys.state.items import Changes, Item, ItemCount, Reception
from raysys.state.migrations import HEAD
from raysys.state.store import PutResult, StateStore
from raysys.state.user_state import Interaction, UserState
from raysys.state.users import User
from tests.unit.state.builders import event, slate, sqlite_url
from tests.unit.state.schema import differences

# As schema version 1 was made.
VERSION_1 = """
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE events (
    event_num INTEGER NOT NULL, dataset_group VARCHAR NOT NULL, identity VARCHAR NOT NULL,
    user_id VARCHAR NOT NULL, session_id VARCHAR NOT NULL, item_id VARCHAR,
    event_type VARCHAR NOT NULL, occurred_at_us BIGINT NOT NULL, received_at_us BIGINT NOT NULL,
    event_id VARCHAR, event_value DOUBLE, properties VARCHAR, recommendation_id VARCHAR,
    impression VARCHAR, PRIMARY KEY (event_num),
    CONSTRAINT events_are_stored_once UNIQUE (dataset_group, identity)
);
CREATE TABLE user_states (
    dataset_group VARCHAR NOT NULL, user_id VARCHAR NOT NULL, version BIGINT NOT NULL,
    packed BLOB NOT NULL, PRIMARY KEY (dataset_group, user_id)
);
INSERT INTO schema_version VALUES (1);
INSERT INTO events VALUES
    (7, 'films', 'id:e-1', 'ann', 's', 'a', 'click', 1, 2, 'e-1', 4.5, '{}', 'RID-0', '["a"]'),
    (9, 'films', 'id:e-2', 'ann', 's', NULL, 'search', 3, 4, 'e-2', NULL, NULL, NULL, NULL),
    (11, 'films', 'id:e-3', 'ann', 's', 'old', 'view', -9, 4, 'e-3', NULL, NULL, NULL, NULL),
    (12, 'films', 'id:e-4', 'ann', 's', 'b', 'view', 0, 4, 'e-4', NULL, NULL, NULL, NULL),
    (13, 'books', 'id:e-5', 'ann', 's', 'z', 'buy', 0, 4, 'e-5', 7.0, NULL, NULL, NULL);
"""
COLUMNS_OF_EVENTS = (
    "event_num, dataset_group, identity, user_id, session_id, item_id, event_type, occurred_at_us, "
    "received_at_us, event_id, event_value, properties, recommendation_id, impression"
)
EVERY_EVENT = f"select {COLUMNS_OF_EVENTS} from events order by event_num"


@pytest.fixture
def connection(tmp_path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.executescript(VERSION_1)
    # Versions 1 and 2 packed the items and the times of the newest; one was too old to be kept.
    for group, version, state in (
        ("films", 3, (("b", "a"), (0, 1))),
        ("books", 1, (("z",), (0,))),
    ):
        row = [group, version, msgspec.msgpack.encode(state)]
        connection.execute("insert into user_states values (?, 'ann', ?, ?)", row)
    connection.commit()
    return connection


def alembic_config(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    location = Path(raysys.state.__file__).parent / "schema"
    config.set_main_option("script_location", str(location))
    config.set_main_option("path_separator", "os")
    return config


def migrate_to(version: int, directory: Path) -> None:
    """Let a database of version 1 be as each version left it, its number in its own table."""
    engine = create_engine(sqlite_url(directory))
    with engine.begin() as connection:
        connection.execute(text("create table schema_revision (version_num varchar(32))"))
        connection.execute(text("insert into schema_revision values ('0001')"))
        command.upgrade(alembic_config(connection), f"{version:04}")
        connection.execute(text("drop table schema_revision"))
        connection.execute(text(f"update schema_version set version = {version}"))
    engine.dispose()


def test_a_database_of_version_1_keeps_every_row_and_works_on(
    tmp_path: Path, connection: sqlite3.Connection
) -> None:
    before = connection.execute(EVERY_EVENT).fetchall()
    for _ in range(2):  # the second opening finds the newest revision
        StateStore(sqlite_url(tmp_path), "films").close()
        found = connection.execute("select version_num from schema_revision").fetchall()
        assert found == [(HEAD,)]
        assert connection.execute(EVERY_EVENT).fetchall() == before
    found = connection.execute("select is_click from events order by event_num").fetchall()
    assert [is_click for (is_click,) in found] == [1, 0, 1, 1, 1]  # all that name an item
    store = StateStore(sqlite_url(tmp_path), "films")
    newest = (Interaction("b", 0, "view"), Interaction("a", 1, "click", 4.5))
    assert store.user_states(["ann"]) == {"ann": UserState(4, newest)}
    books = StateStore(sqlite_url(tmp_path), "books")
    assert books.user_states(["ann"]) == {"ann": UserState(2, (Interaction("z", 0, "buy", 7.0),))}
    books.close()
    assert store.put_events([event("x", 1, event_id="e-1")]) == PutResult(0, 1)
    store.put_items([Item("b", None, 1)])
    store.put_events([event("b", 2)])
    store.put_users([User("ann", '{"a": 1}')])
    assert store.user_states(["ann"])["ann"].properties == '{"a": 1}'
    store.put_slates([slate(fresh_item_ids=("b",), also_relevant=(1,), nothing_relevant=())])
    assert store.changes(2) == Changes(3, [], [ItemCount("b", 1, 1)])
    store.close()
    connection.close()


@pytest.mark.parametrize("is_migrated", [True, False], ids=["migrated", "new"])
def test_the_tables_are_those_that_the_code_expects(
    tmp_path: Path, connection: sqlite3.Connection, is_migrated: bool
) -> None:
    connection.close()
    if not is_migrated:
        (tmp_path / "state.db").unlink()
    StateStore(sqlite_url(tmp_path), "films").close()
    engine = create_engine(sqlite_url(tmp_path))
    with engine.connect() as found:
        assert differences(found) == []
    engine.dispose()


@pytest.mark.parametrize("version", range(1, 12))
def test_a_database_that_stopped_at_any_version_goes_on_from_there(
    tmp_path: Path, connection: sqlite3.Connection, version: int
) -> None:
    migrate_to(version, tmp_path)
    before = connection.execute(EVERY_EVENT).fetchall()
    connection.close()
    store = StateStore(sqlite_url(tmp_path), "films")
    newest = (Interaction("b", 0, "view"), Interaction("a", 1, "click", 4.5))
    assert store.user_states(["ann"]) == {"ann": UserState(4, newest)}
    store.close()
    engine = create_engine(sqlite_url(tmp_path))
    with engine.connect() as found:
        assert differences(found) == []
        assert [tuple(row) for row in found.execute(text(EVERY_EVENT))] == before
    engine.dispose()


def test_the_head_is_the_newest_revision() -> None:
    engine = create_engine("sqlite://")
    with engine.connect() as connection:
        assert ScriptDirectory.from_config(alembic_config(connection)).get_heads() == [HEAD]
    engine.dispose()


def test_threads_that_open_older_databases_at_once_migrate_each(
    tmp_path: Path, connection: sqlite3.Connection
) -> None:
    connection.close()
    urls = []
    for name in "abcd":
        (tmp_path / name).mkdir()
        shutil.copy(tmp_path / "state.db", tmp_path / name)
        urls += [sqlite_url(tmp_path / name)] * 2
    with ThreadPoolExecutor(8) as threads:
        for store in threads.map(lambda url: StateStore(url, "new"), urls):
            store.close()
    for url in urls:
        engine = create_engine(url)
        with engine.connect() as connection:
            assert differences(connection) == []
        engine.dispose()


def test_a_current_database_is_opened_withoutalembic_config(tmp_path: Path) -> None:
    program = (
        "import sys; from raysys.state.store import StateStore\n"
        f"for _ in range(2): StateStore({sqlite_url(tmp_path)!r}, 'films').close()\n"
        "assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_slates_of_an_older_raysys_stay_and_do_not_know_what_was_relevant(
    tmp_path: Path, connection: sqlite3.Connection
) -> None:
    migrate_to(9, tmp_path)
    known = {"dataset_group": "films", **slate("RID-1").to_row()}
    for name in ("also_relevant", "nothing_relevant", "num_fresh"):
        del known[name]
    columns, places = ", ".join(known), ", ".join(f":{name}" for name in known)
    connection.execute(f"insert into slates ({columns}) values ({places})", known)
    connection.commit()
    connection.close()
    store = StateStore(sqlite_url(tmp_path), "films")
    store.put_slates([slate("RID-2", also_relevant=(), nothing_relevant=())])
    ((old, new),) = store.log.slates(store.log.end())
    assert old.slate == slate("RID-1")
    assert old.slate.came_as() == ["relevant", None]
    assert old.slate.num_fresh is None
    assert new.slate.came_as() == ["relevant", "explored"]
    store.close()


def test_a_strangers_table_stops_the_migration_and_nothing_is_changed(
    tmp_path: Path, connection: sqlite3.Connection
) -> None:
    connection.execute("create table items (mine text)")
    connection.commit()
    before = connection.execute("select name from sqlite_master").fetchall()
    with pytest.raises(StateError, match="'items' that raysys did not make"):
        StateStore(sqlite_url(tmp_path), "films")
    assert connection.execute("select version from schema_version").fetchall() == [(1,)]
    assert connection.execute("select name from sqlite_master").fetchall() == before
    connection.close()


def test_what_was_counted_before_counts_for_all_items_together(
    tmp_path: Path, connection: sqlite3.Connection
) -> None:
    migrate_to(11, tmp_path)
    for group, item, impressions, clicks in (("films", "a", 9, 2), ("films", "b", 1, 3)):
        row = [group, item, impressions, clicks]
        connection.execute("insert into item_counts values (?, ?, ?, ?, 1)", row)
    connection.execute("insert into delta_versions values ('films', 5), ('books', 3)")
    connection.commit()
    connection.close()
    for group, reception in (("films", Reception(10, 5)), ("books", Reception(0, 0))):
        store = StateStore(sqlite_url(tmp_path), group)
        assert store.changes(0).reception == reception
        store.close()
