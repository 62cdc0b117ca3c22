"""The same store on a real PostgreSQL."""

import asyncio
import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from benchmarks.private_postgresql import private_postgresql
from raysys.errors import StateError
from raysys.state.events import Event
from raysys.state.group_commit import GroupCommitter
from raysys.state.items import Changes, Item, ItemCount, ItemHiding, StoredItem
from raysys.state.keys import StoredKey
from raysys.state.migrations import HEAD
from raysys.state.slate_recorder import SlateRecorder
from raysys.state.slates import Slate
from raysys.state.store import PutResult, StateStore
from raysys.state.tables import events, user_states
from raysys.state.users import User
from tests.unit.state.builders import clicked, item_ids_of, times_of
from tests.unit.state.learning_laws import LAWS, Law
from tests.unit.state.schema import differences


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with private_postgresql() as server:
        yield server


@pytest.fixture
def url(server: Any, request: pytest.FixtureRequest) -> str:
    name = f"db_{abs(hash(request.node.name))}"
    server.psql(f"create database {name};")
    return str(server.get_uri(database=name))


@pytest.fixture
def store(url: str) -> Iterator[StateStore]:
    store = StateStore(url, "films", max_interactions_per_user=3)
    yield store
    store.close()


WAITS_FOR_A_LOCK = text(
    "select count(*) from pg_stat_activity"
    " where datname = current_database() and wait_event_type = 'Lock'"
)

# As schema version 1 was made.
VERSION_1 = """
CREATE TABLE schema_version (version SERIAL NOT NULL, PRIMARY KEY (version));
CREATE TABLE events (
    event_num BIGSERIAL NOT NULL, dataset_group VARCHAR NOT NULL, identity VARCHAR NOT NULL,
    user_id VARCHAR NOT NULL, session_id VARCHAR NOT NULL, item_id VARCHAR,
    event_type VARCHAR NOT NULL, occurred_at_us BIGINT NOT NULL, received_at_us BIGINT NOT NULL,
    event_id VARCHAR, event_value DOUBLE PRECISION, properties VARCHAR,
    recommendation_id VARCHAR, impression VARCHAR, PRIMARY KEY (event_num),
    CONSTRAINT events_are_stored_once UNIQUE (dataset_group, identity)
);
CREATE TABLE user_states (
    dataset_group VARCHAR NOT NULL, user_id VARCHAR NOT NULL, version BIGINT NOT NULL,
    packed BYTEA NOT NULL, PRIMARY KEY (dataset_group, user_id)
);
INSERT INTO schema_version VALUES (1);
INSERT INTO user_states VALUES ('films', 'ann', 1, decode('9291a1619101', 'hex'));
INSERT INTO events
    (dataset_group, identity, user_id, session_id, item_id, event_type, occurred_at_us,
     received_at_us, event_id, recommendation_id, impression)
VALUES
    ('films', 'id:e-1', 'ann', 's', 'a', 'click', 1, 2, 'e-1', 'RID-0', '["a"]'),
    ('films', 'id:e-2', 'ann', 's', NULL, 'search', 3, 4, 'e-2', NULL, NULL);
"""


def event(item_id: str, at_us: int, user_id: str = "ann", event_id: str | None = None) -> Event:
    return Event(user_id, "s", item_id, "click", at_us, event_id)


def slate(recommendation_id: str, fresh_item_ids: tuple[str, ...] = ("b",)) -> Slate:
    return Slate(
        recommendation_id=recommendation_id,
        user_id="ann",
        item_id=None,
        shown_at_us=1_700_000_000_000_000,
        release="r-1",
        delta_version=2,
        source="model",
        policy="slot-mixture",
        exploration_weight=0.25,
        seed=2**63 - 1,
        item_ids=("a", "b"),
        propensities=(0.1, 0.2 + 0.1),
        explored=(1,),
        fresh_item_ids=fresh_item_ids,
        is_degraded=False,
    )


