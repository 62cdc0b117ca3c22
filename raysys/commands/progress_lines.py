"""Progress as lines of a log, for where there is no terminal to draw a bar on."""

import time
from collections.abc import Callable

_SHORTEST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 15.0


class ProgressLines:
    """Turns calls of `advance` into few lines: what is new at most once a second, and the end.

    What only counts up is told every 15 s.
    """

    def __init__(
        self,
        label: str,
        write: Callable[[str], None],
        *,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._label = label
        self._write = write
        self._now = now
        self._started = now()
        self._written_at = float("-inf")
        self._written = ""
        self._latest = ""
        self._latest_note: str | None = None

    def advance(self, done: float, total: float | None = None, note: str = "") -> None:
        """Take how much is done, of how much, and a word about it; write a line if it is time."""
        pause = self._now() - self._written_at
        is_new = note != self._latest_note
        self._latest = self._line(done, total, note)
        if pause >= (_SHORTEST_PAUSE_S if is_new else _LONGEST_PAUSE_S):
            self._latest_note = note
            self._flush()

    def end(self) -> None:
        """Write the last state, if it was not written."""
        self._flush()

    def _flush(self) -> None:
        if self._latest == self._written:
            return
        seconds = self._now() - self._started
        self._write(f"  {self._latest} ({seconds:.0f} s)")
        self._written, self._written_at = self._latest, self._now()

    def _line(self, done: float, total: float | None, note: str) -> str:
        of_total = "" if total is None else f" of {total:,.0f}"
        return f"{self._label}: {done:,.0f}{of_total}" + (f", {note}" if note else "")
