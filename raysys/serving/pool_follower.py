"""Keeps a shard's fresh items up with the database."""

import time
from collections.abc import Callable

from raysys.index.fresh import FreshPool
from raysys.serving.follower import PATIENCE_S, Follower
from raysys.state.store import StateStore


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
        self._follower = Follower("raysys-items", "The fresh items", self._take_over)

    def start(self, patience_s: float = PATIENCE_S) -> None:
        """Return when the pool has caught up, and go on following.

        When that does not succeed for `patience_s`, the release's own items have to do until it
        does: a shard that waited longer would take its relevant items away as well.

        Raises:
            StateError: the database can never be used.
        """
        self._follower.catch_up_within(patience_s)
        self._follower.start()

    def close(self) -> None:
        """End the thread and close the store."""
        self._follower.close()
        if self._store is not None:
            self._store.close()

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
