"""Many requests share a commit; each hears of its own events only when they are committed."""

import asyncio
import threading
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from raysys.errors import StateError, StateUnavailableError
from raysys.state.events import Event
from raysys.state.group_commit import GroupCommitter
from raysys.state.store import PutResult, StateStore
from tests.unit.state.builders import event, item_ids_of, sqlite_url

T = TypeVar("T")


class FakeStore(StateStore):
    """Remembers each transaction; `gate` holds it open, `failure` says which events break it."""

    def __init__(self) -> None:
        self.transactions: list[list[str | None]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.failure: dict[str, Exception] = {}

    def put_events(self, events: Sequence[Event]) -> PutResult:
        assert self.gate.wait(10)
        items = [event.item_id for event in events]
        self.transactions.append(items)
        for item in items:
            if item in self.failure:
                raise self.failure[item]
        return PutResult(len(events), 0)


def play(scenario: Coroutine[Any, Any, T]) -> T:
    """Run a scenario, which gets 20 seconds before it counts as stuck."""
    return asyncio.run(asyncio.wait_for(scenario, 20))


async def wait_until_busy(committer: GroupCommitter, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Return when the first task's events are in the thread and the others' wait."""
    while committer._num_waiting_events < len(tasks) - 1:
        await asyncio.sleep(0)


def submit_each(committer: GroupCommitter, items: Sequence[str]) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(committer.submit([event(item)])) for item in items]


async def submit_behind_a_busy_thread(
    store: FakeStore, committer: GroupCommitter, items: Sequence[str]
) -> list[BaseException | None]:
    """Submit "first", and when its transaction runs, each of `items`; return all outcomes."""
    store.gate.clear()
    first = submit_each(committer, ["first"])
    while committer._waiting or committer._committing is None:
        await asyncio.sleep(0)
    tasks = first + submit_each(committer, items)
    await wait_until_busy(committer, tasks)
    store.gate.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_a_lone_request_is_committed_at_once() -> None:
    async def scenario() -> list[list[str | None]]:
        store = FakeStore()
        committer = GroupCommitter(store)
        await committer.submit([event("a"), event("b")])
        await committer.close()
        return store.transactions

    assert play(scenario()) == [["a", "b"]]


def test_requests_that_come_during_a_commit_share_the_next_one() -> None:
    async def scenario() -> list[list[str | None]]:
        store = FakeStore()
        committer = GroupCommitter(store)
        outcomes = await submit_behind_a_busy_thread(store, committer, ["a", "b", "c"])
        assert outcomes == [None] * 4
        await committer.close()
        return store.transactions

    assert play(scenario()) == [["first"], ["a", "b", "c"]]


def test_nothing_is_acknowledged_before_its_commit() -> None:
    async def scenario() -> None:
        store = FakeStore()
        store.gate.clear()
        committer = GroupCommitter(store)
        tasks = submit_each(committer, ["a", "b"])
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(task.done() for task in tasks)
        store.gate.set()
        await asyncio.gather(*tasks)
        await committer.close()

    play(scenario())


def test_a_transaction_takes_whole_requests_up_to_its_limit() -> None:
    async def scenario() -> list[list[str | None]]:
        store = FakeStore()
        committer = GroupCommitter(store, max_events_per_commit=2)
        await submit_behind_a_busy_thread(store, committer, ["a", "b", "c"])
        await committer.submit([event("d"), event("e"), event("f")])
        await committer.close()
        return store.transactions

    assert play(scenario()) == [["first"], ["a", "b"], ["c"], ["d", "e", "f"]]


def test_a_request_that_cannot_be_stored_fails_alone() -> None:
    async def scenario() -> None:
        store = FakeStore()
        store.failure["bad"] = StateError("too large")
        committer = GroupCommitter(store)
        outcomes = await submit_behind_a_busy_thread(store, committer, ["a", "bad", "c"])
        assert [type(outcome) for outcome in outcomes] == [type(None)] * 2 + [
            StateError,
            type(None),
        ]
        assert store.transactions == [["first"], ["a", "bad", "c"], ["a"], ["bad"], ["c"]]
        await committer.close()

    play(scenario())


def test_a_database_that_is_away_is_asked_once_for_all() -> None:
    async def scenario() -> None:
        store = FakeStore()
        store.failure["b"] = StateUnavailableError("locked")
        committer = GroupCommitter(store)
        outcomes = await submit_behind_a_busy_thread(store, committer, ["a", "b"])
        assert outcomes[0] is None
        assert [str(outcome) for outcome in outcomes[1:]] == ["locked", "locked"]
        assert all(isinstance(outcome, StateUnavailableError) for outcome in outcomes[1:])
        store.failure.clear()
        await committer.submit([event("a")])  # it goes on when the database is back
        await committer.close()

    play(scenario())


def test_a_full_queue_refuses_and_takes_more_when_it_has_drained() -> None:
    async def scenario() -> None:
        store = FakeStore()
        committer = GroupCommitter(store, max_waiting_events=2)
        store.gate.clear()
        tasks = submit_each(committer, ["first"])
        while committer._waiting or committer._committing is None:
            await asyncio.sleep(0)
        tasks += submit_each(committer, ["a", "b"])
        await wait_until_busy(committer, tasks)
        with pytest.raises(StateUnavailableError, match="2 events wait to be stored already"):
            await committer.submit([event("c")])
        store.gate.set()
        await asyncio.gather(*tasks)
        await committer.submit([event("c")])
        assert store.transactions == [["first"], ["a", "b"], ["c"]]
        await committer.close()

    play(scenario())


def test_a_database_that_says_nothing_is_waited_for_so_long_and_used_again_when_it_does() -> None:
    async def scenario() -> None:
        store = FakeStore()
        committer = GroupCommitter(store, patience_s=0.05)
        store.gate.clear()
        [begun] = submit_each(committer, ["begun"])
        while committer._waiting or committer._committing is None:
            await asyncio.sleep(0)
        [waiting] = submit_each(committer, ["waiting"])
        with pytest.raises(StateUnavailableError, match="Whether the events are stored will be"):
            await begun
        with pytest.raises(StateUnavailableError, match="Nothing was stored"):
            await waiting
        with pytest.raises(StateUnavailableError, match="has not answered for"):
            await committer.submit([event("at once")])
        store.gate.set()
        while committer._committing is not None:
            await asyncio.sleep(0)
        await committer.submit([event("later")])
        assert store.transactions == [["begun"], ["later"]]
        await committer.close()

    play(scenario())


def test_a_caller_who_gives_up_leaves_the_others_alone() -> None:
    async def scenario() -> None:
        store = FakeStore()
        store.gate.clear()
        committer = GroupCommitter(store)
        gone, stays = submit_each(committer, ["gone", "stays"])
        while committer._committing is None:
            await asyncio.sleep(0)
        gone.cancel()
        store.gate.set()
        await stays
        assert gone.cancelled()
        assert store.transactions == [["gone", "stays"]]
        await committer.close()

    play(scenario())


def test_closing_commits_what_waits_and_refuses_what_comes_later() -> None:
    async def scenario() -> None:
        store = FakeStore()
        store.gate.clear()
        committer = GroupCommitter(store)
        tasks = submit_each(committer, ["a", "b"])
        while committer._committing is None:
            await asyncio.sleep(0)
        closing = asyncio.create_task(committer.close())
        await asyncio.sleep(0)
        with pytest.raises(StateUnavailableError, match="closing"):
            await committer.submit([event("c")])
        store.gate.set()
        await closing
        await asyncio.gather(*tasks)
        assert store.transactions == [["a", "b"]]

    play(scenario())


def test_two_hundred_requests_with_repeated_ids_store_each_event_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = StateStore(sqlite_url(tmp_path), "films")
        committer = GroupCommitter(store, max_events_per_commit=30)
        requests = [
            committer.submit([event(f"item-{number % 50}", number % 50, event_id=str(number % 50))])
            for number in range(200)
        ]
        await asyncio.gather(*requests)
        state = store.user_states(["ann"])["ann"]
        assert item_ids_of(state) == tuple(f"item-{number}" for number in range(50))
        await committer.close()
        store.close()

    play(scenario())


def test_each_commit_is_told_with_the_number_of_events_that_it_stored() -> None:
    async def scenario() -> list[int]:
        store, told = FakeStore(), []
        store.failure["broken"] = StateError("broken")
        committer = GroupCommitter(store, on_commit=told.append)
        await submit_behind_a_busy_thread(store, committer, ["second", "broken", "fourth"])
        await committer.close()
        return told

    # The second transaction fails as a whole, so its groups are stored alone, and one of them not.
    assert play(scenario()) == [1, 2]


def test_a_commit_that_stored_nothing_is_not_told() -> None:
    async def scenario() -> list[int]:
        store, told = FakeStore(), []
        store.failure["away"] = StateUnavailableError("away")
        committer = GroupCommitter(store, on_commit=told.append)
        with pytest.raises(StateUnavailableError):
            await committer.submit([event("away")])
        await committer.close()
        return told

    assert play(scenario()) == []
