"""How many requests a second are let through."""

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.errors import TooManyRequestsError
from raysys.serving.messages import RankQuery
from raysys.serving.pace import Pace
from tests.unit.serving.world import World, ask, run


def let_through(pace: Pace, times_s: list[float]) -> list[float]:
    through = []
    for now_s in times_s:
        try:
            pace.take(now_s)
        except TooManyRequestsError:
            continue
        through.append(now_s)
    return through


def test_four_times_too_many_come_and_all_that_are_permitted_get_through() -> None:
    pace = Pace(50)
    times_s = [100 + number / 200 for number in range(200 * 60)]
    through = let_through(pace, times_s)
    # 50 a second for 60 seconds, and those of the second before, in which nobody asked.
    assert len(through) == pytest.approx(50 * 60 + 50, abs=1)
    later = [at for at in through if at >= 110]
    assert len(later) == pytest.approx(50 * 50, abs=1)


def test_after_a_pause_a_second_of_requests_may_come_at_once_and_no_more() -> None:
    pace = Pace(10)
    assert len(let_through(pace, [0.0] * 30)) == 10
    assert len(let_through(pace, [0.25] * 30)) == 2
    assert len(let_through(pace, [1000.0] * 30)) == 10


def test_less_than_one_a_second_is_one_now_and_then() -> None:
    assert let_through(Pace(0.5), [0, 1, 2, 3, 4, 5]) == [0, 2, 4]


def test_without_a_limit_all_come_through() -> None:
    assert len(let_through(Pace(None), [0.0] * 1000)) == 1000


@given(
    per_s=st.floats(0.1, 1000),
    gaps_s=st.lists(st.floats(0, 3), min_size=1, max_size=60),
)
def test_in_no_time_more_come_through_than_are_permitted(per_s: float, gaps_s: list[float]) -> None:
    times_s = [sum(gaps_s[:number]) for number in range(1, len(gaps_s) + 1)]
    through = let_through(Pace(per_s), times_s)
    assert through[:1] == times_s[:1]
    for first, at_s in enumerate(through):
        for last in range(first, len(through)):
            permitted = max(1.0, per_s) + (through[last] - at_s) * per_s
            assert last - first + 1 <= permitted + 1e-6


def test_gateways_share_the_limit_and_both_kinds_of_lists_count(tmp_path: Path) -> None:
    world = World(tmp_path, max_requests_per_s=6, num_gateways=2)

    async def scenario() -> None:
        asked = [ask(world, "anna"), ask(world, "bert")]
        ranked = [world.engine.rank(RankQuery("anna", ["i01", "i02"])) for _ in range(6)]
        found = await asyncio.gather(*asked, *ranked, return_exceptions=True)
        assert [isinstance(each, TooManyRequestsError) for each in found] == [False] * 3 + [
            True
        ] * 5

    run(world, scenario)
