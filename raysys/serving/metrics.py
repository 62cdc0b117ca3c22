"""What serving tells Ray's metrics, which every node offers to Prometheus: see docs/serving.md.

A record costs 2 to 3 µs of the event loop; Ray collects them in the background. In Prometheus each
name starts with `ray_`, and a counter's ends with `_total`.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager

from ray.util.metrics import Counter, Gauge, Histogram

from raysys.serving.observer import BatchReport, Stage, Trace
from raysys.state.slate_recorder import Outcome

_LATENCIES_MS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000]
_BATCH_SIZES = [1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024]


class GatewayMetrics:
    """One gateway's `Observer`; each metric carries the name of its campaign."""

    def __init__(self, campaign: str, release: str) -> None:
        def counter(name: str, what: str, *tags: str) -> Counter:
            made = Counter(name, what, ("campaign", *tags))
            made.set_default_tags(of_campaign)
            return made

        def histogram(name: str, what: str, borders: list[float], *tags: str) -> Histogram:
            made = Histogram(name, what, borders, ("campaign", *tags))
            made.set_default_tags(of_campaign)
            return made

        of_campaign = {"campaign": campaign}
        self._requests = counter(
            "raysys_requests",
            "Requests for recommendations. Outcome: answered, failed, or refused (429).",
            "source",
            "outcome",
        )
        self._errors = counter(
            "raysys_errors", "Requests of any kind that were answered with an error.", "code"
        )
        self._degraded = counter(
            "raysys_degraded", "Of the answered requests, those of which a part was away."
        )
        self._latency_ms = histogram(
            "raysys_latency_ms",
            "Once per micro-batch: of its slowest request, from arrival to answer.",
            _LATENCIES_MS,
        )
        self._stage_ms = histogram(
            "raysys_stage_ms",
            "Once per micro-batch: what each stage of its way took.",
            _LATENCIES_MS,
            "stage",
        )
        self._batch_size = histogram(
            "raysys_batch_size", "Requests of a micro-batch.", _BATCH_SIZES
        )
        self._queries = counter(
            "raysys_queries",
            "Queries of known users. Outcome: encoded, or cached from an earlier request.",
            "outcome",
        )
        self._shown = counter("raysys_shown", "Positions of all lists.")
        self._explored = counter("raysys_explored", "Positions of all lists that explored.")
        self._events = counter("raysys_events", "Events that were committed.")
        self._slates = counter(
            "raysys_slates",
            "Lists as they were shown. Outcome: recorded, or dropped while the database was away.",
            "outcome",
        )
        self._in_service = Gauge(
            "raysys_release_in_service",
            "1 for the release that a gateway answers from.",
            ("campaign", "release"),
        )
        self._release = {**of_campaign, "release": release}

    async def stay_in_service(self) -> None:
        """Say once a second what is served, for ever: Ray forgets a gauge that is not set again."""
        while True:
            self._in_service.set(1, self._release)
            await asyncio.sleep(1)

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
        self._stage("queue", report.queued_s)
        if report.serialise_s:
            self._stage("serialise", report.serialise_s)

    def work(self, trace: Trace) -> None:
        for stage, seconds in trace.seconds.items():
            self._stage(stage, seconds)
        for outcome, count in (("encoded", trace.num_encoded), ("cached", trace.num_cached)):
            if count:
                self._queries.inc(count, {"outcome": outcome})

    def error(self, code: str) -> None:
        self._errors.inc(1, {"code": code})

    def _stage(self, stage: Stage, seconds: float) -> None:
        self._stage_ms.observe(1_000 * seconds, {"stage": stage})

    def events(self, num_events: int) -> None:
        self._events.inc(num_events)

    def slates(self, outcome: Outcome, num_slates: int) -> None:
        self._slates.inc(num_slates, {"outcome": outcome})


class PartMetrics:
    """What one replica of the query encoder or of an index shard tells.

    Args:
        part: "encoder", or "shard-" and the shard's number.
    """

    def __init__(self, campaign: str, part: str) -> None:
        tags = {"campaign": campaign, "part": part}
        self._work_ms = Histogram(
            "raysys_part_ms",
            "Once per micro-batch: what a part took, without the way to it and back.",
            _LATENCIES_MS,
            tuple(tags),
        ).set_default_tags(tags)
        self._fresh_items = Gauge(
            "raysys_fresh_items", "Items of an index shard that may be explored.", tuple(tags)
        ).set_default_tags(tags)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Take the time of a block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._work_ms.observe(1_000 * (time.perf_counter() - began))

    def fresh_items(self, number: int) -> None:
        self._fresh_items.set(number)
