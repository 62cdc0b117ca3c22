"""Storing items that clients put."""

import asyncio
import threading

import pytest

from raysys.errors import StateUnavailableError, TooManyRequestsError
from raysys.serving import item_intake
from raysys.serving.item_intake import ItemIntake
from raysys.state.items import Item


class SlowStore:
    """Stores when it is told to, or refuses."""

    def __init__(self) -> None:
        self.stored: list[list[Item]] = []
        self.may_store = threading.Event()
        self.is_away = False

    def put_items(self, items: list[Item]) -> int:
        self.may_store.wait(10)
        if self.is_away:
            raise StateUnavailableError("away")
        self.stored.append(items)
        return len(self.stored)


def test_a_put_returns_when_its_items_are_stored_and_a_full_queue_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(item_intake, "_MAX_WAITING", 2)
    store = SlowStore()

    async def scenario() -> None:
        intake = ItemIntake(store)  # type: ignore[arg-type]
        puts = [asyncio.ensure_future(intake.put([Item(name)])) for name in "ab"]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsError, match="2 calls wait already"):
            await intake.put([Item("c")])
        assert not any(put.done() for put in puts)
        store.may_store.set()
        await asyncio.gather(*puts)
        await intake.put([Item("d")])
        await intake.close()

    asyncio.run(scenario())
    assert store.stored == [[Item("a")], [Item("b")], [Item("d")]]


def test_whoever_puts_hears_that_the_database_is_away() -> None:
    store = SlowStore()
    store.is_away = True
    store.may_store.set()

    async def scenario() -> None:
        intake = ItemIntake(store)  # type: ignore[arg-type]
        for _ in range(2):
            with pytest.raises(StateUnavailableError, match="away"):
                await intake.put([Item("a")])
        await intake.close()

    asyncio.run(scenario())
