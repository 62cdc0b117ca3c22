"""Keeps a shard's fresh items up with the database."""

import logging
import threading
import time
from collections.abc import Callable

from raysys.errors import StateError, StateUnavailableError
from raysys.index.fresh import FreshPool
from raysys.state.store import StateStore

_LOG = logging.getLogger("raysys.serving")

_POLL_EVERY_S = 0.5
_PATIENCE_S = 10.0


class PoolFollower:
    """Asks the database every half second what changed, in a thread of its own.

    While the database is away the pool stays as it is. Queries take `pool` once and keep it for as
    long as they need it: it is replaced, never changed.

    Args:
        pool: as the release has it.
        open_store: called until it succeeds; the follower closes what it returns.
        on_size: told after each look at the database how many items may be explored now.
    """

    def __init__(
        self,
        pool: FreshPool,
        open_store: Callable[[], StateStore],
        *,
        on_size: Callable[[int], None] | None = None,
    ) -> None:
        self.pool = pool
        self._released = pool
        self._open_store = open_store
        self._on_size = on_size
        self._store: StateStore | None = None
        self._is_behind = False
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="raysys-items", daemon=True)

    def start(self, patience_s: float = _PATIENCE_S) -> None:
        """Return when the pool has caught up, and go on following.

        When that does not succeed for `patience_s`, the release's own items have to do until it
        does: a shard that waited longer would take its relevant items away as well.

        Raises:
            StateError: the database can never be used.
        """
        deadline = time.monotonic() + patience_s
        while not self._catch_up() and time.monotonic() < deadline:
            self._is_closing.wait(_POLL_EVERY_S)
        self._thread.start()

    def close(self) -> None:
        """End the thread and close the store."""
        self._is_closing.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._store is not None:
            self._store.close()

    def _run(self) -> None:
        while not self._is_closing.wait(_POLL_EVERY_S):
            try:
                self._catch_up()
            except StateError as error:  # one day the cause may be gone
                self._fall_behind(error)

    def _catch_up(self) -> bool:
        """Take over what changed; False, once with a word in the log, when it cannot be done."""
        try:
            self._take_over()
        except StateUnavailableError as error:
            self._fall_behind(error)
        except StateError:
            raise
        except Exception as error:  # an item that nobody foresaw must not end the following
            self._fall_behind(error)
        else:
            if self._is_behind:
                _LOG.warning("The fresh items are up to date again")
            self._is_behind = False
        return not self._is_behind

    def _take_over(self) -> None:
        if self._store is None:
            self._store = self._open_store()
        changes = self._store.changes(self.pool.version)
        if changes.version < self.pool.version:  # another database stands there now
            self.pool = self._released
            changes = self._store.changes(0)
        if changes.version != self.pool.version:
            self.pool = self.pool.with_changes(changes, time.time_ns() // 1000)
        if self._on_size is not None:
            self._on_size(self.pool.num_eligible(time.time_ns() // 1000))

    def _fall_behind(self, error: Exception) -> None:
        if not self._is_behind:
            is_expected = isinstance(error, StateError)
            _LOG.warning(
                "The fresh items stay as they are: %r",
                error,
                exc_info=None if is_expected else error,
            )
        self._is_behind = True
