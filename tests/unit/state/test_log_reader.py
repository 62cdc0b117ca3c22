"""What was stored is read back whole and in order, up to one moment."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.dialects import sqlite

from raysys.errors import StateError
from raysys.state.events import Event
from raysys.state.log_reader import LogEnd, StoredEvent
from raysys.state.store import StateStore
from raysys.state.user_state import Interaction
from raysys.state.users import User
from tests.unit.state.builders import event, slate, sqlite_url


def test_an_empty_log_ends_at_its_beginning(store: StateStore) -> None:
    assert store.log.end() == LogEnd(0, 0)
    assert list(store.log.events(LogEnd(0, 0))) == []
    assert list(store.log.slates(LogEnd(0, 0))) == []
    assert store.log.dataset_groups() == []


def test_an_event_comes_back_as_it_was(store: StateStore) -> None:
    whole = Event("ann", "s", "a", "watch", 7, "e", 4.5, '{"a":"b"}', "RID-1", ("a", "ü"))
    bare = event(None, 8, event_type="search")
    store.put_events([whole, bare])
    assert list(store.log.events(store.log.end())) == [
        [StoredEvent(1, whole), StoredEvent(2, bare)]
    ]


def test_a_slate_comes_back_as_it_was_to_the_last_bit(store: StateStore) -> None:
    whole = slate("RID-1", propensities=(0.1 + 0.2, 5e-324), item_ids=("ü", '"'))
    bare = slate(
        "RID-2",
        user_id=None,
        item_id="matrix",
        item_ids=(),
        propensities=(),
        explored=(),
        fresh_item_ids=(),
        is_degraded=True,
        also_relevant=(1,),
        nothing_relevant=(0,),
        num_fresh=2,
    )
    store.put_slates([whole, bare])
    ((first, second),) = store.log.slates(store.log.end())
    assert (first.slate, second.slate) == (whole, bare)
    assert second.slate.is_degraded is True
    assert (first.slate_num, second.slate_num) == (1, 2)


@pytest.mark.parametrize("block_size", [1, 2, 3, 100])
def test_blocks_hold_everything_once_whatever_their_size(
    store: StateStore, tmp_path: Path, block_size: int
) -> None:
    books = StateStore(sqlite_url(tmp_path), "books")
    for at in range(1, 6):
        store.put_events([event(str(at), at)])
        store.put_slates([slate(f"RID-{at}")])
        books.put_events([event("book", at)])
        books.put_slates([slate(f"RID-{at}", item_ids=("book",))])
    end = store.log.end()
    assert end == LogEnd(9, 9)  # the groups take turns
    blocks = list(store.log.events(end, block_size=block_size))
    assert all(0 < len(block) <= block_size for block in blocks)
    read = [(stored.event_num, stored.event.item_id) for block in blocks for stored in block]
    assert read == [(1, "1"), (3, "2"), (5, "3"), (7, "4"), (9, "5")]
    later = list(store.log.events(end, after=5, block_size=block_size))
    assert [stored.event_num for block in later for stored in block] == [7, 9]
    shown = [stored for block in store.log.slates(end, block_size=block_size) for stored in block]
    assert [stored.slate.recommendation_id for stored in shown] == [f"RID-{n}" for n in range(1, 6)]
    assert store.log.dataset_groups() == ["books", "films"]
    books.close()


def test_what_comes_after_the_end_is_not_read(store: StateStore) -> None:
    store.put_events([event("a", 1)])
    store.put_slates([slate("RID-1")])
    end = store.log.end()
    store.put_events([event("b", 2, recommendation_id="RID-1")])
    store.put_slates([slate("RID-2")])
    ((stored,),) = store.log.events(end)
    assert stored.event.item_id == "a"
    ((shown,),) = store.log.slates(end)
    assert shown.slate.recommendation_id == "RID-1"
    assert shown.clicked_item_ids == frozenset()


def test_clicked_is_what_an_event_names_together_with_the_slate(
    store: StateStore, tmp_path: Path
) -> None:
    books = StateStore(sqlite_url(tmp_path), "books")
    store.put_slates([slate("RID-1"), slate("RID-2"), slate("RID-3")])
    store.put_events(
        [
            event("a", 1, recommendation_id="RID-1"),
            event("a", 2, recommendation_id="RID-1"),
            event("elsewhere", 3, recommendation_id="RID-1"),
            event("b", 4, recommendation_id="RID-2", user_id="bob"),
            event("a", 5),
            event(None, 6, recommendation_id="RID-3"),
            event("b", 7, recommendation_id="RID-9"),
        ]
    )
    books.put_events([event("b", 8, recommendation_id="RID-3")])
    (shown,) = store.log.slates(store.log.end())
    assert [stored.clicked_item_ids for stored in shown] == [{"a"}, {"b"}, set()]
    books.close()


def test_a_refusal_of_what_a_slate_showed_is_no_click_on_it(tmp_path: Path) -> None:
    def weigh(interactions: Sequence[Interaction]) -> list[float]:
        return [-1.0 if each.event_type == "dislike" else 1.0 for each in interactions]

    store = StateStore(sqlite_url(tmp_path), "films", weigh=weigh)
    store.put_slates([slate("RID-1"), slate("RID-2")])
    store.put_events(
        [
            event("a", 1, recommendation_id="RID-1", event_type="dislike"),
            event("b", 2, recommendation_id="RID-1"),
            event("a", 3, recommendation_id="RID-2"),
            event("a", 4, recommendation_id="RID-2", event_type="dislike"),
        ]
    )
    (shown,) = store.log.slates(store.log.end())
    assert [stored.clicked_item_ids for stored in shown] == [{"b"}, {"a"}]
    store.close()


def test_a_database_that_must_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"state\.db does not exist"):
        StateStore(sqlite_url(tmp_path), "films", must_exist=True)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "state.db").touch()
    with pytest.raises(StateError, match="has no tables of raysys"):
        StateStore(sqlite_url(tmp_path), "films", must_exist=True)
    StateStore(sqlite_url(tmp_path), "films").close()
    StateStore(sqlite_url(tmp_path), "films", must_exist=True).close()


@pytest.mark.parametrize("block_size", [1, 2, 100])
def test_users_that_were_put_come_back_once_each_as_they_were_put_last(
    store: StateStore, tmp_path: Path, block_size: int
) -> None:
    store.put_users([User("zoe", '{"a":1}'), User("\U0001f600"), User("Ann"), User("ann", "{}")])
    store.put_users([User("zoe", '{"a":2}')])
    store.put_events([event("a", 8, user_id="only events")])
    other = StateStore(sqlite_url(tmp_path), "books")
    other.put_users([User("of another group")])
    other.close()
    blocks = list(store.log.users(block_size=block_size))
    assert all(0 < len(block) <= block_size for block in blocks)
    users = {user.user_id: user.properties for block in blocks for user in block}
    assert users == {"zoe": '{"a":2}', "\U0001f600": "{}", "Ann": "{}", "ann": "{}"}
    assert sum(map(len, blocks)) == 4


def test_old_slates_are_removed_a_few_at_a_time_and_nobody_elses(
    store: StateStore, tmp_path: Path
) -> None:
    books = StateStore(sqlite_url(tmp_path), "books")
    books.put_slates([slate("RID-book", shown_at_us=1)])
    store.put_slates([slate(f"RID-{at}", shown_at_us=at) for at in range(1, 7)])
    store.put_events([event("a", 1, recommendation_id="RID-1")])
    counts = store.changes(0)
    left = []
    for _ in range(3):
        removed = store.prune_slates(5, at_most=3)
        read = [
            each.slate.shown_at_us for block in store.log.slates(store.log.end()) for each in block
        ]
        left.append((removed, read))
    assert left == [(3, [4, 5, 6]), (1, [5, 6]), (0, [5, 6])]
    assert len([*books.log.slates(books.log.end())]) == 1
    assert store.changes(0) == counts
    assert [len(block) for block in store.log.events(store.log.end())] == [1]
    books.close()


def test_looking_for_old_slates_reads_only_the_oldest(store: StateStore) -> None:
    store.put_slates([slate("RID-1", shown_at_us=9), slate("RID-2", shown_at_us=1)])
    assert store.prune_slates(5, at_most=1) == 0
    statement = store._statements.delete_slates.compile(dialect=sqlite.dialect())
    values = {"dataset_group": "films", "num_rows": 9, "shown_before_us": 5}
    bound = statement.construct_params(values)
    query = text(
        f"explain query plan {statement}".replace("?", "{}").format(
            *(f":{name}" for name in statement.positiontup)
        )
    )
    plan = str(store._database.read(lambda connection: connection.execute(query, bound).all()))
    assert "TEMP B-TREE" not in plan
