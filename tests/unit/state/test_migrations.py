"""An older database becomes what this code expects, every row kept; others are refused."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from raysys.errors import StateError
from raysys.state.items import Changes, Item, ItemCount
from raysys.state.migrations import SCHEMA_VERSION
from raysys.state.store import PutResult, StateStore
from raysys.state.user_state import Interaction, UserState
from raysys.state.users import User
from tests.unit.state.builders import event, slate, sqlite_url

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


def version_of(connection: sqlite3.Connection) -> list[tuple[int]]:
    return connection.execute("select version from schema_version").fetchall()


def test_a_database_of_version_1_keeps_every_row_and_works_on(
    tmp_path: Path, connection: sqlite3.Connection
) -> None:
    before = connection.execute(EVERY_EVENT).fetchall()
    for _ in range(2):  # the second opening finds the newest version
        StateStore(sqlite_url(tmp_path), "films").close()
        assert version_of(connection) == [(SCHEMA_VERSION,)]
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


def test_a_migrated_database_has_the_tables_of_a_new_one(
    tmp_path: Path, connection: sqlite3.Connection
) -> None:
    connection.close()
    (tmp_path / "new").mkdir()

    def names(directory: Path) -> list[tuple[str, ...]]:
        StateStore(sqlite_url(directory), "films").close()
        opened = sqlite3.connect(directory / "state.db")
        found = opened.execute("select type, name, tbl_name from sqlite_master order by name")
        result = found.fetchall()
        columns = "select m.name, p.name from sqlite_master m, pragma_table_info(m.name) p"
        result += sorted(opened.execute(columns))
        opened.close()
        return result

    assert names(tmp_path) == names(tmp_path / "new")
    assert ("index", "events_by_recommendation", "events") in names(tmp_path)


def test_slates_of_an_older_raysys_stay_and_do_not_know_what_was_relevant(
    tmp_path: Path,
) -> None:
    store = StateStore(sqlite_url(tmp_path), "films")
    store.put_slates([slate("RID-1")])
    store.close()
    connection = sqlite3.connect(tmp_path / "state.db")
    for name in ("also_relevant", "nothing_relevant", "num_fresh"):
        connection.execute(f"alter table slates drop column {name}")
    connection.execute("update schema_version set version = 9")
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
    assert version_of(connection) == [(1,)]
    assert connection.execute("select name from sqlite_master").fetchall() == before
    connection.close()