def test_events_become_states_in_order_of_time_and_the_newest_stay(store: StateStore) -> None:
    assert store.put_events([event("c", 30), event("a", 10)]) == PutResult(2, 0)
    assert store.put_events([event("b", 20), event("d", 40), event("x", 1, "bob")]).stored == 3
    assert store.user_states(["ann", "bob", "nobody"]) == {
        "ann": clicked(2, ("b", 20), ("c", 30), ("d", 40)),
        "bob": clicked(1, ("x", 1)),
    }
    store.ping()


def test_every_member_of_an_event_is_stored(store: StateStore) -> None:
    store.put_events(
        [Event("ann", "s-1", "a", "watch", 7, "e-1", 4.5, '{"a":"b"}', "RID-1", ("a", "ü"))]
    )
    query = text(
        "select dataset_group, user_id, session_id, item_id, event_type, occurred_at_us, event_id,"
        " event_value, properties, recommendation_id, impression from events"
    )
    rows = store._database.read(lambda connection: connection.execute(query).all())
    assert rows == [
        ("films", "ann", "s-1", "a", "watch", 7, "e-1", 4.5, '{"a":"b"}', "RID-1", '["a","ü"]')
    ]


def test_an_event_is_stored_once(store: StateStore) -> None:
    first = [event("a", 1, event_id="e"), event("b", 2, event_id="e"), event("c", 3)]
    assert store.put_events(first) == PutResult(stored=2, duplicates=1)
    assert store.put_events(first) == PutResult(stored=0, duplicates=3)
    assert store.user_states(["ann"])["ann"] == clicked(1, ("a", 1), ("c", 3))


def test_what_the_server_refuses_is_told_and_leaves_nothing(store: StateStore) -> None:
    for bad in (event("a\0b", 2), event("b", 2**63)):
        with pytest.raises(StateError):
            store.put_events([event("a", 1), bad])
    assert store.user_states(["ann"]) == {}
    assert store.put_events([event("a", 1)]).stored == 1


def test_one_bad_request_of_a_group_fails_alone(store: StateStore) -> None:
    async def scenario() -> None:
        committer = GroupCommitter(store)
        outcomes = await asyncio.gather(
            committer.submit([event("a", 1)]),
            committer.submit([event("a\0b", 2)]),
            committer.submit([event("c", 3)]),
            return_exceptions=True,
        )
        assert [type(outcome) for outcome in outcomes] == [type(None), StateError, type(None)]
        await committer.close()

    asyncio.run(scenario())
    assert item_ids_of(store.user_states(["ann"])["ann"]) == ("a", "c")


def test_a_slate_that_the_server_refuses_is_lost_alone(store: StateStore) -> None:
    recorder = SlateRecorder(store)
    bad = dataclasses.replace(slate("RID-bad"), user_id="a\0b")
    recorder.record([slate("RID-1"), slate("RID-2"), bad, slate("RID-3")])
    recorder.close()
    assert (recorder.recorded, recorder.dropped) == (3, 1)
    assert store.changes(0).counts == [ItemCount("b", 3, 0)]


def test_old_slates_are_removed_by_two_at_once_and_no_young_one_is(store: StateStore) -> None:
    old = [dataclasses.replace(slate(f"RID-{n}"), shown_at_us=n) for n in range(300)]
    store.put_slates([*old, slate("RID-young")])
    with ThreadPoolExecutor(2) as threads:
        removed = list(threads.map(lambda _: store.prune_slates(300, at_most=100), range(6)))
    assert sum(removed) == 300
    ((left,),) = store.log.slates(store.log.end())
    assert left.slate.recommendation_id == "RID-young"


