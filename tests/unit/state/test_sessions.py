"""What a visitor did before the login counts for the user from then on, once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from raysys.state.items import Item
from raysys.state.store import StateStore
from raysys.state.user_state import UserState
from raysys.state.users import User
from tests.unit.state.builders import clicked, event, item_ids_of, sqlite_url, visit


@pytest.fixture(params=["one replica", "another replica"])
def stores(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[list[StateStore]]:
    """Two names of the store that events go to in turn; of one or of two processes."""
    first = StateStore(sqlite_url(tmp_path), "films")
    second = first if request.param == "one replica" else StateStore(sqlite_url(tmp_path), "films")
    yield [first, second]
    first.close()
    second.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(sqlite_url(tmp_path), "films", 5)
    yield store
    store.close()


def items_of(store: StateStore, user_id: str) -> tuple[str, ...]:
    return item_ids_of(store.user_states([user_id]).get(user_id, UserState(0)))


def exported(store: StateStore) -> list[tuple[str, str | None]]:
    blocks = store.log.events(store.log.end())
    return [(one.event.user_id, one.event.item_id) for block in blocks for one in block]


def test_a_session_joins_its_user_by_time_once_and_for_good(stores: list[StateStore]) -> None:
    first, second = stores
    first.put_events([visit("a", 10), visit("c", 30)])
    second.put_events([event("b", 20), event("d", 40)])
    assert second.user_states(["ann"])["ann"] == clicked(
        1, ("a", 10), ("b", 20), ("c", 30), ("d", 40)
    )
    first.put_events([event("e", 50)])
    second.put_events([visit("late", 15)])  # a client that sends late, or has logged out
    assert items_of(first, "ann") == ("a", "late", "b", "c", "d", "e")
    assert items_of(first, "session") == ("a", "late", "c")  # for whoever asks with it
    users = [user_id for user_id, _ in exported(second)]
    assert users == ["ann"] * 6


def test_one_call_may_hold_the_visit_and_the_login(store: StateStore) -> None:
    store.put_events([visit("a", 1), event("b", 2), visit("c", 3)])
    assert store.user_states(["ann"])["ann"] == clicked(1, ("a", 1), ("b", 2), ("c", 3))


def test_a_replica_that_never_heard_of_the_session_knows_its_user(
    stores: list[StateStore],
) -> None:
    first, second = stores
    first.put_events([visit("a", 1), event("b", 2)])
    second.put_events([visit("c", 3)])
    assert items_of(first, "ann") == ("a", "b", "c")


def test_events_that_are_sent_again_join_nothing_twice(stores: list[StateStore]) -> None:
    for store in [*stores, *stores]:
        store.put_events([visit("a", 1), event("b", 2), visit("c", 3)])
    assert items_of(stores[0], "ann") == ("a", "b", "c")


def test_an_event_without_an_item_joins_as_well(store: StateStore) -> None:
    store.put_events([visit("a", 1)])
    store.put_events([event(None, 2, event_type="login")])
    assert items_of(store, "ann") == ("a",)


def test_several_sessions_join_one_user(store: StateStore) -> None:
    store.put_events([visit("a", 1, "s-1"), visit("b", 2, "s-2"), visit("x", 3, "s-3")])
    store.put_events([event("c", 4, session_id="s-1"), event("d", 5, session_id="s-2")])
    assert items_of(store, "ann") == ("a", "b", "c", "d")


def test_the_cap_of_a_state_holds_for_what_joins(store: StateStore) -> None:
    store.put_events([visit(f"v-{number}", number) for number in range(5)])
    store.put_events([event("x", 2), event("y", 9)])
    assert items_of(store, "ann") == ("v-2", "x", "v-3", "v-4", "y")


def test_a_session_of_two_users_stays_with_the_first_and_then_is_nobodys(
    stores: list[StateStore],
) -> None:
    first, second = stores
    first.put_events([visit("a", 1), event("b", 2)])
    second.put_events([event("x", 3, user_id="bob")])
    first.put_events([visit("c", 4)])
    second.put_events([event("d", 5), event("y", 6, user_id="bob")])
    assert items_of(first, "ann") == ("a", "b", "d")
    assert items_of(first, "bob") == ("x", "y")
    assert items_of(first, "session") == ("a", "c")
    assert [user_id for user_id, _ in exported(first)] == [
        *("ann", "ann", "bob"),
        "session",
        *("ann", "bob"),
    ]


@pytest.mark.parametrize("known_by", ["a put", "an interaction", "a login"])
def test_the_id_of_a_user_given_as_a_session_hands_nothing_over(
    stores: list[StateStore], known_by: str
) -> None:
    first, second = stores
    if known_by == "an interaction":
        first.put_events([event("hers", 1)])
    else:
        first.put_events([visit("hers", 1, "ann")])  # a client that has no other id for her
        if known_by == "a put":
            first.put_users([User("ann", "{}")])
        else:
            first.put_events([event(None, 2, event_type="login")])
    second.put_events([event("x", 2, user_id="thief", session_id="ann")])
    first.put_events([visit("later", 3, "ann")])
    assert items_of(first, "thief") == ("x",)
    assert items_of(first, "ann") == ("hers", "later")


def test_nobody_who_took_over_a_session_hands_it_on(store: StateStore) -> None:
    store.put_events([visit("a", 1), event(None, 2, event_type="login")])
    store.put_events([event("x", 3, user_id="thief", session_id="ann")])
    assert items_of(store, "thief") == ("x",)


def test_a_session_whose_id_becomes_a_users_counts_for_the_first_user_no_more(
    store: StateStore,
) -> None:
    store.put_events([visit("a", 1), event("b", 2)])
    store.put_users([User("session", "{}")])
    store.put_events([visit("c", 3)])
    assert items_of(store, "ann") == ("a", "b")


@pytest.mark.parametrize("is_put", [True, False], ids=["was put", "has events"])
def test_whoever_claims_a_user_as_a_session_early_gets_nothing_and_takes_nothing_along(
    stores: list[StateStore], is_put: bool
) -> None:
    first, second = stores
    first.put_events([event("x", 1, user_id="thief", session_id="ann")])
    if is_put:
        second.put_users([User("ann", "{}")])
    second.put_events([event("hers", 2)])
    first.put_events([visit("later", 3, "ann")])
    assert items_of(first, "thief") == ("x",)
    assert first.forget(["thief"]).session_ids == frozenset()
    assert items_of(second, "ann") == ("hers", "later")


def test_joining_counts_no_click_and_no_impression_again(store: StateStore) -> None:
    store.put_items([Item("a", None, 1)])
    store.put_events([visit("a", 1, impression=("a",))])
    before = store.changes(0).counts
    store.put_events([event("b", 2)])
    assert store.changes(0).counts == before


def test_clients_with_one_session_for_everybody_ask_for_its_row_twice(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    locked: list[set[str]] = []
    lock = store._states.lock
    monkeypatch.setattr(store._states, "lock", lambda c, ids: locked.append({*ids}) or lock(c, ids))
    for number in range(5):
        store.put_events([event("a", number, user_id=f"user-{number}")])
    assert ["session" in ids for ids in locked] == [True, True, False, False, False]
