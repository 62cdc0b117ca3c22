"""Old events go once a dataset has them, a few at a time."""

import asyncio
import time
from pathlib import Path

import pytest

from raysys.logs.call import run_here
from raysys.logs.event_intake import import_events
from raysys.state import group_commit
from raysys.state.group_commit import GroupCommitter
from raysys.state.store import PutResult, StateStore
from tests.unit.state.builders import event, item_ids_of, sqlite_url

LATER_US = 2**60


def items_in(store: StateStore) -> list[str | None]:
    return [one.event.item_id for block in store.log.events(store.log.end()) for one in block]


def test_nothing_goes_that_no_dataset_has(store: StateStore) -> None:
    store.put_events([event(item, at) for at, item in enumerate("abcd")])
    assert store.prune_events(LATER_US, at_most=10) == 0
    store.take_over(3)
    assert store.prune_events(LATER_US, at_most=10) == 2
    # By the last one that it has, the dataset finds out whether this is still the same database.
    assert items_in(store) == ["c", "d"]
    assert item_ids_of(store.user_states(["ann"])["ann"]) == ("a", "b", "c", "d")


def test_what_is_young_stays_and_so_does_what_is_of_others(
    store: StateStore, tmp_path: Path
) -> None:
    other = StateStore(sqlite_url(tmp_path), "books")
    other.put_events([event("x", 1), event("y", 2)])
    store.put_events([event("a", 1), event("b", 2)])
    between_us = time.time_ns() // 1000 + 1
    while time.time_ns() // 1000 <= between_us:
        pass
    store.put_events([event("c", 1), event("d", 2)])
    for each in (store, other):
        each.take_over(100)
        assert each.prune_events(0, at_most=10) == 0
    assert store.prune_events(between_us, at_most=10) == 2
    assert (items_in(store), items_in(other)) == (["c", "d"], ["x", "y"])
    other.close()


def test_a_call_removes_no_more_than_it_may_and_the_oldest_first(store: StateStore) -> None:
    store.put_events([event(item, at) for at, item in enumerate("abcd")])
    store.take_over(100)
    assert store.prune_events(LATER_US, at_most=3) == 3
    assert items_in(store) == ["d"]


def test_an_import_takes_over_and_the_next_one_reads_on_after_what_was_removed(
    store: StateStore, tmp_path: Path
) -> None:
    store.put_events([event(item, at, event_id=item) for at, item in enumerate("abc")])
    import_events(store, tmp_path / "data", num_shards=2, run=run_here)
    assert store.prune_events(LATER_US, at_most=10) == 2
    again = [event("a", 0, event_id="a"), event("d", 9, event_id="d")]
    assert store.put_events(again) == PutResult(stored=2, duplicates=0)  # "a" is not known any more
    dataset = import_events(store, tmp_path / "data", run=run_here)
    assert dataset is not None
    assert (dataset.rows_accepted, dataset.rows_duplicate) == (4, 1)  # but here


def test_the_committer_removes_what_is_old_at_a_pace(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_commit, "_PRUNING_PAUSE_S", 3600.0)
    asked: list[int] = []
    prune = store.prune_events

    def told(received_before_us: int, *, at_most: int) -> int:
        asked.append(at_most)
        return prune(received_before_us, at_most=at_most)

    monkeypatch.setattr(store, "prune_events", told)
    store.put_events([event("a", 1), event("b", 2)])
    store.take_over(2)

    async def scenario() -> None:
        committer = GroupCommitter(store, retention_s=1e-6)
        for at_us in (3, 4):
            await committer.submit([event("c", at_us)])
        await committer.close()

    asyncio.run(scenario())
    assert asked == [500]  # the second commit came within the pause
    assert items_in(store) == ["b", "c", "c"]


def test_events_that_cannot_be_removed_now_hold_nothing_up(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise RuntimeError("away")

    monkeypatch.setattr(store, "prune_events", refuse)

    async def scenario() -> None:
        committer = GroupCommitter(store, retention_s=1.0)
        for at_us in (1, 2):
            await committer.submit([event("a", at_us)])
        await committer.close()

    asyncio.run(scenario())
    assert items_in(store) == ["a", "a"]
