"""Storing items and users that clients put."""

import asyncio
import threading

import pytest

from raysys.errors import StateUnavailableError, TooManyRequestsError
from raysys.serving import intake
from raysys.serving.intake import Intake
from raysys.state.items import Item
from raysys.state.users import User


class SlowStore:
    """Stores when it is told to, or refuses."""

    def __init__(self) -> None:
        self.stored: list[list[Item | User]] = []
        self.may_store = threading.Event()
        self.is_away = False

    def put_items(self, items: list[Item]) -> int:
        self.may_store.wait(10)
        if self.is_away:
            raise StateUnavailableError("away")
        self.stored.append([*items])
        return len(self.stored)

    def put_users(self, users: list[User]) -> None:
        self.stored.append([*users])


def test_a_put_returns_when_its_items_are_stored_and_a_full_queue_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_MAX_WAITING", 2)
    store = SlowStore()

    async def scenario() -> None:
        puts_in = Intake(store)  # type: ignore[arg-type]
        puts = [asyncio.ensure_future(puts_in.put_items([Item(name)])) for name in "ab"]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsError, match="2 calls wait already"):
            await puts_in.put_items([Item("c")])
        assert not any(put.done() for put in puts)
        store.may_store.set()
        await asyncio.gather(*puts)
        await puts_in.put_users([User("d")])
        await puts_in.close()

    asyncio.run(scenario())
    assert store.stored == [[Item("a")], [Item("b")], [User("d")]]


def test_whoever_puts_hears_that_the_database_is_away() -> None:
    store = SlowStore()
    store.is_away = True
    store.may_store.set()

    async def scenario() -> None:
        puts_in = Intake(store)  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(StateUnavailableError, match="away"):
                await puts_in.put_items([Item("a")])
        await puts_in.close()

    asyncio.run(scenario())


async def _stored(store: SlowStore, number: int) -> None:
    while len(store.stored) < number:
        await asyncio.sleep(0.001)
    await asyncio.sleep(0.01)


def test_a_database_that_says_nothing_is_waited_for_so_long_and_then_by_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(intake, "_PATIENCE_S", 0.05)
    store = SlowStore()

    async def scenario() -> None:
        puts_in = Intake(store)  # type: ignore[arg-type]
        puts = [asyncio.ensure_future(puts_in.put_items([Item(name)])) for name in "ab"]
        for outcome in await asyncio.gather(*puts, return_exceptions=True):
            assert isinstance(outcome, StateUnavailableError)
            assert "send it again" in str(outcome)
        # Nobody waits any longer for what takes so long, nor for another thing behind it.
        with pytest.raises(StateUnavailableError, match="has not answered for .* Nothing"):
            await puts_in.put_users([User("c")])
        store.may_store.set()
        await _stored(store, 1)
        await puts_in.put_items([Item("c")])
        await puts_in.close()

    asyncio.run(scenario())
    assert store.stored == [[Item("a")], [Item("c")]]  # "b" had not begun
