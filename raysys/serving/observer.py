"""What is told about a gateway's work: once per micro-batch or transaction, never per request."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from raysys.serving.messages import EXPLORATION, Answer, Source
from raysys.state.slate_recorder import Outcome

Stage = Literal["queue", "read", "filter", "encode", "search", "explore", "finish", "serialise"]
"""Where a request's time goes: waiting for its micro-batch; the database; what filters demand of
those who ask and let through of popular lists; the query encoder; the shards; mixing in fresh
items; lists into answers and slates; answers into bytes."""


@dataclass(slots=True)
class Trace:
    """Where the time of one micro-batch went, and what it was spared.

    Args:
        seconds: by stage; those of stages that ran twice are added up. No `queue`, no `serialise`:
            they lie outside of a batch.
        num_cached: queries that were encoded before, for the same history and context.
        num_encoded: queries that were encoded now.
    """

    seconds: dict[Stage, float] = field(default_factory=dict)
    num_cached: int = 0
    num_encoded: int = 0

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Take the time of a block."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One micro-batch, counted.

    Args:
        size: requests that travelled in it.
        latency_s: from the arrival of the request that waited longest to its answer.
        queued_s: of that, until its batch started.
        serialise_s: what it took to put the answers given since the batch before into bytes.
        by_source: how many were answered from each source; empty where the batch failed.
        num_degraded: of those answered.
        num_shown: positions of all lists together; `num_explored` of them explored.
        num_refused: requests that found the queue full since the batch before.
    """

    size: int
    latency_s: float
    queued_s: float
    serialise_s: float
    by_source: Mapping[Source, int]
    num_degraded: int
    num_shown: int
    num_explored: int
    num_refused: int

    @property
    def num_failed(self) -> int:
        """How many of its requests were answered with an error."""
        return self.size - sum(self.by_source.values())


class CampaignObserver(Protocol):
    """Is told what happens on one campaign's way, by the event loop: it returns at once, never
    raises."""

    def batch(self, report: BatchReport) -> None:
        """A micro-batch ended."""

    def work(self, trace: Trace) -> None:
        """The work of a micro-batch ended, well or not."""


class Observer(Protocol):
    """Is told what else happens, by the event loop and by threads: it returns at once, never
    raises."""

    def of_campaign(self, campaign: str) -> CampaignObserver:
        """Return who is to be told of a campaign."""

    def in_service(self, releases: Mapping[str, Sequence[str]]) -> None:
        """These are the releases that each campaign answers from now."""

    def error(self, code: str) -> None:
        """A request of any kind was answered with an error of that name."""

    def events(self, num_events: int) -> None:
        """A transaction with these events was committed."""

    def slates(self, outcome: Outcome, num_slates: int) -> None:
        """Slates were stored, or given up."""


class NoObserver:
    """Nobody wants to know."""

    def of_campaign(self, _: str) -> "NoObserver":
        return self

    def batch(self, report: BatchReport) -> None:
        pass

    def work(self, trace: Trace) -> None:
        pass

    def in_service(self, releases: Mapping[str, Sequence[str]]) -> None:
        pass

    def error(self, code: str) -> None:
        pass

    def events(self, num_events: int) -> None:
        pass

    def slates(self, outcome: Outcome, num_slates: int) -> None:
        pass


def report_of(
    answers: Sequence[Answer] | None,
    *,
    size: int,
    latency_s: float,
    queued_s: float,
    serialise_s: float,
    num_refused: int,
) -> BatchReport:
    """Count what a batch was answered with; `answers` is None where it failed."""
    answers = answers or ()
    return BatchReport(
        size=size,
        latency_s=latency_s,
        queued_s=queued_s,
        serialise_s=serialise_s,
        by_source=Counter(answer.source for answer in answers),
        num_degraded=sum(answer.degraded for answer in answers),
        num_shown=sum(len(answer.item_ids) for answer in answers),
        num_explored=sum(
            answer.item_reasons.count(EXPLORATION)
            for answer in answers
            if answer.item_reasons is not None
        ),
        num_refused=num_refused,
    )
