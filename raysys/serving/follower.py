"""Keeps what a process holds in memory up with the database, off the path of requests."""

import logging
import threading
import time
from collections.abc import Callable

from raysys.errors import StateError, StateUnavailableError

_LOG = logging.getLogger("raysys.serving")

POLL_EVERY_S = 0.5
IN_A_HURRY_S = 0.1
PATIENCE_S = 10.0


class Follower:
    """Calls `take_over` every half second, in a thread of its own; a failure ends nothing.

    Args:
        name: of the thread.
        subject: what is kept up to date, for the log: "The fresh items".
        take_over: asks the database what changed, and takes it over. While it fails, what was taken
            over before stays, and the log says so once. When it returns True, somebody waits for
            what comes next: it is called again after a tenth of a second.
    """

    def __init__(self, name: str, subject: str, take_over: Callable[[], object]) -> None:
        self._subject = subject
        self._take_over = take_over
        self._is_behind = False
        self._is_waited_for = False
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wait(self) -> None:
        """Return when it is time to look again, or as soon as it is closed."""
        self._is_closing.wait(self._pause_s())

    def catch_up(self) -> bool:
        """Take over what changed; False, once with a word in the log, when it cannot be done.

        Raises:
            StateError: the database can never be used.
        """
        try:
            self._is_waited_for = self._take_over() is True
        except StateUnavailableError as error:
            self._fall_behind(error)
        except StateError:
            raise
        except Exception as error:  # a row that nobody foresaw must not end the following
            self._fall_behind(error)
        else:
            if self._is_behind:
                _LOG.warning("%s are up to date again", self._subject)
            self._is_behind = False
        return not self._is_behind

    def catch_up_within(self, patience_s: float) -> bool:
        """Try to take over until it succeeds, and say whether it did.

        Raises:
            StateError: the database can never be used.
        """
        deadline = time.monotonic() + patience_s
        while not (is_caught_up := self.catch_up()) and time.monotonic() < deadline:
            self.wait()
        return is_caught_up

    def close(self) -> None:
        """End the thread."""
        self._is_closing.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._is_closing.wait(self._pause_s()):
            try:
                self.catch_up()
            except StateError as error:  # one day the cause may be gone
                self._fall_behind(error)

    def _pause_s(self) -> float:
        return IN_A_HURRY_S if self._is_waited_for else POLL_EVERY_S

    def _fall_behind(self, error: Exception) -> None:
        if not self._is_behind:
            is_expected = isinstance(error, StateError)
            _LOG.warning(
                "%s stay as they are: %r",
                self._subject,
                error,
                exc_info=None if is_expected else error,
            )
        self._is_behind = True
