"""What an observer is told. Run: pytest tests/unit/serving/test_observer.py"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from raysys.serving.messages import Answer, Query
from raysys.serving.observer import BatchReport, Trace, report_of
from raysys.state.filters import NamedFilter
from tests.unit.serving.world import RELEASE, World, click

TIMES = {"latency_s": 0.5, "queued_s": 0.25, "serialise_s": 0.125}


class Notebook:
    """Remembers what it is told."""

    def __init__(self) -> None:
        self.campaigns: list[str] = []
        self.releases: Mapping[str, Sequence[str]] = {}
        self.batches: list[BatchReport] = []
        self.traces: list[Trace] = []
        self.num_events: list[int] = []
        self.num_slates: Counter[str] = Counter()

    def of_campaign(self, campaign: str) -> "Notebook":
        self.campaigns.append(campaign)
        return self

    def in_service(self, releases: Mapping[str, Sequence[str]]) -> None:
        self.releases = releases

    def batch(self, report: BatchReport) -> None:
        self.batches.append(report)

    def work(self, trace: Trace) -> None:
        self.traces.append(trace)

    def error(self, code: str) -> None:
        pass

    def events(self, num_events: int) -> None:
        self.num_events.append(num_events)

    def slates(self, outcome: str, num_slates: int) -> None:
        self.num_slates[outcome] += num_slates


def answer(source: str, *reasons: str | None, degraded: bool = False) -> Answer:
    return Answer(
        item_ids=["i"] * len(reasons),
        scores=None,
        recommendation_id="r",
        release="a",
        source=source,  # type: ignore[arg-type]
        degraded=degraded,
        item_reasons=list(reasons) if any(reasons) else None,
    )


def test_a_batch_is_counted_by_source_and_by_explored_positions() -> None:
    answers = [
        answer("model", None, "Exploration", "Exploration"),
        answer("model", None, None, degraded=True),
        answer("popular", "Exploration"),
    ]
    report = report_of(answers, size=3, num_refused=2, **TIMES)
    assert report.by_source == {"model": 2, "popular": 1}
    assert (report.num_shown, report.num_explored) == (6, 3)
    assert (report.num_degraded, report.num_failed, report.num_refused) == (1, 0, 2)


def test_all_requests_of_a_batch_without_answers_failed() -> None:
    report = report_of(None, size=5, num_refused=0, **TIMES)
    assert (report.num_failed, report.num_shown, report.by_source) == (5, 0, {})


def test_the_engine_tells_of_each_batch_once_and_of_refusals_with_the_next_one(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        notebook = Notebook()
        world = World(tmp_path, observer=notebook, max_queued_requests=2)
        engine = world.engine
        assert (notebook.campaigns, notebook.releases) == (["default"], {"default": [RELEASE]})
        queries = [Query("anna", None, 3), Query(None, "i05", 2), Query("bert", None, 1)]
        outcomes = await asyncio.gather(
            *(engine.recommend(query) for query in queries), return_exceptions=True
        )
        assert [isinstance(outcome, Answer) for outcome in outcomes] == [True, True, False]
        await engine.recommend(Query("a stranger", None, 4))
        first, second = notebook.batches
        assert (first.size, first.by_source) == (2, {"model": 1, "similar-items": 1})
        assert (first.num_shown, first.num_refused) == (5, 1)
        assert (second.size, second.by_source, second.num_shown) == (1, {"popular": 1}, 4)
        assert second.num_refused == 0
        await world.close()

    asyncio.run(scenario())


def test_the_engine_tells_of_events_when_they_are_committed_and_of_no_others(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        notebook = Notebook()
        world = World(tmp_path, observer=notebook)
        engine = world.engine
        await engine.put_events([click("anna", "i09"), click("anna", "i10")])
        assert notebook.num_events == [2]
        await world.close()

    asyncio.run(scenario())


def test_the_engine_tells_what_each_stage_took_and_which_queries_were_encoded_before(
    tmp_path: Path,
) -> None:
    async def scenario() -> None:
        notebook = Notebook()
        world = World(tmp_path, observer=notebook)
        engine = world.engine
        anna, stranger = Query("anna", None, 3), Query("a stranger", None, 3, exploration_weight=0)
        same, _ = await asyncio.gather(engine.recommend(anna), engine.recommend(anna))
        engine.serialised(same, 0.25)
        engine.serialised(same, 0.5)
        await engine.recommend(anna)
        await engine.recommend(stranger)
        first, second, third = notebook.traces
        assert [(trace.num_encoded, trace.num_cached) for trace in notebook.traces[:2]] == [
            (1, 0),
            (0, 1),
        ]
        assert set(first.seconds) >= {"read", "encode", "search", "finish"}
        assert "encode" not in second.seconds
        assert "search" not in third.seconds
        assert all(each > 0 for trace in notebook.traces for each in trace.seconds.values())
        assert [report.serialise_s for report in notebook.batches] == [0, 0.75, 0]
        await world.close()

    asyncio.run(scenario())


def test_only_batches_with_filters_have_a_stage_of_filters(tmp_path: Path) -> None:
    async def scenario() -> None:
        notebook = Notebook()
        world = World(tmp_path, observer=notebook)
        even = NamedFilter("even", "arn", 'INCLUDE ItemID WHERE Items.KIND = "even"', 1)
        world.store.filters.create(even)
        await world.engine.recommend(Query("anna", None, 3))
        await world.engine.recommend(Query("anna", None, 3, filter_name="even"))
        await world.engine.recommend(Query(None, "i05", 3, filter_name="even"))
        assert ["filter" in trace.seconds for trace in notebook.traces] == [False, True, True]
        world.store.hide_items(["i03"])
        world.follow()
        await world.engine.recommend(Query("anna", None, 3))
        await world.engine.recommend(Query("a stranger", None, 3))  # of popular lists, hidden ones
        assert ["filter" in trace.seconds for trace in notebook.traces[3:]] == [False, True]
        await world.close()

    asyncio.run(scenario())


def test_a_batch_that_fails_is_traced_all_the_same(tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError

    async def scenario() -> None:
        notebook = Notebook()
        world = World(tmp_path, observer=notebook)
        engine = world.engine
        engine.state.user_states = fail  # type: ignore[assignment]
        with pytest.raises(RuntimeError):
            await engine.recommend(Query("anna", None, 3))
        assert [list(trace.seconds) for trace in notebook.traces] == [["read"]]
        assert notebook.batches[0].num_failed == 1
        await world.close()

    asyncio.run(scenario())
