"""Remembers what was shown without making anybody wait for it."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal

from raysys.errors import StateUnavailableError
from raysys.state.slates import Slate
from raysys.state.store import StateStore

_LOG = logging.getLogger(__name__)

Outcome = Literal["recorded", "dropped"]

_MAX_SLATES_PER_COMMIT = 1_000
_SHORTEST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_SECONDS_BETWEEN_WARNINGS = 60.0
_FEWEST_PRUNED, _PRUNED_PER_STORED = 100, 2


class SlateRecorder:
    """Stores slates in a thread of its own, many with each commit.

    A lone slate is stored at once; under load commits begin at least `pace_s` apart, so that each
    takes all that came meanwhile. While the database is away slates wait; where too many do, the
    oldest are given up. A killed process loses what waits: an impression less, never an answer.

    A slate takes the thread about 60 microseconds; a commit takes at most 1,000 of them.
    A fresh item costs each commit in which it was shown one change of a row, so few commits are
    cheaper than many.

    After each commit the oldest slates are removed if they are too old: up to two for each that was
    stored, and up to a hundred at least, so that it keeps up with any load and never holds the
    database for long.

    Args:
        max_waiting: slates that may wait. One of ten items takes about 2 KB.
        retention_s: how old a slate may grow. None: they are kept for ever.
        pace_s: seconds from the beginning of a commit to that of the next, at least.
        on_outcome: told, in any thread, what became of how many slates together. It must return at
            once and not raise.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        max_waiting: int = 20_000,
        retention_s: float | None = None,
        pace_s: float = 1.0,
        on_outcome: Callable[[Outcome, int], None] | None = None,
    ) -> None:
        self._store = store
        self._max_waiting = max_waiting
        self._retention_s = retention_s
        self._pace_s = pace_s
        self._on_outcome = on_outcome
        self._changed = threading.Condition()  # guards the queue and the counters
        self._waiting: deque[Slate] = deque()
        self._recorded = 0
        self._dropped = 0
        self._next_warning_at = 0.0  # by the monotonic clock
        self._is_closing = threading.Event()
        self._is_over = threading.Event()  # nothing is tried again
        self._thread = threading.Thread(target=self._run, name="raysys-slates", daemon=True)
        self._thread.start()

    @property
    def recorded(self) -> int:
        """Slates that are committed."""
        return self._recorded

    @property
    def dropped(self) -> int:
        """Slates that were given up: too many waited, the database refused them, or it was away."""
        return self._dropped

    def record(self, slates: Sequence[Slate]) -> None:
        """Leave slates to be stored. Returns at once and never raises; any thread may call it."""
        with self._changed:
            if self._is_closing.is_set():
                self._drop(len(slates), "they came after the recorder was closed")
                return
            self._waiting.extend(slates)
            self._keep_to_the_limit()
            self._changed.notify()

    def close(self, timeout_s: float = 10.0) -> None:
        """Store what waits, for at most so long, and end the thread. Blocks; the store stays open.

        What is not stored by then is dropped. Only a statement that hangs may hold the thread, and
        with it this process's connection, longer.
        """
        self._is_closing.set()
        with self._changed:
            self._changed.notify()
        self._thread.join(timeout_s)
        self._is_over.set()
        with self._changed:
            if self._waiting:
                self._drop(len(self._waiting), f"they were not stored {timeout_s:g} s after close")
                self._waiting.clear()

    def _run(self) -> None:
        pause_s = _SHORTEST_PAUSE_S
        while group := self._next_group():
            began = time.monotonic()
            if self._store_group(group):
                pause_s = _SHORTEST_PAUSE_S
                self._prune(len(group))
                self._is_closing.wait(max(0.0, began + self._pace_s - time.monotonic()))
            else:  # the database is away, or refuses everything: leave it in peace for a while
                self._is_over.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _prune(self, num_stored: int) -> None:
        if self._retention_s is None:
            return
        shown_before_us = time.time_ns() // 1000 - round(self._retention_s * 1e6)
        at_most = max(_FEWEST_PRUNED, _PRUNED_PER_STORED * num_stored)
        try:
            self._store.prune_slates(shown_before_us, at_most=at_most)
        except Exception as error:  # a later commit removes them
            _LOG.info("Old slates stay for now: %s", error)

    def _next_group(self) -> list[Slate]:
        """Return the oldest slates, as soon as there are any; none when all is done."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closing.is_set())
            num_taken = min(len(self._waiting), _MAX_SLATES_PER_COMMIT)
            return [self._waiting.popleft() for _ in range(num_taken)]

    def _store_group(self, group: list[Slate]) -> bool:
        """Store slates, return whether any were; those that wait for the database wait again.

        One that cannot be stored at all is looked for by halves, so that it is lost alone.
        """
        parts, is_any_stored = [group], False  # the last part is the oldest
        while parts:
            part = parts.pop()
            try:
                self._store.put_slates(part)
            except StateUnavailableError as error:
                later = [slate for other in reversed(parts) for slate in other]
                self._put_back([*part, *later], str(error))
                return is_any_stored
            except Exception as error:  # whatever is wrong with one, the others go on
                middle = len(part) // 2
                if middle:
                    parts += [part[middle:], part[:middle]]
                else:
                    self._drop(1, str(error))
            else:
                is_any_stored = True
                self._recorded += len(part)
                self._tell("recorded", len(part))
        return is_any_stored

    def _put_back(self, slates: Sequence[Slate], reason: str) -> None:
        """Let slates wait again, as the oldest. One that is stored already is not stored twice."""
        with self._changed:
            if self._is_over.is_set():
                self._drop(len(slates), reason)
                return
            self._waiting.extendleft(reversed(slates))
            self._keep_to_the_limit()

    def _keep_to_the_limit(self) -> None:
        surplus = len(self._waiting) - self._max_waiting
        if surplus > 0:
            for _ in range(surplus):
                self._waiting.popleft()
            self._drop(surplus, f"more than {self._max_waiting:,} waited for the database")

    def _drop(self, number: int, reason: str) -> None:
        """Count slates that are lost; the log hears of it, but not of each."""
        now = time.monotonic()
        with self._changed:
            self._dropped += number
            is_news = now >= self._next_warning_at
            if is_news:
                self._next_warning_at = now + _SECONDS_BETWEEN_WARNINGS
        self._tell("dropped", number)
        if is_news:
            _LOG.warning(
                "Slates are lost, %d so far: %s. Exports will lack what these answers showed; "
                "serving goes on.",
                self._dropped,
                reason,
            )

    def _tell(self, outcome: Outcome, number: int) -> None:
        if self._on_outcome is not None:
            self._on_outcome(outcome, number)
