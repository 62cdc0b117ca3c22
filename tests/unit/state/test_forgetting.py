"""Whoever is forgotten leaves nothing in the database, and nothing brings them back."""

import sqlite3
from pathlib import Path

import pytest

from raysys.state import forgetting
from raysys.state.forgetting import Forgetting, ForgottenRows
from raysys.state.items import Item, ItemCount
from raysys.state.store import PutResult, StateStore
from raysys.state.users import User
from tests.unit.state.builders import clicked, event, item_ids_of, slate, sqlite_url, visit

LONG_AGO = 1
LATER = 4_102_444_800_000_000  # 2100-01-01
ANN = "ann-of-green-gables"
ANNS_SESSION = "visit-of-anns"


def anns(item_id: str | None, at_us: int, event_id: str | None = None, **members: str):
    session = {"session_id": ANNS_SESSION, **members}
    return event(item_id, at_us, user_id=ANN, event_id=event_id, **session)


def bytes_of(directory: Path) -> bytes:
    return b"".join(path.read_bytes() for path in directory.glob("state.db*"))


def test_events_states_and_slates_go_and_those_of_others_and_the_counts_stay(
    store: StateStore, tmp_path: Path
) -> None:
    store.put_items([Item("a", None, 1)])
    store.put_events([anns("a", 1), anns(None, 2, event_type="search"), event("b", 3)])
    store.put_users([User(ANN, '{"age": 12}'), User("bob", "{}")])
    store.put_slates(
        [
            slate("RID-1", user_id=ANN, fresh_item_ids=("a",)),
            slate("RID-2", user_id=None, item_id="a", fresh_item_ids=()),
        ]
    )
    other = StateStore(sqlite_url(tmp_path), "books")
    other.put_events([anns("z", 1)])
    counted = store.changes(0).counts
    assert counted == [ItemCount("a", 1, 1)]
    assert store.forget([ANN, "nobody"]) == ForgottenRows(
        events=2, user_states=2, slates=1, session_ids=frozenset({ANNS_SESSION})
    )
    end = store.log.end()
    assert [one.event.user_id for block in store.log.events(end) for one in block] == ["ann"]
    assert [one.slate.user_id for block in store.log.slates(end) for one in block] == [None]
    assert store.user_states([ANN, "bob", "ann"]).keys() == {"bob", "ann"}
    assert store.changes(0).counts == counted
    assert other.user_states([ANN]) == {ANN: clicked(1, ("z", 1))}
    other.close()


def test_no_byte_of_the_id_is_left_in_the_files(store: StateStore, tmp_path: Path) -> None:
    for number in range(200):
        store.put_events([anns(f"i-{number}", number), event(f"i-{number}", number)])
    store.put_slates([slate("RID-1", user_id=ANN)])
    assert ANN.encode() in bytes_of(tmp_path)
    store.put_events([visit("before", 1, ANNS_SESSION)])
    session_ids = store.forget([ANN]).session_ids
    assert store.put_events([visit("before", 2, ANNS_SESSION)]).stored == 0
    store.forget_sessions(session_ids)
    left = bytes_of(tmp_path)
    assert ANN.encode() not in left
    assert ANNS_SESSION.encode() not in left
    assert b"session" in bytes_of(tmp_path)  # so the test looks where the rows are


def test_what_happened_before_is_not_stored_again_and_what_happens_later_is_of_a_new_user(
    store: StateStore,
) -> None:
    store.put_events([anns("a", LONG_AGO, "e-1")])
    store.forget([ANN])
    late = [anns("a", LONG_AGO, "e-1"), anns("b", LONG_AGO, "e-2"), event("c", LONG_AGO)]
    assert store.put_events(late) == PutResult(stored=1, duplicates=2)
    assert store.put_slates([slate("RID-1", user_id=ANN), slate("RID-2")]) == 1
    assert store.user_states([ANN]) == {}
    assert store.put_events([anns("d", LATER, "e-1")]).stored == 1
    assert store.put_slates([slate("RID-1", user_id=ANN, shown_at_us=LATER)]) == 1
    assert [one.item_id for one in store.user_states([ANN])[ANN].interactions] == ["d"]


