"""What serving tells Ray's metrics, which every node offers to Prometheus: see docs/serving.md.

A record costs 2 to 3 µs of the event loop; Ray collects them in the background. In Prometheus each
name starts with `ray_`, and a counter's ends with `_total`.
"""

from ray.util.metrics import Counter, Gauge, Histogram

from raysys.serving.observer import BatchReport
from raysys.state.slate_recorder import Outcome

_LATENCIES_MS = [1.0, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000]
_BATCH_SIZES = [1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024]


class GatewayMetrics:
    """One gateway's `Observer`."""

    def __init__(self) -> None:
        self._requests = Counter(
            "raysys_requests",
            "Requests for recommendations. Outcome: answered, failed, or refused (429).",
            ("source", "outcome"),
        )
        self._degraded = Counter(
            "raysys_degraded", "Of the answered requests, those of which a part was away."
        )
        self._latency_ms = Histogram(
            "raysys_latency_ms",
            "Once per micro-batch: of its slowest request, from arrival to answer.",
            _LATENCIES_MS,
        )
        self._batch_size = Histogram(
            "raysys_batch_size", "Requests of a micro-batch.", _BATCH_SIZES
        )
        self._shown = Counter("raysys_shown", "Positions of all lists.")
        self._explored = Counter("raysys_explored", "Positions of all lists that explored.")
        self._events = Counter("raysys_events", "Events that were committed.")
        self._slates = Counter(
            "raysys_slates",
            "Lists as they were shown. Outcome: recorded, or dropped while the database was away.",
            ("outcome",),
        )

    def batch(self, report: BatchReport) -> None:
        for source, count in report.by_source.items():
            self._requests.inc(count, {"source": source, "outcome": "answered"})
        for outcome, count in (("failed", report.num_failed), ("refused", report.num_refused)):
            if count:
                self._requests.inc(count, {"source": "none", "outcome": outcome})
        for counter, count in (
            (self._degraded, report.num_degraded),
            (self._shown, report.num_shown),
            (self._explored, report.num_explored),
        ):
            if count:
                counter.inc(count)
        self._latency_ms.observe(1_000 * report.latency_s)
        self._batch_size.observe(report.size)

    def events(self, num_events: int) -> None:
        self._events.inc(num_events)

    def slates(self, outcome: Outcome, num_slates: int) -> None:
        self._slates.inc(num_slates, {"outcome": outcome})


class ShardMetrics:
    """What one replica of an index shard tells."""

    def __init__(self, shard: int) -> None:
        self._fresh_items = Gauge(
            "raysys_fresh_items", "Items of an index shard that may be explored.", ("shard",)
        ).set_default_tags({"shard": str(shard)})

    def fresh_items(self, number: int) -> None:
        self._fresh_items.set(number)