def test_stores_that_open_and_write_at_once_lose_nothing_and_repeat_nothing(url: str) -> None:
    """Eight stores, the same few users in another order each: conflicts of every kind."""
    users = [f"user-{number}" for number in range(5)]

    def write(writer: int) -> int:
        store = StateStore(url, "films")  # all create the tables at once, too
        shared = 0
        for number in range(20):
            ordered = users if writer % 2 else users[::-1]
            own = [event(f"{writer}-{number}", number, user) for user in ordered]
            both = [event(f"both-{number}", number, user, f"{user}-{number}") for user in ordered]
            shared += store.put_events(own + both if writer % 3 else both + own).stored - len(own)
        store.close()
        return shared

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(write, range(8))) == 20 * len(users)
    store = StateStore(url, "films")
    names = [*map(str, range(8)), "both"]
    expected = sorted(f"{name}-{number}" for name in names for number in range(20))
    for user, state in store.user_states(users).items():
        assert sorted(item_ids_of(state)) == expected, user
        assert state.version == 8 * 20
        assert times_of(state) == sorted(times_of(state))
    store.close()


def test_the_first_events_of_a_user_in_two_processes_are_both_kept(store: StateStore) -> None:
    """There is no row to lock yet, so both believe that they make it."""
    first = clicked(1, ("first", 1))
    row = {"dataset_group": "films", "user_id": "ann", "version": 1, "packed": first.pack()}
    with ThreadPoolExecutor(1) as thread, store._database._writer.connect() as other:
        other.execute(user_states.insert(), row)
        second = thread.submit(store.put_events, [event("second", 2)])
        while not store._database.read(lambda link: link.execute(WAITS_FOR_A_LOCK).scalar_one()):
            assert not second.done()
        other.commit()
        assert second.result(20) == PutResult(1, 0)
    assert store.user_states(["ann"])["ann"] == clicked(2, ("first", 1), ("second", 2))


def test_events_and_puts_of_a_user_from_many_threads_are_all_kept(store: StateStore) -> None:
    users = ["bob", "ann", "\u00e4nn", "Ann"]  # in no order that a collation would have

    def work(number: int) -> None:
        store.put_users([User(user, f'{{"n": {number}}}') for user in users])
        store.put_events([event(f"i-{number}", number, user) for user in reversed(users)])

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(12)))
    states = store.user_states(users)
    assert len(states) == 4
    for state in states.values():
        assert state.version == 24
        assert state.properties in {f'{{"n": {number}}}' for number in range(12)}
    assert len({state.properties for state in states.values()}) == 1  # one put was the last
    store.put_users([User("ann", "{}"), User("new")])
    assert store.user_states(["new"])["new"].properties == "{}"
    assert store.user_states(["ann"])["ann"].interactions == states["ann"].interactions


def test_a_new_database_has_the_tables_that_the_code_expects(url: str) -> None:
    StateStore(url, "films").close()
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


def test_a_newer_schema_is_refused(url: str, server: Any) -> None:
    StateStore(url, "films").close()
    store = StateStore(url, "films")
    store._database.write(
        lambda connection: connection.execute(
            text("update schema_revision set version_num = '0999'")
        )
    )
    store.close()
    with pytest.raises(StateError, match=f"revision 0999, this raysys knows those up to {HEAD}"):
        StateStore(url, "films")


def test_a_database_of_version_1_keeps_every_row_and_works_on(url: str, server: Any) -> None:
    connect = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    every_row = text("select * from events order by event_num")
    with connect.begin() as connection:
        for statement in VERSION_1.split(";"):
            if statement.strip():
                connection.exec_driver_sql(statement)
        before = connection.execute(every_row).all()
    assert len(before) == 2
    with ThreadPoolExecutor(4) as threads:  # all of them migrate at once
        stores = list(threads.map(lambda _: StateStore(url, "films"), range(4)))
    with connect.connect() as connection:
        migrated = [(*row, row.item_id is not None) for row in before]  # which ones are clicks
        assert connection.execute(every_row).all() == migrated
        assert differences(connection) == []
    assert stores[0].user_states(["ann"]) == {"ann": clicked(2, ("a", 1))}
    assert stores[1].put_events([event("x", 1, event_id="e-1")]) == PutResult(0, 1)
    assert stores[2].put_slates([slate("RID-1")]) == 1
    stores[2].put_users([User("ann", '{"a": 1}')])
    assert stores[0].user_states(["ann"])["ann"].properties == '{"a": 1}'
    assert stores[3].changes(0) == Changes(1, [], [ItemCount("b", 1, 0)])
    for store in stores:
        store.close()
    connect.dispose()


