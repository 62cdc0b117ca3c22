"""How many replicas a part should have: by the calls that its replicas have at a time.

Serve decides how many there are, between bounds, and how soon. It counts the requests of gateways
by itself. Calls to encoders and shards do not go through Serve, so replicas of these count them.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

CALLS = "calls"
"""The name by which a replica tells Serve what `Load.take` returns."""
TARGET_CALLS = 0.7
"""At a time, of a replica that has enough to do and time to spare: it answers one after another, so
this is the share of time in which it works as long as hardly any waits."""


class Load:
    """Counts the calls that a replica has at a time, those that wait for their turn among them."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._num_calls = 0
        self._call_seconds = 0.0
        self._taken_at_s = self._changed_at_s = clock()

    @contextmanager
    def call(self) -> Iterator[None]:
        """Count a block as a call, from any thread."""
        self._change(1)
        try:
            yield
        finally:
            self._change(-1)

    def take(self) -> float:
        """Return how many calls there were at a time, on average since this was asked last."""
        with self._lock:
            now_s = self._advance()
            seconds = now_s - self._taken_at_s
            load = self._call_seconds / seconds if seconds > 0 else float(self._num_calls)
            self._taken_at_s, self._call_seconds = now_s, 0.0
            return load

    def _change(self, difference: int) -> None:
        with self._lock:
            self._advance()
            self._num_calls += difference

    def _advance(self) -> float:
        now_s = self._clock()
        self._call_seconds += self._num_calls * (now_s - self._changed_at_s)
        self._changed_at_s = now_s
        return now_s


def num_replicas_for_calls(context: Any) -> tuple[float, Mapping[str, Any]]:
    """Return how many replicas have the target's calls each, and nothing to be kept: a policy of
    Serve's, which rounds it, keeps it between the bounds, and waits until it stays.

    Args:
        context: Serve's `AutoscalingContext`.
    """
    loads = context.aggregated_metrics.get(CALLS, {})
    if not loads:  # no replica has told yet
        return context.target_num_replicas, {}
    return sum(loads.values()) / TARGET_CALLS, {}
