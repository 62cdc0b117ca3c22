"""What serving tells Ray's metrics, which every node offers to Prometheus: see docs/serving.md.

A record costs 2 to 3 µs of the event loop; Ray collects them in the background. In Prometheus each
name starts with `ray_`, and a counter's ends with `_total`.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ray.util.metrics import Counter, Gauge, Histogram

from raysys.serving.observer import BatchReport, Stage, Trace
from raysys.state.slate_recorder import Outcome

if TYPE_CHECKING:
    from raysys.index.filtered import FilterWork  # of shards alone: it imports FAISS

_LATENCIES_MS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000]
_BATCH_SIZES = [1.0, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024]


class GatewayMetrics:
    """One gateway's `Observer`."""

    def __init__(self) -> None:
        self._campaigns = _CampaignCounters()
        self._errors = Counter(
            "raysys_errors", "Requests of any kind that were answered with an error.", ("code",)
        )
        self._events = Counter("raysys_events", "Events that were committed.")
        self._slates = Counter(
            "raysys_slates",
            "Lists as they were shown. Outcome: recorded, or dropped while the database was away.",
            ("outcome",),
        )
        self._in_service = Gauge(
            "raysys_release_in_service",
            "1 for each release that a gateway answers from.",
            ("campaign", "release"),
        )
        self._releases: Mapping[str, Sequence[str]] = {}

    async def stay_in_service(self) -> None:
        """Say once a second what is served, for ever: Ray forgets a gauge that is not set again."""
        while True:
            for campaign, releases in self._releases.items():
                for release in releases:
                    self._in_service.set(1, {"campaign": campaign, "release": release})
            await asyncio.sleep(1)

    def of_campaign(self, campaign: str) -> "CampaignMetrics":
        return CampaignMetrics(campaign, self._campaigns)

    def in_service(self, releases: Mapping[str, Sequence[str]]) -> None:
        for campaign, before in self._releases.items():
            for release in set(before) - set(releases.get(campaign, ())):
                self._in_service.set(0, {"campaign": campaign, "release": release})
        self._releases = releases

    def error(self, code: str) -> None:
        self._errors.inc(1, {"code": code})

    def events(self, num_events: int) -> None:
        self._events.inc(num_events)

    def slates(self, outcome: Outcome, num_slates: int) -> None:
        self._slates.inc(num_slates, {"outcome": outcome})


class _CampaignCounters:
    """The metrics that carry the name of a campaign. A process has each of them once."""

    def __init__(self) -> None:
        self.requests = _counter(
            "raysys_requests",
            "Requests for recommendations. Outcome: answered, failed, or refused (429).",
            "source",
            "outcome",
        )
        self.degraded = _counter(
            "raysys_degraded", "Of the answered requests, those of which a part was away."
        )
        self.latency_ms = _histogram(
            "raysys_latency_ms",
            "Once per micro-batch: of its slowest request, from arrival to answer.",
            _LATENCIES_MS,
        )
        self.stage_ms = _histogram(
            "raysys_stage_ms",
            "Once per micro-batch: what each stage of its way took.",
            _LATENCIES_MS,
            "stage",
        )
        self.batch_size = _histogram(
            "raysys_batch_size", "Requests of a micro-batch.", _BATCH_SIZES
        )
        self.queries = _counter(
            "raysys_queries",
            "Queries of known users. Outcome: encoded, or cached from an earlier request.",
            "outcome",
        )
        self.shown = _counter("raysys_shown", "Positions of all lists.")
        self.explored = _counter("raysys_explored", "Positions of all lists that explored.")


