"""Group commit: many small requests for durability share one transaction, and one wait for disk."""

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from raysys.errors import StateUnavailableError
from raysys.state.events import Event
from raysys.state.store import StateStore

_LOG = logging.getLogger(__name__)

_FEWEST_PRUNED, _PRUNED_PER_STORED = 500, 2
_PRUNING_PAUSE_S = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """The events of one `submit`, and where to tell how it went."""

    events: tuple[Event, ...]
    done: asyncio.Future[None]


class GroupCommitter:
    """Stores events from one event loop in one thread, a transaction at a time.

    While a transaction runs, the groups that arrive wait and share the next one. So a lone request
    waits for nobody, and under load the cost of a commit is divided among many.

    Args:
        max_events_per_commit: a transaction takes whole groups up to this many events, and at least
            one group. Longer transactions make the first group wait for the last.
        max_waiting_events: more than this are refused, so that the queue cannot grow for ever.
        patience_s: how long a request waits for its commit. While one transaction takes longer,
            others are refused at once: a database that is stopped, not gone, says nothing.
        retention_s: how old an event may grow that a dataset has (`StateStore.prune_events`). After
            a commit, once a second at most, the oldest are removed: up to two for each that was
            stored meanwhile, and up to 500 at least. None: they are kept for ever.
        on_commit: told on the loop how many events a transaction stored; must return at once.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        max_events_per_commit: int = 500,
        max_waiting_events: int = 5_000,
        patience_s: float = 10.0,
        retention_s: float | None = None,
        on_commit: Callable[[int], None] | None = None,
    ) -> None:
        self._store = store
        self._retention_s = retention_s
        self._next_pruning_at_s = 0.0  # by the monotonic clock
        self._num_stored_since_pruning = 0
        self._max_events_per_commit = max_events_per_commit
        self._max_waiting_events = max_waiting_events
        self._patience_s = patience_s
        self._on_commit = on_commit
        self._waiting: list[_Group] = []
        self._num_waiting_events = 0
        self._committing: asyncio.Task[None] | None = None
        self._began_at_s = math.inf  # when the transaction that runs began, by the loop's clock
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="raysys-commit")
        self._is_closed = False

    async def submit(self, events: Sequence[Event]) -> None:
        """Return when all of these events are committed; they are stored all or none.

        A caller that is cancelled while it waits leaves its events behind: they are stored.

        Raises:
            StateUnavailableError: too many events wait already, or the database is away; nothing
                of this call was stored, or nobody can know. It comes within `patience_s`.
            StateError: these events cannot be stored.
        """
        if self._is_closed:
            raise StateUnavailableError(
                "The event store is closing. Nothing was stored; try again."
            )
        if self._num_waiting_events + len(events) > self._max_waiting_events:
            raise StateUnavailableError(
                f"{self._num_waiting_events} events wait to be stored already, the most that may "
                f"wait is {self._max_waiting_events}. Nothing was stored; try again later."
            )
        loop = asyncio.get_running_loop()
        stuck_s = loop.time() - self._began_at_s
        if stuck_s > self._patience_s:
            raise StateUnavailableError(
                f"The database has not answered for {stuck_s:.0f} s. Nothing was stored; try again "
                f"later."
            )
        group = _Group(tuple(events), loop.create_future())
        self._waiting.append(group)
        self._num_waiting_events += len(group.events)
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit_all())
        await asyncio.wait([group.done], timeout=self._patience_s)
        if not group.done.done():
            raise self._given_up(group)
        await group.done

    def _given_up(self, group: _Group) -> StateUnavailableError:
        """Wait no longer for a group, and return what to tell who sent it."""
        group.done.cancel()
        if group not in self._waiting:
            outcome = "Whether the events are stored will be seen: send them again, as they are"
        else:
            self._waiting.remove(group)
            self._num_waiting_events -= len(group.events)
            outcome = "Nothing was stored; try again later"
        return StateUnavailableError(
            f"The database does not answer within {self._patience_s:g} s. {outcome}."
        )

    async def close(self) -> None:
        """Commit what waits, then end the thread. The store stays open."""
        self._is_closed = True
        if self._committing is not None:
            await self._committing
        self._thread.shutdown()

    async def _commit_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                groups = self._next_groups()
                self._began_at_s = loop.time()
                try:
                    outcomes = await loop.run_in_executor(self._thread, self._store_groups, groups)
                except BaseException:  # the loop is ending: let nobody wait for an outcome
                    for group in (*groups, *self._waiting):
                        group.done.cancel()
                    raise
                for group, outcome in zip(groups, outcomes, strict=True):
                    _tell(group, outcome)
                self._report(groups, outcomes)
        finally:
            self._committing, self._began_at_s = None, math.inf

    def _report(self, groups: list[_Group], outcomes: list[Exception | None]) -> None:
        stored = [
            len(group.events)
            for group, outcome in zip(groups, outcomes, strict=True)
            if outcome is None
        ]
        if not stored:
            return
        if self._on_commit is not None:
            self._on_commit(sum(stored))
        if self._retention_s is not None:
            self._thread.submit(self._prune, sum(stored), self._retention_s)

    def _prune(self, num_stored: int, retention_s: float) -> None:
        """Remove old events, if it is time to. Runs in the thread, when its caller is answered."""
        self._num_stored_since_pruning += num_stored
        if time.monotonic() < self._next_pruning_at_s:
            return
        received_before_us = time.time_ns() // 1000 - round(retention_s * 1e6)
        at_most = max(_FEWEST_PRUNED, _PRUNED_PER_STORED * self._num_stored_since_pruning)
        try:
            self._store.prune_events(received_before_us, at_most=at_most)
        except Exception as error:  # a later commit removes them
            _LOG.info("Old events stay for now: %s", error)
        self._num_stored_since_pruning = 0
        self._next_pruning_at_s = time.monotonic() + _PRUNING_PAUSE_S

    def _next_groups(self) -> list[_Group]:
        taken, num_events = 0, 0
        for group in self._waiting:
            if taken and num_events + len(group.events) > self._max_events_per_commit:
                break
            taken, num_events = taken + 1, num_events + len(group.events)
        groups, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._num_waiting_events -= num_events
        return groups

    def _store_groups(self, groups: list[_Group]) -> list[Exception | None]:
        """Return one outcome per group: None when it is committed. Runs in the thread."""
        try:
            self._store.put_events([event for group in groups for event in group.events])
        except StateUnavailableError as error:
            # No group is at fault, and to ask an absent database once for each would take for ever.
            return [StateUnavailableError(*error.args) for _ in groups]
        except Exception as error:
            if len(groups) == 1:
                return [error]
            return [outcome for group in groups for outcome in self._store_groups([group])]
        return [None] * len(groups)


def _tell(group: _Group, outcome: Exception | None) -> None:
    if group.done.done():  # cancelled: nobody waits any more
        return
    if outcome is None:
        group.done.set_result(None)
    else:
        group.done.set_exception(outcome)
