"""What is stored, what it does to a user's state, and what cannot be used as a database."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raysys.errors import StateError, StateUnavailableError
from raysys.state.events import Event
from raysys.state.migrations import HEAD
from raysys.state.store import PutResult, StateStore
from raysys.state.user_state import Interaction
from raysys.state.users import User
from tests.unit.state.builders import clicked, event, item_ids_of, sqlite_url


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(sqlite_url(tmp_path), "films", max_interactions_per_user=3)
    yield store
    store.close()


def rows(tmp_path: Path, query: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(tmp_path / "state.db")
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def test_events_become_the_state_of_their_users(store: StateStore) -> None:
    result = store.put_events([event("a", 10), event("b", 20), event("c", 5, user_id="bob")])
    assert result == PutResult(stored=3, duplicates=0)
    assert store.user_states(["ann", "bob", "nobody"]) == {
        "ann": clicked(1, ("a", 10), ("b", 20)),
        "bob": clicked(1, ("c", 5)),
    }


def test_the_state_says_of_what_type_and_value_each_event_was(store: StateStore) -> None:
    store.put_events([event("a", 1, event_type="rating", event_value=4.5), event("b", 2)])
    assert store.user_states(["ann"])["ann"].interactions == (
        Interaction("a", 1, "rating", 4.5),
        Interaction("b", 2, "click"),
    )


def test_nobody_is_asked_for_and_nobody_found(store: StateStore) -> None:
    assert store.user_states([]) == {}


def test_each_call_that_changes_a_user_counts_the_version_up_by_one(store: StateStore) -> None:
    store.put_events([event("a", 10), event("b", 20)])
    store.put_events([event("x", 1, user_id="bob")])
    store.put_events([event("c", 15)])
    assert store.user_states(["ann"])["ann"] == clicked(2, ("a", 10), ("c", 15), ("b", 20))


def test_the_state_keeps_the_newest_items_and_the_events_keep_all(
    store: StateStore, tmp_path: Path
) -> None:
    store.put_events([event(str(at), at) for at in (1, 2, 3, 4, 5)])
    assert store.user_states(["ann"])["ann"] == clicked(1, ("3", 3), ("4", 4), ("5", 5))
    assert rows(tmp_path, "select count(*) from events") == [(5,)]


def test_an_event_id_is_stored_once_in_one_call_and_over_calls(store: StateStore) -> None:
    twice = store.put_events([event("a", 1, event_id="e"), event("b", 2, event_id="e")])
    again = store.put_events([event("c", 3, event_id="e"), event("d", 4, event_id="f")])
    assert twice == PutResult(stored=1, duplicates=1)
    assert again == PutResult(stored=1, duplicates=1)
    assert item_ids_of(store.user_states(["ann"])["ann"]) == ("a", "d")


def test_a_request_that_is_sent_again_changes_nothing(store: StateStore) -> None:
    request = [event("a", 1), event("b", 2, event_id="e"), event(None, 3, event_type="search")]
    store.put_events(request)
    before = store.user_states(["ann"])
    assert store.put_events(request) == PutResult(stored=0, duplicates=3)
    assert store.user_states(["ann"]) == before


def test_an_event_without_an_item_is_stored_and_leaves_the_state_alone(
    store: StateStore, tmp_path: Path
) -> None:
    assert store.put_events([event(None, 1, event_type="search")]).stored == 1
    assert store.user_states(["ann"]) == {}
    store.put_events([event("a", 2)])
    store.put_events([event(None, 3, event_type="search")])
    assert store.user_states(["ann"])["ann"].version == 1
    assert rows(tmp_path, "select event_type from events order by event_num") == [
        ("search",),
        ("click",),
        ("search",),
    ]


def test_every_member_of_an_event_is_stored(store: StateStore, tmp_path: Path) -> None:
    store.put_events(
        [Event("ann", "s-1", "a", "watch", 7, "e-1", 4.5, '{"a":"b"}', "RID-1", ("a", "ü"))]
    )
    columns = (
        "dataset_group, user_id, session_id, item_id, event_type, occurred_at_us, event_id, "
        "event_value, properties, recommendation_id, impression"
    )
    assert rows(tmp_path, f"select {columns} from events") == [
        ("films", "ann", "s-1", "a", "watch", 7, "e-1", 4.5, '{"a":"b"}', "RID-1", '["a","ü"]')
    ]


def test_dataset_groups_in_one_database_do_not_see_each_other(
    store: StateStore, tmp_path: Path
) -> None:
    books = StateStore(sqlite_url(tmp_path), "books")
    store.put_events([event("film", 1, event_id="e")])
    assert books.put_events([event("book", 1, event_id="e")]).stored == 1
    assert item_ids_of(books.user_states(["ann"])["ann"]) == ("book",)
    assert item_ids_of(store.user_states(["ann"])["ann"]) == ("film",)
    books.close()


@pytest.mark.parametrize("bad", [event("b", 2**63), event("\ud800", 2)])
def test_an_event_that_cannot_be_stored_takes_its_whole_call_with_it(
    store: StateStore, bad: Event
) -> None:
    with pytest.raises(StateError, match="none of its call was stored"):
        store.put_events([event("a", 1), bad])
    assert store.user_states(["ann"]) == {}
    assert store.put_events([event("a", 1)]) == PutResult(stored=1, duplicates=0)


def test_what_was_stored_is_there_after_the_database_is_opened_again(tmp_path: Path) -> None:
    for at in (1, 2):
        store = StateStore(sqlite_url(tmp_path), "films")
        store.put_events([event(str(at), at)])
        store.close()
    store = StateStore(sqlite_url(tmp_path), "films")
    assert store.user_states(["ann"])["ann"] == clicked(2, ("1", 1), ("2", 2))
    store.close()


def test_commits_wait_for_the_disk_and_readers_do_not_wait_for_writers(store: StateStore) -> None:
    with store._database._writer.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_a_reader_is_not_held_up_by_an_open_write(store: StateStore, tmp_path: Path) -> None:
    store.put_events([event("a", 1)])
    writer = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    assert item_ids_of(store.user_states(["ann"])["ann"]) == ("a",)
    writer.close()


def test_a_database_that_another_process_keeps_locked_is_unavailable(
    store: StateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store._database._writer.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=10")  # the pool gives it out again
    writer = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateUnavailableError, match=r"state\.db is locked.*Try again"):
        store.put_events([event("a", 1)])
    writer.execute("ROLLBACK")
    assert store.put_events([event("a", 1)]).stored == 1
    writer.close()


def test_a_full_disk_refuses_events_whole_and_takes_them_again_once_there_is_room(
    store: StateStore,
) -> None:
    def let_pages(number: int) -> None:
        with store._database._writer.connect() as connection:  # the pool gives it out again
            connection.exec_driver_sql(f"PRAGMA max_page_count={number}")

    store.put_events([event("a", 1)])
    let_pages(1)  # as many as there are
    events = [event(f"b-{at}", at, properties="x" * 1000) for at in range(100)]
    with pytest.raises(StateUnavailableError, match="cannot be used now.*full.*has space"):
        store.put_events(events)
    assert item_ids_of(store.user_states(["ann"])["ann"]) == ("a",)
    assert [len(block) for block in store.log.events(store.log.end())] == [1]
    let_pages(1_000_000)
    assert store.put_events(events) == PutResult(stored=100, duplicates=0)


def test_a_database_of_a_newer_raysys_is_refused_and_left_alone(tmp_path: Path) -> None:
    StateStore(sqlite_url(tmp_path), "films").close()
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("update schema_revision set version_num = '0999'")
    connection.commit()
    connection.close()
    with pytest.raises(StateError, match=f"revision 0999, this raysys .* up to {HEAD}.*Install"):
        StateStore(sqlite_url(tmp_path), "films")
    assert rows(tmp_path, "select version_num from schema_revision") == [("0999",)]


def test_a_database_with_a_strangers_tables_is_refused_and_left_alone(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "state.db")
    connection.execute("create table events (mine text)")
    connection.commit()
    connection.close()
    with pytest.raises(StateError, match="'events' that raysys did not make"):
        StateStore(sqlite_url(tmp_path), "films")
    assert rows(tmp_path, "select name from sqlite_master") == [("events",)]


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"a letter to my aunt " * 100)
    with pytest.raises(StateError, match="is not an SQLite file"):
        StateStore(sqlite_url(tmp_path), "films")
    assert (tmp_path / "state.db").read_bytes() == b"a letter to my aunt " * 100


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("sqlite:////nowhere/at/all/state.db", "there is no directory /nowhere/at/all"),
        ("sqlite://", "lies in memory"),
        ("sqlite:///:memory:", "lies in memory"),
        ("mysql://root:secret@host/db", "'mysql' is not known. Use sqlite"),
        ("a letter to my aunt", "must be given as a URL"),
    ],
)
def test_a_place_that_cannot_hold_the_state_is_refused(url: str, message: str) -> None:
    with pytest.raises(StateError, match=message) as caught:
        StateStore(url, "films")
    assert "secret" not in str(caught.value)


def test_a_directory_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(StateError, match="cannot be opened for writing"):
        StateStore(sqlite_url(tmp_path), "films")


def test_a_server_that_does_not_answer_is_unavailable_and_keeps_its_password() -> None:
    url = "postgresql://ann:secret@127.0.0.1:1/raysys"
    with pytest.raises(StateUnavailableError, match="cannot be used now") as caught:
        StateStore(url, "films")
    assert "secret" not in str(caught.value)
    assert "127.0.0.1:1/raysys" in str(caught.value)


def test_ping_answers_while_the_database_does(store: StateStore) -> None:
    store.ping()


def properties_of(store: StateStore, *user_ids: str) -> list[str | None]:
    states = store.user_states(user_ids)
    return [states[user_id].properties if user_id in states else None for user_id in user_ids]


def test_a_user_is_what_the_last_put_says_of_them(store: StateStore) -> None:
    store.put_users([User("ann", '{"a": 1}'), User("bob"), User("ann", '{"b": 2}')])
    assert properties_of(store, "ann", "bob", "eve") == ['{"b": 2}', "{}", None]
    store.put_users([User("bob", '{"c": 3}')])
    store.put_users([])
    assert properties_of(store, "ann", "bob", "eve") == ['{"b": 2}', '{"c": 3}', None]


def test_events_and_puts_of_a_user_leave_each_other_alone_and_share_a_version(
    store: StateStore,
) -> None:
    store.put_users([User("ann", "{}")])
    store.put_events([event("a", 10), event("b", 20, user_id="bob")])
    store.put_users([User("ann", '{"a": 1}'), User("bob", '{"b": 2}')])
    store.put_events([event("c", 30)])
    states = store.user_states(["ann", "bob"])
    assert states["ann"] == replace(clicked(4, ("a", 10), ("c", 30)), properties='{"a": 1}')
    assert states["bob"] == replace(clicked(2, ("b", 20)), properties='{"b": 2}')


def test_a_put_that_is_sent_again_changes_nothing(store: StateStore) -> None:
    for _ in range(2):
        store.put_users([User("ann", '{"a": 1}')])
        assert store.user_states(["ann"])["ann"].version == 1


def test_users_of_one_dataset_group_are_not_those_of_another(
    store: StateStore, tmp_path: Path
) -> None:
    books = StateStore(sqlite_url(tmp_path), "books")
    store.put_users([User("ann", '{"of": "films"}')])
    assert properties_of(books, "ann") == [None]
    books.put_users([User("ann", '{"of": "books"}')])
    assert properties_of(store, "ann") == ['{"of": "films"}']
    books.close()