class CampaignMetrics:
    """One campaign's `CampaignObserver` in one gateway."""

    def __init__(self, campaign: str, counters: _CampaignCounters) -> None:
        self._counters = counters
        self._tags = {"campaign": campaign}
        self._stages: dict[Stage, dict[str, str]] = {}

    def batch(self, report: BatchReport) -> None:
        to, tags = self._counters, self._tags
        for source, count in report.by_source.items():
            to.requests.inc(count, {**tags, "source": source, "outcome": "answered"})
        for outcome, count in (("failed", report.num_failed), ("refused", report.num_refused)):
            if count:
                to.requests.inc(count, {**tags, "source": "none", "outcome": outcome})
        for counter, count in (
            (to.degraded, report.num_degraded),
            (to.shown, report.num_shown),
            (to.explored, report.num_explored),
        ):
            if count:
                counter.inc(count, tags)
        to.latency_ms.observe(1_000 * report.latency_s, tags)
        to.batch_size.observe(report.size, tags)
        self._stage("queue", report.queued_s)
        if report.serialise_s:
            self._stage("serialise", report.serialise_s)

    def work(self, trace: Trace) -> None:
        for stage, seconds in trace.seconds.items():
            self._stage(stage, seconds)
        for outcome, count in (("encoded", trace.num_encoded), ("cached", trace.num_cached)):
            if count:
                self._counters.queries.inc(count, {**self._tags, "outcome": outcome})

    def _stage(self, stage: Stage, seconds: float) -> None:
        tags = self._stages.setdefault(stage, {**self._tags, "stage": stage})
        self._counters.stage_ms.observe(1_000 * seconds, tags)


def _counter(name: str, what: str, *tags: str) -> Counter:
    return Counter(name, what, ("campaign", *tags))


def _histogram(name: str, what: str, borders: list[float], *tags: str) -> Histogram:
    return Histogram(name, what, borders, ("campaign", *tags))


class DirectorMetrics:
    """What the process tells that leads the campaigns.

    Args:
        is_learning_failing: whether the newest round of learning went wrong.
    """

    def __init__(self, is_learning_failing: Callable[[], bool]) -> None:
        self._refused = Gauge(
            "raysys_user_config_refused",
            "1 while the settings of campaigns that were deployed last are refused, else 0.",
        )
        self._is_refused = False
        self._failing = Gauge(
            "raysys_learning_failing",
            "1 while the newest round of learning failed or was lost, else 0.",
        )
        self._is_learning_failing = is_learning_failing

    def follows(self, is_followed: bool) -> None:
        """Say whether the campaigns are what was deployed last."""
        self._is_refused = not is_followed

    async def stay(self) -> None:
        """Say it once a second, for ever."""
        while True:
            self._refused.set(int(self._is_refused))
            self._failing.set(int(self._is_learning_failing()))
            await asyncio.sleep(1)


class PartMetrics:
    """What one replica of the query encoder or of an index shard tells.

    Args:
        part: "encoder", or "shard-" and the shard's number.
    """

    def __init__(self, part: str) -> None:
        tags = {"part": part}
        self._work_ms = Histogram(
            "raysys_part_ms",
            "Once per micro-batch: what a part took, without the way to it and back.",
            _LATENCIES_MS,
            tuple(tags),
        ).set_default_tags(tags)
        self._fresh_items = Gauge(
            "raysys_fresh_items",
            "Items of an index shard that may be explored, of each release that it holds.",
            (*tags, "release"),
        ).set_default_tags(tags)

        self._filter_ms = Histogram(
            "raysys_filter_ms",
            "Once per micro-batch with filters: what a shard took to have their masks.",
            _LATENCIES_MS,
            tuple(tags),
        ).set_default_tags(tags)
        self._filter_masks = Counter(
            "raysys_filter_masks",
            "Masks of filters that a shard needed. Outcome: made, or kept from before.",
            (*tags, "outcome"),
        ).set_default_tags(tags)
        self._filtered = Counter(
            "raysys_filtered",
            "Items that filters kept from being found, of all queries together.",
            tuple(tags),
        ).set_default_tags(tags)

    @contextmanager
    def work(self) -> Iterator[None]:
        """Take the time of a block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._work_ms.observe(1_000 * (time.perf_counter() - began))

    def filtered(self, work: "FilterWork") -> None:
        """Tell what the filters of a micro-batch did, if there were any."""
        if not work.num_made + work.num_kept:
            return
        self._filter_ms.observe(1_000 * work.seconds)
        for outcome, count in (("made", work.num_made), ("kept", work.num_kept)):
            if count:
                self._filter_masks.inc(count, {"outcome": outcome})
        if work.num_filtered:
            self._filtered.inc(work.num_filtered)

    def fresh_items(self, release: str, number: int) -> None:
        self._fresh_items.set(number, {"release": release})