def test_keys_are_kept_revoked_and_sealed_anew(store: StateStore) -> None:
    key = StoredKey("RSAK1", "signature", b"\0sealed\xff", ("read", "write"), 5, "films", "ü", 9)
    other = StoredKey("RSBT2", "bearer", b"hash", ("admin",), 4)
    assert store.keys.version() == 0
    for each in (key, other, key):
        store.keys.add(each)
    assert store.keys.all() == [other, key]
    store.keys.revoke("RSAK1", 7)
    version = store.keys.version()
    store.keys.revoke("RSAK1", 8)
    assert store.keys.version() == version
    store.keys.seal_again([("RSAK1", b"new"), ("RSBT2", b"newer")])
    assert store.keys.version() > version
    assert store.keys.all() == [
        replace(other, proof=b"newer"),
        replace(key, proof=b"new", revoked_at_us=7),
    ]


def test_items_and_counts_become_changes(store: StateStore) -> None:
    assert store.changes(0) == Changes(0, [], [])
    assert store.put_items([Item("b", '{"t":"ü"}', 20), Item("a", None, 10)]) == 1
    seen = Event("ann", "s", "a", "click", 1, impression=("a", "b", "b", "released"))
    store.put_events([seen, seen, event("released", 2)])
    assert store.put_slates([slate("RID-1"), slate("RID-1"), slate("RID-2", ("b", "c"))]) == 2
    assert store.put_slates([slate("RID-2")]) == 0
    assert store.put_items([Item("a", "{}"), Item("b", None, 21)]) == 4
    counts = [ItemCount("a", 1, 1), ItemCount("b", 3, 0), ItemCount("c", 1, 0)]
    assert store.changes(0) == Changes(
        4, [StoredItem("a", "{}", 10), StoredItem("b", None, 21)], counts
    )
    assert store.changes(2) == Changes(
        4, [StoredItem("a", "{}", 10), StoredItem("b", None, 21)], counts[1:]
    )
    assert store.changes(4) == Changes(4, [], [])
    assert store.hide_items(["b", "x"]) == 5
    assert store.hide_items(["b"], is_hidden=False) == 6
    hidings = [ItemHiding("x", True), ItemHiding("b", False)]
    assert store.changed_items(4) == Changes(6, [], [], hidings)
    assert store.hidden_items() == ["x"]


def test_what_a_client_tells_of_a_list_counts_whichever_of_the_two_is_stored_first(
    url: str,
) -> None:
    """One thread stores lists, another what was seen and clicked of each at the same moment."""
    first, second = StateStore(url, "films"), StateStore(url, "films")
    first.put_items([Item("b", "{}", 1), Item("c", "{}", 1)])
    with ThreadPoolExecutor(2) as threads:
        for number in range(50):
            name = f"RID-{number}"
            fresh = ("b",) if number % 2 else ()  # "b" was never seen, "c" was
            both = threads.submit(first.put_slates, [slate(name, fresh)])
            second.put_events(
                [
                    replace(event("c", number), recommendation_id=name, impression=("c", "old")),
                    replace(event("b", number, "eve"), recommendation_id="forged"),
                ]
            )
            both.result(20)
    assert first.changes(0).counts == [ItemCount("b", 0, 0), ItemCount("c", 50, 50)]
    first.close()
    second.close()