def test_what_was_to_happen_later_does_not_come_back_either(store: StateStore) -> None:
    store.put_events([anns("a", LATER, "e-1")])
    store.forget([ANN])
    assert store.put_events([anns("a", LATER, "e-1"), anns("b", LATER - 1)]).stored == 0
    assert store.put_events([anns("b", LATER + 1)]).stored == 1


def test_a_late_event_of_a_forgotten_user_counts_nothing(store: StateStore) -> None:
    store.put_items([Item("a", None, 1)])
    store.forget([ANN])
    store.put_events([anns("a", LONG_AGO, impression=("a",))])
    store.put_slates([slate("RID-1", user_id=ANN, fresh_item_ids=("a",))])
    assert store.changes(0).counts == [ItemCount("a", 0, 0)]


def test_versions_go_on_so_that_no_cache_takes_a_new_user_for_the_old_one(
    store: StateStore,
) -> None:
    for at_us in (1, 2, 3):
        store.put_events([anns("a", at_us)])
    for _ in range(2):
        store.forget([ANN])  # the second time there is no state to learn the version from
    store.put_users([User(ANN, "{}")])
    assert store.user_states([ANN])[ANN].version == 4
    store.forget([ANN])
    store.put_events([anns("b", LATER)])
    assert store.user_states([ANN])[ANN].version == 5


def test_whoever_is_killed_in_between_runs_it_again_and_it_ends_the_same(
    store: StateStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forgetting, "_ROWS_CHANGED", 2)
    for number in range(7):
        store.put_events([anns(f"i-{number}", number), event(f"i-{number}", number)])
    steps = 0

    def dying(self: Forgetting, step: object) -> object:
        nonlocal steps
        steps += 1
        if steps == 4:
            raise KeyboardInterrupt
        return write(self, step)

    write = Forgetting._write
    monkeypatch.setattr(Forgetting, "_write", dying)
    with pytest.raises(KeyboardInterrupt):
        store.forget([ANN])
    assert store.user_states([ANN]) == {}  # from the first step on
    assert store.put_events([anns("i-1", 1)]) == PutResult(0, 1)
    monkeypatch.setattr(Forgetting, "_write", write)
    theirs = frozenset({ANNS_SESSION})  # known until nobody needs it any more
    assert store.forget([ANN]) == ForgottenRows(events=3, user_states=1, session_ids=theirs)
    store.forget_sessions(theirs)
    assert store.forget([ANN]) == ForgottenRows()
    connection = sqlite3.connect(tmp_path / "state.db")
    assert connection.execute("select distinct user_id from events").fetchall() == [("ann",)]
    connection.close()


def test_a_session_is_forgotten_with_its_user_and_others_with_nobody(store: StateStore) -> None:
    store.put_events([visit("a", 1, "s-1"), visit("b", 2, "s-2"), anns("c", 3, session_id="s-1")])
    store.put_slates([slate("RID-1", user_id="s-1"), slate("RID-2", user_id="s-2")])
    forgotten = store.forget([ANN])
    assert forgotten.session_ids == {"s-1"}
    assert (forgotten.events, forgotten.slates) == (2, 1)
    store.forget_sessions(forgotten.session_ids)
    assert store.user_states([ANN, "s-1", "s-2"]).keys() == {"s-2"}


def test_a_forgotten_user_who_comes_back_in_the_same_session_gets_it_again(
    store: StateStore,
) -> None:
    store.put_events([anns("a", 1)])
    store.forget_sessions(store.forget([ANN]).session_ids)
    store.put_events([visit("b", LATER, ANNS_SESSION), anns("c", LATER + 1)])
    assert item_ids_of(store.user_states([ANN])[ANN]) == ("b", "c")
