"""Several campaigns in one gateway, and shares of users. Run: pytest tests/unit/serving"""

import asyncio
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raysys.errors import (
    InvalidInputError,
    ResourceNotFoundError,
    TooManyRequestsError,
    UnavailableError,
)
from raysys.serving.log_lines import REQUEST_ID
from raysys.serving.messages import Query, RankQuery
from raysys.serving.served import Campaign
from raysys.state.campaigns import CampaignVersion, Plan, Variant
from tests.unit.serving.world import World, run, version


def shared(campaign: str, *shares: float, lane: Callable[[str], Any] = str) -> Campaign:
    """Return a campaign whose lanes are made of names alone."""
    variants = tuple(Variant("", f"r{number}", share) for number, share in enumerate(shares))
    whole = CampaignVersion(campaign, 1, "", Plan(variants), "serving", "", 0)
    return Campaign.of_version(whole, lambda _, release: lane(release))


def test_users_are_shared_out_by_their_ids_as_it_was_said() -> None:
    users = [f"user-{number}" for number in range(20_000)]
    home = shared("home", 9, 1)
    lanes: list[Any] = [home.lane_for(user) for user in users]
    # 2,000 are expected, with a standard deviation of 42.
    assert abs(Counter(lanes)["r1"] - 2_000) < 4 * 42
    assert lanes == [home.lane_for(user) for user in users]
    larger: list[Any] = [shared("home", 8, 2).lane_for(user) for user in users]
    moved = [pair for pair in zip(lanes, larger, strict=True) if pair[0] != pair[1]]
    assert set(moved) == {("r0", "r1")}  # who had the new release keeps it
    elsewhere: list[Any] = [shared("mail", 9, 1).lane_for(user) for user in users]
    both = sum(pair == ("r1", "r1") for pair in zip(lanes, elsewhere, strict=True))
    assert abs(both - 200) < 4 * 14  # one campaign's shares say nothing of another's


class Half:
    """A lane that answers with the release that it is for."""

    def __init__(self, release: str) -> None:
        self._release = release

    async def recommend(self, _: Query) -> str:
        return self._release


def test_requests_of_nobody_are_shared_out_each_by_itself_and_again_as_before(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)
    home: Any = shared("home", 1, 1, lane=Half)
    world.engine._campaigns = {"home": home}

    async def asked(query: Query, request_id: str | None = None) -> Any:
        token = REQUEST_ID.set(request_id)
        try:
            return await world.engine.recommend(query)
        finally:
            REQUEST_ID.reset(token)

    async def scenario() -> None:
        nobody = Query(None, None, 5)
        by_chance = Counter([await asked(nobody) for _ in range(2_000)])
        assert abs(by_chance["r0"] - 1_000) < 4 * 23  # the standard deviation is 22.4
        by_id = [await asked(nobody, f"id-{number}") for number in range(200)]
        assert {*by_id} == {"r0", "r1"}
        assert by_id == [await asked(nobody, f"id-{number}") for number in range(200)]
        by_seed = {await asked(Query(None, None, 5, seed=7), f"id-{each}") for each in range(20)}
        assert len(by_seed) == 1
        of_anna = {await asked(Query("anna", "i10", 5), f"id-{each}") for each in range(20)}
        about = {await asked(Query(None, "i10", 5), f"id-{each}") for each in range(20)}
        assert len(of_anna) == len(about) == 1

    run(world, scenario)


def test_one_release_gets_everybody() -> None:
    only: Any = shared("home", 0.2).lane_for("anyone")
    assert only == "r0"


def test_requests_go_to_the_campaign_that_they_name(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=[7, 8, 9])
    world.serve(version("home", 3), version("mail", 5, weight=1.0))

    async def scenario() -> None:
        for campaign, explores in (("home", False), ("mail", True)):
            answer = await world.engine.recommend(Query("anna", None, 5, campaign=campaign))
            assert answer.campaign == campaign
            assert (answer.seed is not None) == explores  # by the weight of the campaign
            ranked = await world.engine.rank(RankQuery("anna", ["i10", "i11"], campaign=campaign))
            assert ranked.campaign == campaign
        asked = Query("anna", None, 5, exploration_weight=0.0, campaign="mail")
        assert (await world.engine.recommend(asked)).seed is None
        with pytest.raises(ResourceNotFoundError, match="no campaign 'shop' here; .* home, mail"):
            await world.engine.recommend(Query("anna", None, 5, campaign="shop"))
        with pytest.raises(InvalidInputError, match=r"several campaigns here \(home, mail\)"):
            await world.engine.recommend(Query("anna", None, 5))
        world.serve(version("home"), version("default"))
        assert (await world.engine.recommend(Query("anna", None, 5))).campaign == "default"
        world.serve(version("home"))
        assert (await world.engine.recommend(Query("anna", None, 5))).campaign == "home"

    run(world, scenario)


def test_what_is_not_served_yet_says_why(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        world.engine.serve([version("mail")], lambda _: world.served, {"home": "it is loading"})
        with pytest.raises(UnavailableError, match="'home' is not served yet: it is loading"):
            await world.engine.recommend(Query("anna", None, 5, campaign="home"))
        ready = await world.engine.ready()  # for those that are served
        assert (set(ready["campaigns"]), ready["waiting"]) == ({"mail"}, {"home": "it is loading"})
        assert (await world.engine.recommend(Query("anna", None, 5, campaign="mail"))).item_ids
        world.engine.serve([], lambda _: None, {"home": "it is loading"})
        with pytest.raises(UnavailableError, match="Not ready.*campaign home: it is loading"):
            await world.engine.ready()
        world.engine.serve([], lambda _: None, {})
        with pytest.raises(UnavailableError, match="there is no campaign"):
            await world.engine.ready()
        with pytest.raises(UnavailableError, match="nothing is deployed"):
            await world.engine.recommend(Query("anna", None, 5))

    run(world, scenario)


def test_each_campaign_has_a_queue_of_its_own_which_a_new_version_takes_over(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, max_queued_requests=1)
    world.serve(version("home"), version("mail"))

    async def scenario() -> None:
        lanes = dict(world.engine._campaigns)
        ask = [Query(user, None, 3, campaign="home") for user in ("anna", "bert")]
        first = asyncio.create_task(world.engine.recommend(ask[0]))
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsError):
            await world.engine.recommend(ask[1])
        other = await world.engine.recommend(Query("carl", None, 3, campaign="mail"))
        assert other.campaign == "mail"
        assert (await first).campaign == "home"
        world.serve(version("home", 2), version("mail", 1, weight=0.5))
        assert world.engine._campaigns["home"].lanes == lanes["home"].lanes
        assert world.engine._campaigns["mail"].lanes != lanes["mail"].lanes  # another weight
        lanes = dict(world.engine._campaigns)
        world.serve(version("home", 2), version("mail", 2, weight=0.5, policy="epsilon-greedy"))
        assert world.engine._campaigns["home"].lanes == lanes["home"].lanes
        assert world.engine._campaigns["mail"].lanes != lanes["mail"].lanes  # another policy

    run(world, scenario)


def test_a_release_is_warm_once_every_part_answers_for_it(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        world.shards[1].is_down = True
        assert not await world.served.warm_up()
        world.shards[1].is_down = False
        assert await world.served.warm_up()
        assert {len(sizes) for sizes in world.encoder.calls} == {3}  # some of the users, at once
        assert world.store.slates == []

    run(world, scenario)