def test_a_poller_misses_nothing_that_writers_at_once_change(url: str) -> None:
    """Eight writers and one poller that adds up what it hears of: it ends with every change."""
    items = [f"item-{number}" for number in range(5)]
    is_over = threading.Event()

    def write(writer: int) -> None:
        store = StateStore(url, "films")
        for number in range(10):
            name = f"{writer}-{number}"
            ordered = items if writer % 2 else items[::-1]
            store.put_items([Item(name, "{}", 1)])
            store.put_events([event(item, number, f"user-{writer}") for item in (*ordered, name)])
            store.put_slates([slate(f"RID-{name}", (name, *ordered))])
        store.close()

    def poll() -> tuple[dict[str, StoredItem], dict[str, ItemCount]]:
        store = StateStore(url, "films")
        stored: dict[str, StoredItem] = {}
        counts: dict[str, ItemCount] = {}
        version, is_last = 0, False
        while not is_last:
            is_last = is_over.is_set()  # what came before it is in the next answer
            changes = store.changes(version)
            assert changes.version >= version
            version = changes.version
            stored |= {item.item_id: item for item in changes.items}
            counts |= {count.item_id: count for count in changes.counts}
        assert store.changes(version) == Changes(version, [], [])
        everything = store.changes(0)
        assert stored == {item.item_id: item for item in everything.items}
        assert counts == {count.item_id: count for count in everything.counts}
        store.close()
        return stored, counts

    first = StateStore(url, "films")
    first.put_items([Item(item, "{}", 1) for item in items])
    first.close()
    with ThreadPoolExecutor(9) as threads:
        poller = threads.submit(poll)
        list(threads.map(write, range(8)))
        is_over.set()
        stored, counts = poller.result(60)
    assert len(stored) == 5 + 80
    assert {counts[item] for item in items} == {ItemCount(item, 80, 80) for item in items}
    assert {count for name, count in counts.items() if name not in items} == {
        ItemCount(f"{writer}-{number}", 1, 1) for writer in range(8) for number in range(10)
    }


def test_the_log_is_read_back_as_it_was_stored(store: StateStore) -> None:
    whole = Event("ann", "s", "a", "watch", 7, "e", 4.5, '{"a":"b"}', "RID-1", ("a", "ü"))
    store.put_events([whole, event("b", 8)])
    shown = [slate("RID-1"), slate("RID-2")]
    store.put_slates(shown)
    end = store.log.end()
    store.put_events([event("c", 9)])
    blocks = list(store.log.events(end, block_size=1))
    assert [stored.event for (stored,) in blocks] == [whole, event("b", 8)]
    read = [stored for block in store.log.slates(end, block_size=1) for stored in block]
    assert [stored.slate for stored in read] == shown
    assert [stored.clicked_item_ids for stored in read] == [{"a"}, set()]


def test_users_that_were_put_are_read_once_each_whatever_the_collation(store: StateStore) -> None:
    users = [
        User(name, f'{{"n": "{name}"}}') for name in ("bob", "Bob", "\u00e4nn", "_b", "a-b", "ab")
    ]
    store.put_users(users)
    store.put_events([event("a", 1, "who only watched")])
    blocks = list(store.log.users(block_size=2))
    assert [len(block) for block in blocks] == [2, 2, 2]
    assert {user for block in blocks for user in block} == {*users}


def test_no_event_appears_before_the_end_of_a_log_that_was_read(store: StateStore) -> None:
    """One writer has its number and is not committed; the next one is: that is no end yet."""
    row = {
        "dataset_group": "films",
        "identity": "id:slow",
        "user_id": "bob",
        "session_id": "s",
        "event_type": "click",
        "occurred_at_us": 1,
        "received_at_us": 1,
        "is_click": True,
    }
    with ThreadPoolExecutor(1) as thread, store._database._writer.connect() as slow:
        slow.execute(events.insert(), row)
        store.put_events([event("quick", 2)])
        end = thread.submit(store.log.end)
        while not store._database.read(lambda link: link.execute(WAITS_FOR_A_LOCK).scalar_one()):
            assert not end.done()
        slow.commit()
        blocks = list(store.log.events(end.result(20)))
    assert [stored.event.user_id for block in blocks for stored in block] == ["bob", "ann"]


