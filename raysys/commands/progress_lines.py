"""Progress as lines of a log, for where there is no terminal to draw a bar on."""

import math
import time
from collections.abc import Callable

_SHORTEST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 15.0


class ProgressLines:
    """Turns calls of `advance` into few lines: what is new at most once a second, and the end.

    What only counts up, or moves on within a step, is told every 15 s.
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
        self._latest = self._left = ""
        self._latest_note: str | None = None
        self._latest_step = -1
        self._begun: tuple[float, float] | None = None  # when, and how much was done then

    def advance(self, done: float, total: float | None = None, note: str = "") -> None:
        """Take how much is done, of how much, and a word about it; write a line if it is time."""
        pause = self._now() - self._written_at
        step = math.floor(done)
        is_new = note != self._latest_note and step != self._latest_step
        if done > 0 and self._begun is None:
            self._begun = self._now(), done
        self._latest = self._line(step, total, note)
        self._left = self._words_on_time_left(done, total)
        if pause >= (_SHORTEST_PAUSE_S if is_new else _LONGEST_PAUSE_S):
            self._latest_note, self._latest_step = note, step
            self._flush()

    def end(self) -> None:
        """Write the last state, if it was not written."""
        self._flush()

    def _flush(self) -> None:
        if self._latest == self._written:
            return
        seconds = self._now() - self._started
        self._write(f"  {self._latest} ({seconds:.0f} s{self._left})")
        self._written, self._written_at = self._latest, self._now()

    def _line(self, step: int, total: float | None, note: str) -> str:
        of_total = "" if total is None else f" of {total:,.0f}"
        return f"{self._label}: {step:,}{of_total}" + (f", {note}" if note else "")

    def _words_on_time_left(self, done: float, total: float | None) -> str:
        """Return how long the rest takes if it goes on like what was done since the beginning."""
        if self._begun is None or total is None or done <= self._begun[1]:
            return ""
        began_at, began_with = self._begun
        left_s = (self._now() - began_at) * (total - done) / (done - began_with)
        if left_s < 1:
            return ""
        if left_s < 100:
            return f", {left_s:.0f} s left"
        if left_s < 6000:
            return f", {left_s / 60:.0f} min left"
        return f", {left_s / 3600:.1f} h left"
