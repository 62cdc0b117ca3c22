"""What a gateway reads of the database, off its event loop and behind a hop that may be away."""

import asyncio
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from raysys.serving.hop import Hop, answer_or_none
from raysys.state.items import Changes
from raysys.state.store import StateStore
from raysys.state.user_state import UserState

_TIMEOUT_S = 2.0
_STATE_THREADS = 4


class StateReads:
    """The reads of one gateway, whatever releases it answers from. It closes the store."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(_STATE_THREADS, thread_name_prefix="raysys-state")
        self.hop = Hop("the database", self._ping, timeout_s=_TIMEOUT_S)

    async def user_states(self, user_ids: Iterable[str]) -> dict[str, UserState] | None:
        """Return the states of those users of whom there is one; None when the database is away."""
        distinct = set(user_ids)
        return await answer_or_none(self.hop, lambda: self._read_states(distinct))

    async def filters(self) -> Mapping[str, str] | None:
        """Return the expression of every named filter; None when the database is away."""
        return await answer_or_none(self.hop, self._read_filters)

    def changed_items(self, since: int) -> Changes:
        """Return what changed among the items after a delta version. Blocks.

        Raises:
            StateUnavailableError: the database is away.
        """
        return self._store.changed_items(since)

    async def close(self) -> None:
        """Stop probing, end the threads and close the database."""
        await self.hop.close()
        self._threads.shutdown()
        self._store.close()

    async def _read_states(self, user_ids: set[str]) -> dict[str, UserState]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._store.user_states, user_ids)

    async def _read_filters(self) -> Mapping[str, str]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._store.filters.expressions)

    async def _ping(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._store.ping)
