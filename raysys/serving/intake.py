"""How a gateway stores the items and users that clients put: one call after the other."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from raysys.errors import StateUnavailableError, TooManyRequestsError
from raysys.state.items import Item
from raysys.state.store import StateStore
from raysys.state.users import User

_MAX_WAITING = 256
_PATIENCE_S = 10.0


class Intake:
    """Stores from one event loop. Puts are rare, so that each has a transaction of its own.

    A thread of its own, so that a put that waits for the database keeps no answer waiting. While
    one takes longer than a call waits, others are refused at once, as events are.

    Both methods return when everything is committed.

    Raises:
        TooManyRequestsError: too many calls wait already.
        StateUnavailableError: the database is away; nothing was stored, or nobody can know.
    """

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._num_waiting = 0
        self._began_at_s = math.inf  # when the put that runs began, by the monotonic clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="raysys-intake")

    async def put_items(self, items: Sequence[Item]) -> None:
        await self._put(self._store.put_items, [*items])

    async def put_users(self, users: Sequence[User]) -> None:
        await self._put(self._store.put_users, [*users])

    async def close(self) -> None:
        """Store what waits, then end the thread. The store stays open."""
        await asyncio.to_thread(self._thread.shutdown)

    async def _put(self, store: Callable[..., object], things: Sequence[Item | User]) -> None:
        if self._num_waiting >= _MAX_WAITING:
            raise TooManyRequestsError(
                f"{self._num_waiting} calls wait already to store their items or users, all that "
                f"this server lets wait. Nothing of this one was stored; try again later."
            )
        stuck_s = time.monotonic() - self._began_at_s
        if stuck_s > _PATIENCE_S:
            raise StateUnavailableError(
                f"The database has not answered for {stuck_s:.0f} s. Nothing of this call was "
                f"stored; try again later."
            )
        self._num_waiting += 1
        try:
            async with asyncio.timeout(_PATIENCE_S):
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, self._store_in_time, store, things)
        except TimeoutError as error:  # one that has not begun never will
            raise StateUnavailableError(
                f"The database does not answer within {_PATIENCE_S:g} s. Whether this call is "
                f"stored will be seen: send it again."
            ) from error
        finally:
            self._num_waiting -= 1

    def _store_in_time(self, store: Callable[..., object], things: Sequence[Item | User]) -> None:
        """Store, and let everybody see since when. Runs in the thread."""
        self._began_at_s = time.monotonic()
        try:
            store(things)
        finally:
            self._began_at_s = math.inf