def test_a_connection_that_the_server_closed_is_replaced(store: StateStore) -> None:
    store.put_events([event("a", 1)])
    store.user_states(["ann"])
    end_all = text(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    other = StateStore(str(store._database._writer.url), "films")
    other._database.read(lambda connection: connection.execute(end_all).all())
    other.close()
    assert item_ids_of(store.user_states(["ann"])["ann"]) == ("a",)
    assert store.put_events([event("b", 2)]) == PutResult(1, 0)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_of_learning(law: Law, store: StateStore) -> None:
    law(store)


def test_of_many_who_want_the_lease_at_once_one_gets_it(store: StateStore) -> None:
    table = store.learning("shop")
    with ThreadPoolExecutor(8) as pool:
        got = [*pool.map(lambda owner: table.acquire(owner, 3_600), map(str, range(16)))]
    assert [lease.number for lease in got if lease is not None] == [1]


def test_users_are_forgotten_while_events_of_theirs_arrive(url: str, store: StateStore) -> None:
    users = [f"user-{number}" for number in range(4)]
    is_over = threading.Event()

    def send(first: int) -> None:
        other = StateStore(url, "films")
        number = first
        while not is_over.is_set():
            other.put_events([event(f"i-{number}", 1, user) for user in users])
            other.put_slates([dataclasses.replace(slate(f"RID-{number}"), user_id=users[0])])
            number += 2
        other.close()

    store.put_events([event("i", 1, "kept")])
    with ThreadPoolExecutor(2) as threads:
        sending = [threads.submit(send, first) for first in range(2)]
        try:
            while not store.user_states(users):
                pass
            forgotten = store.forget(users)
        finally:
            is_over.set()
        for each in sending:
            each.result()
    assert forgotten.user_states == 4
    assert forgotten.events >= 4
    end = store.log.end()
    left = [one.event.user_id for block in store.log.events(end) for one in block]
    assert left == ["kept"]
    assert list(store.log.slates(end)) == []
    assert store.user_states([*users, "kept"]).keys() == {"kept"}
    assert store.put_events([event("new", 2**52, users[0])]).stored == 1
    assert store.user_states(users)[users[0]].version > 1


def test_visits_and_logins_on_two_replicas_join_once(url: str, store: StateStore) -> None:
    sessions = [f"s-{number}" for number in range(20)]

    def live(replica: int) -> None:
        other = StateStore(url, "films")
        for number, session in enumerate(sessions):
            visit = Event(session, session, f"v-{replica}-{number}", "click", number)
            login = Event(f"user-{number}", session, f"l-{replica}-{number}", "click", 99)
            other.put_events([visit])
            other.put_events([login])
            other.put_events([dataclasses.replace(visit, occurred_at_us=50)])
        other.close()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(live, range(2)))
    states = store.user_states([f"user-{number}" for number in range(20)])
    for number in range(20):
        found = sorted(item_ids_of(states[f"user-{number}"]))
        assert found == sorted(
            [f"{kind}-{replica}-{number}" for replica in range(2) for kind in "vvl"]
        )
    owners = {
        (one.event.session_id, one.event.user_id)
        for block in store.log.events(store.log.end())
        for one in block
    }
    assert owners == {(f"s-{number}", f"user-{number}") for number in range(20)}
    assert store.forget(["user-3"]).session_ids == {"s-3"}


def test_old_events_that_a_dataset_has_are_removed_by_two_at_once(
    url: str, store: StateStore
) -> None:
    store.put_events([event(f"i-{number}", number) for number in range(100)])
    newest = store.log.end().event_num
    assert store.prune_events(2**60, at_most=100) == 0
    store.take_over(newest)
    store.take_over(newest - 1)  # the one that did so last
    other = StateStore(url, "films")
    with ThreadPoolExecutor(2) as threads:
        removed = sum(
            threads.map(lambda each: each.prune_events(2**60, at_most=100), [store, other])
        )
    other.close()
    removed += store.prune_events(2**60, at_most=100)  # what the one skipped, the other had
    assert removed == 98
    left = [one.event.item_id for block in store.log.events(store.log.end()) for one in block]
    assert left == ["i-98", "i-99"]
