"""Holding the lease of an application's learning for as long as a block takes."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from raysys.commands.submission import submission_id
from raysys.errors import LeaseLostError, StateUnavailableError
from raysys.state.learning import LearningTable, Lease, owner_of

_LOG = logging.getLogger("raysys.commands")

LEASE_S = 60.0
"""Longer than a step of a busy machine; the one after a holder that was killed waits as long."""

_RENEW_EVERY_S = LEASE_S / 5


class HeldLease:
    """A lease that a thread renews, and whether it is still held."""

    def __init__(self, table: LearningTable, lease: Lease) -> None:
        self._table = table
        self.lease = lease
        self._is_lost = False
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._renew, name="raysys-lease", daemon=True)

    def check(self) -> None:
        """Return if nobody else has it, as of now; LeaseLostError otherwise."""
        if self._is_lost or not self._table.renew(self.lease, LEASE_S):
            self._is_lost = True
            raise LeaseLostError(
                f"The lease number {self.lease.number} was lost: another process learns for this "
                f"application since. Nothing of this round is served."
            )

    def _renew(self) -> None:
        while not self._is_over.wait(_RENEW_EVERY_S):
            try:
                self._is_lost = self._is_lost or not self._table.renew(self.lease, LEASE_S)
            except StateUnavailableError as error:  # nobody else can take it meanwhile
                _LOG.warning("The lease could not be renewed, which is tried again: %s", error)


@contextmanager
def held_lease(table: LearningTable) -> Iterator[HeldLease | None]:
    """Hold the lease for the block, and let it go; None: another process has it."""
    lease = table.acquire(owner_of(submission_id() or str(os.getpid())), LEASE_S)
    if lease is None:
        yield None
        return
    held = HeldLease(table, lease)
    held._thread.start()
    try:
        yield held
    finally:
        held._is_over.set()
        held._thread.join()
        with suppress(StateUnavailableError):  # it ends by itself
            table.release(lease)
