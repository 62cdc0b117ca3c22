"""How a gateway stores the items that clients put: one call after the other, in one thread."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from raysys.errors import TooManyRequestsError
from raysys.state.items import Item
from raysys.state.store import StateStore

_MAX_WAITING = 256


class ItemIntake:
    """Stores items from one event loop. Puts are rare, so that each has a transaction of its own.

    A thread of its own, so that a put that waits for the database keeps no answer waiting.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._num_waiting = 0
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="raysys-items")

    async def put(self, items: Sequence[Item]) -> None:
        """Return when the items are committed.

        Raises:
            TooManyRequestsError: too many calls wait already.
            StateUnavailableError: the database is away; nothing was stored.
        """
        if self._num_waiting >= _MAX_WAITING:
            raise TooManyRequestsError(
                f"{self._num_waiting} calls wait already to store their items, all that this "
                f"server lets wait. Nothing of this one was stored; try again later."
            )
        self._num_waiting += 1
        try:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._thread, self._store.put_items, list(items))
        finally:
            self._num_waiting -= 1

    async def close(self) -> None:
        """Store what waits, then end the thread. The store stays open."""
        await asyncio.to_thread(self._thread.shutdown)
