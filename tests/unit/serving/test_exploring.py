"""Lists that explore, from the engine's point of view, over a real index in this process."""

import asyncio
import dataclasses
import math
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from raysys.config import ExplorationPolicy
from raysys.policy.candidates import FreshCandidates
from raysys.policy.slot_mixture import mix
from raysys.serving import exploring
from raysys.serving.answering import _slate_of
from raysys.serving.asked import Asked
from raysys.serving.exploring import _show
from raysys.serving.messages import Answer, Query
from raysys.serving.ranking import Ranked
from raysys.state.items import Item
from raysys.state.slates import Slate
from tests.unit.serving.test_engine import ranked, run
from tests.unit.serving.world import HISTORIES, World, click, item_ids, shard_of, version

FRESH = [7, 8, 20, 21, 33, 34, 40, 50]
ANNAS = ranked([1, 2, 3], 10, [1, 2, 3])


def ask(
    world: World,
    user_id: str | None = "anna",
    *,
    item_id: str | None = None,
    k: int = 10,
    weight: float | None = None,
    seed: int | None = None,
    policy: ExplorationPolicy | None = None,
) -> Awaitable[Answer]:
    query = Query(
        user_id, item_id, k, exploration_weight=weight, seed=seed, exploration_policy=policy
    )
    return world.engine.recommend(query)


def explored(answer: Answer) -> list[str]:
    reasons = answer.item_reasons or [None] * len(answer.item_ids)
    pairs = zip(answer.item_ids, reasons, strict=True)
    return [item_id for item_id, reason in pairs if reason == "Exploration"]


async def slates(world: World) -> dict[str, Slate]:
    await world.close()
    return {slate.recommendation_id: slate for slate in world.store.slates}


def test_weight_0_is_the_relevance_order_whatever_is_fresh(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=0.9)

    async def scenario() -> None:
        for seed in range(20):
            answer = await ask(world, weight=0, seed=seed)
            assert answer.item_ids == ANNAS
            assert (answer.item_reasons, answer.seed, answer.delta_version) == (None, None, None)
        assert all(request.exploration is None for request in world.shards[0].requests)

    run(world, scenario)


def test_a_seed_gives_one_list_and_an_answer_names_the_seed_that_gave_it(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=0.5)

    async def scenario() -> None:
        first = await ask(world)
        assert first.seed is not None
        assert 0 <= first.seed < 2**63
        again = await ask(world, seed=first.seed)
        assert (again.item_ids, again.item_reasons) == (first.item_ids, first.item_reasons)
        assert (again.seed, again.scores) == (first.seed, first.scores)
        lists = {tuple((await ask(world, seed=seed)).item_ids) for seed in range(20)}
        assert len(lists) > 10

    run(world, scenario)


def test_requests_of_one_batch_draw_by_their_own_policies(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=1)

    async def scenario() -> None:
        names: list[ExplorationPolicy | None] = ["epsilon-greedy", None, "none"] * 10
        answers = await asyncio.gather(
            *(ask(world, k=3, seed=5, policy=name) for name in names),
            ask(world, "a stranger", k=3, seed=5, policy="none"),
        )
        assert world.shards[0].batch_sizes == [30]  # the stranger's list is popular
        remembered = await slates(world)
        found = [remembered[answer.recommendation_id] for answer in answers]
        for slate in found[0:30:3]:
            assert (slate.policy, slate.num_fresh) == ("epsilon-greedy", 8)
            assert slate.propensities == pytest.approx((1 / 8, 1 / 7, 1 / 6))
            assert slate.item_ids == found[0].item_ids
        for slate in found[1:30:3]:
            assert slate.policy == "slot-mixture"
            assert slate.propensities != pytest.approx((1 / 8, 1 / 7, 1 / 6))
            assert len(slate.explored) == 3
        for slate in found[2:30:3]:
            assert (slate.policy, slate.exploration_weight) == ("none", 0.0)
            assert slate.num_fresh is None
            assert slate.item_ids == tuple(ANNAS[:3])
        assert found[30].explored == ()

    run(world, scenario)


def test_who_draws_by_another_policy_in_one_batch_gets_what_they_get_alone(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=0.7)

    async def scenario() -> None:
        names: list[ExplorationPolicy] = ["epsilon-greedy", "slot-mixture", "thompson-sampling"]
        asks: list[Callable[[], Awaitable[Answer]]] = [
            partial(ask, world, user, k=6, seed=seed, policy=names[seed % 3])
            for seed, user in enumerate(["anna", "bert", "carl", "anna"] * 2)
        ]
        alone = [(await each()).item_ids for each in asks]
        together = await asyncio.gather(*(each() for each in asks))
        assert [answer.item_ids for answer in together] == alone
        assert world.shards[0].batch_sizes[-1] == 8

    run(world, scenario)


def test_thompson_sampling_logs_chances_and_says_where_it_leaves_items_out(tmp_path: Path) -> None:
    world = World(tmp_path, exploration_weight=1, exploration_policy="thompson-sampling")
    world.put(*(Item(f"n{n}", '{"like": 5}') for n in range(2)))

    async def scenario() -> None:
        of_two = await ask(world, k=2, seed=1)
        world.put(*(Item(f"n{n}", '{"like": 5}') for n in range(2, 70)))
        of_70 = await ask(world, k=2, seed=1)
        found = await slates(world)
        slate = found[of_two.recommendation_id]
        assert {*slate.item_ids} == {"n0", "n1"}
        assert slate.propensities == pytest.approx((0.5, 1.0), abs=1e-3)  # two of one worth
        assert slate.num_fresh == 2
        slate = found[of_70.recommendation_id]
        assert slate.propensities[0] == pytest.approx(1 / 64, abs=1e-3)
        assert slate.num_fresh is None

    run(world, scenario)


@pytest.mark.parametrize("policy", ["epsilon-greedy", "slot-mixture", "thompson-sampling", "none"])
def test_a_campaign_has_a_policy_of_its_own_and_a_request_may_name_another(
    tmp_path: Path, policy: ExplorationPolicy
) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=0.9)
    other: ExplorationPolicy = "slot-mixture" if policy == "epsilon-greedy" else "epsilon-greedy"

    async def scenario() -> None:
        answers = [await ask(world)]
        world.serve(version(number=2, policy=policy))
        answers += [await ask(world), await ask(world, policy=other)]
        found = await slates(world)
        policies = [found[answer.recommendation_id].policy for answer in answers]
        assert policies == ["slot-mixture", policy, other]  # the first is the server's

    run(world, scenario)


@pytest.mark.parametrize("policy", ["slot-mixture", "thompson-sampling"])
def test_a_list_does_not_depend_on_how_the_index_is_cut_into_shards(
    tmp_path: Path, policy: ExplorationPolicy
) -> None:
    found: list[list[Slate]] = []
    for num_shards in (1, 2, 4):
        directory = tmp_path / str(num_shards)
        directory.mkdir()
        world = World(directory, fresh=FRESH, exploration_weight=0.5, num_shards=num_shards)
        world.put(Item("new", '{"like": 5}'))

        async def scenario(world: World = world) -> None:
            for user in ("anna", "a stranger"):
                for seed in range(10):
                    await ask(world, user, seed=seed, policy=policy)
            found.append(list((await slates(world)).values()))

        run(world, scenario)
    for others in found[1:]:
        for slate, other in zip(found[0], others, strict=True):
            assert slate.item_ids == other.item_ids
            assert slate.explored == other.explored
            assert slate.fresh_item_ids == other.fresh_item_ids
            assert slate.propensities == pytest.approx(other.propensities)


def test_a_query_gets_the_same_alone_and_in_company(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=0.5)

    async def scenario() -> None:
        asks: list[Callable[[], Awaitable[Answer]]] = [
            lambda: ask(world, "anna", seed=1),
            lambda: ask(world, "bert", k=40, seed=2),
            lambda: ask(world, "carl", weight=0),
            lambda: ask(world, "a stranger", k=3, seed=3),
            lambda: ask(world, None, item_id="i16", k=5),
            lambda: ask(world, "another stranger", weight=0),
        ]
        alone = [await each() for each in asks]
        together = await asyncio.gather(*(each() for each in asks))
        assert world.shards[0].batch_sizes[-1] == 5  # but for the stranger who does not explore
        for one, other in zip(alone, together, strict=True):
            assert one.item_ids == other.item_ids
            assert one.item_reasons == other.item_reasons

    run(world, scenario)


def test_a_large_batch_gets_what_each_query_gets_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exploring, "_PLACES_AT_ONCE", 169)  # 16 lists
    world = World(tmp_path, fresh=FRESH, exploration_weight=0.5)

    async def scenario() -> None:
        together = await asyncio.gather(*(ask(world, seed=seed) for seed in range(40)))
        assert world.shards[0].batch_sizes == [40]
        for seed in (0, 15, 16, 17, 31, 32, 39):  # where one step of mixing ends and begins
            alone = await ask(world, seed=seed)
            assert alone.item_ids == together[seed].item_ids
            assert alone.item_reasons == together[seed].item_reasons

    run(world, scenario)


def test_weight_1_shows_every_fresh_item_first_and_then_what_is_relevant(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=1)

    async def scenario() -> None:
        answer = await ask(world, k=20, seed=5)
        assert sorted(answer.item_ids[:8]) == item_ids(FRESH)
        assert explored(answer) == answer.item_ids[:8]
        relevant = ranked([1, 2, 3], 28, [1, 2, 3])
        rest = [item_id for item_id in relevant if item_id not in item_ids(FRESH)]
        assert answer.item_ids[8:] == rest[:12]
        scores = answer.scores or []
        assert scores[:8] == [None] * 8
        assert None not in scores[8:]

    run(world, scenario)


def test_what_a_user_has_seen_is_not_explored_new_or_not(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=[1, 2, 7], exploration_weight=1)
    world.put(Item("new", '{"like": 5}'), Item("newer", '{"like": 5}'))

    async def scenario() -> None:
        assert sorted(explored(await ask(world, "anna"))) == ["i06", "new", "newer"]
        await world.engine.put_events([click("anna", "new"), click("anna", "i06")])
        assert explored(await ask(world, "anna")) == ["newer"]
        bert = sorted(explored(await ask(world, "bert")))
        assert bert == ["i00", "i01", "i06", "new", "newer"]

    run(world, scenario)


def test_with_seen_items_allowed_they_may_be_explored_as_well(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=[1, 2], exploration_weight=1, exclude_seen=False)

    async def scenario() -> None:
        assert sorted(explored(await ask(world, "anna"))) == ["i00", "i01"]

    run(world, scenario)


def test_a_stranger_explores_beside_the_popular_list(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=[7], exploration_weight=0.5)
    popular = item_ids([3, 1, 2, 5, 60])

    async def scenario() -> None:
        answers = [await ask(world, "a stranger", k=5, seed=seed) for seed in range(20)]
        for answer in answers:
            assert (answer.source, answer.reason) == ("popular", "unknown-user")
            assert [item for item in answer.item_ids if item != "i06"] == (
                popular[:4] if explored(answer) else popular
            )
        assert 10 < sum(bool(explored(answer)) for answer in answers) <= 20
        assert world.encoder.calls == [["a stranger"]]  # once, and nothing is known of them

    run(world, scenario)


def test_the_slate_holds_the_chance_of_every_place(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=[7], exploration_weight=0.25)  # one fresh item, or none

    async def scenario() -> None:
        answers = [await ask(world, k=4, seed=seed) for seed in range(40)]
        remembered = await slates(world)
        places = set()
        for seed, answer in enumerate(answers):
            slate = remembered[answer.recommendation_id]
            assert (slate.policy, slate.exploration_weight) == ("slot-mixture", 0.25)
            assert (slate.seed, slate.item_ids) == (seed, tuple(answer.item_ids))
            assert slate.fresh_item_ids == tuple(explored(answer))
            place = answer.item_ids.index("i06") if "i06" in answer.item_ids else 4
            # Above it relevance won three times in four; below it there was nothing to explore.
            expected = [0.75] * place + [0.25] + [1.0] * 3
            assert slate.propensities == pytest.approx(expected[:4])
            assert slate.explored == ((place,) if place < 4 else ())
            places.add(place)
            assert slate.num_fresh == 1
        assert places == {0, 1, 2, 3, 4}

    run(world, scenario)


@pytest.mark.parametrize(("days", "num_left"), [(1e-15, 0), (90.0, 2), (None, 2)])
def test_lists_are_kept_for_as_long_as_it_is_set(
    tmp_path: Path, days: float | None, num_left: int
) -> None:
    world = World(tmp_path, fresh=FRESH, slate_retention_days=days)

    async def scenario() -> None:
        await asyncio.gather(ask(world), ask(world))
        await slates(world)  # all that was answered is stored by now
        assert world.store.log.end().slate_num == num_left

    run(world, scenario)


def test_days_are_days(tmp_path: Path) -> None:
    world = World(tmp_path, slate_retention_days=2)

    async def scenario() -> None:
        assert world.engine._recorder._retention_s == 2 * 24 * 60 * 60

    run(world, scenario)


def test_the_slate_knows_which_drawn_items_were_relevant_too(tmp_path: Path) -> None:
    # What is best for anna is fresh, and so is an item that she would not get so soon.
    best = int(ANNAS[0][1:]) + 1
    world = World(tmp_path, fresh=[best, 7], exploration_weight=0.5)

    async def scenario() -> None:
        answers = [await ask(world, k=3, seed=seed) for seed in range(30)]
        remembered = await slates(world)
        ways = set()
        for answer in answers:
            slate = remembered[answer.recommendation_id]
            above: list[str] = []
            for item_id, way in zip(slate.item_ids, slate.came_as(), strict=True):
                following = next(item for item in ANNAS if item not in above)
                drawn = item_id in explored(answer)
                both = "both" if item_id == following else "explored"
                assert way == (both if drawn else "relevant")
                above.append(item_id)
                ways.add(way)
        assert ways == {"relevant", "explored", "both"}

    run(world, scenario)


def test_the_slate_knows_which_places_had_to_draw() -> None:
    # 3 is relevant and fresh, 4 only fresh: once both relevant ones stand, nothing else is left.
    fresh = FreshCandidates(np.array([3, 4]), np.zeros(2), np.array([2.0, 1.0]), log_rest=-math.inf)
    slate = mix(np.array([3, 2]), fresh, 3, 0.5, np.array([0.1, 0.9, 0.9]))
    asked = Asked(Query("anna", None, 3), weight=0.5)
    _show([asked], [Ranked(np.array([3, 2]))], slate)
    answer = Answer(["i02", "i01", "i03"], None, "RID-1", "r-1", "model")
    stored = _slate_of(asked, asked.shown.mixture, answer, 1)
    assert stored.explored == (0, 2)
    assert stored.came_as() == ["both", "relevant", "rest"]


def test_a_fresh_item_counts_as_shown_when_it_is_relevant_too(tmp_path: Path) -> None:
    numbers = [int(item_id[1:]) + 1 for item_id in ANNAS]
    world = World(tmp_path, fresh=numbers[:2], exploration_weight=1e-12)

    async def scenario() -> None:
        answer = await ask(world, k=3, seed=1)
        assert answer.item_ids == ANNAS[:3]
        assert answer.item_reasons is None
        (slate,) = (await slates(world)).values()
        assert slate.fresh_item_ids == tuple(ANNAS[:2])
        counts = {count.item_id: count.impressions for count in world.store.changes(0).counts}
        assert counts == dict.fromkeys(ANNAS[:2], 1)

    run(world, scenario)


def test_an_item_that_was_shown_and_ignored_sinks_and_rises_when_it_is_clicked(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, exploration_weight=1)
    world.put(Item("a", '{"like": 5}'), Item("b", '{"like": 5}'))  # of one score for everybody

    async def scenario() -> None:
        shown = (await ask(world, k=1, seed=1)).item_ids[0]
        await impressions(world, 1)
        ignored = await ask(world, k=1, seed=2)
        await world.engine.put_events([click("bert", shown)])
        await impressions(world, 2)
        clicked = await ask(world, k=1, seed=2)
        remembered = await slates(world)

        def chance(answer: Answer) -> float:
            (propensity,) = remembered[answer.recommendation_id].propensities
            return propensity if answer.item_ids == [shown] else 1 - propensity

        def appeal(impressions: int, clicks: int, click_rate: float) -> float:
            expected = 2 + click_rate * impressions
            return 10 * math.log((2 + clicks) / expected) + 3 * math.sqrt(2 / expected)

        # Of one impression without a click, 1 / 21 clicks were to be expected.
        gap = appeal(0, 0, 1 / 21) - appeal(1, 0, 1 / 21)
        assert chance(ignored) == pytest.approx(1 / (1 + math.exp(gap)))
        # Of two impressions and a click, 2 / 22 of each.
        times = 2 if ignored.item_ids == [shown] else 1
        gap = appeal(times, 1, 1 / 11) - appeal(2 - times, 0, 1 / 11)
        assert chance(clicked) == pytest.approx(1 / (1 + math.exp(-gap)))

    run(world, scenario)


async def impressions(world: World, count: int) -> None:
    """Return when so many impressions are stored, and every shard knows of them."""
    while sum(each.impressions for each in world.store.changes(0).counts) < count:
        await asyncio.sleep(0.001)
    world.follow()


def test_similar_items_do_not_explore(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH)

    async def scenario() -> None:
        plain = await ask(world, None, item_id="i16")
        answer = await ask(world, None, item_id="i16", weight=1, seed=1)
        assert answer.item_ids == plain.item_ids
        assert (answer.item_reasons, answer.seed) == (None, None)

    run(world, scenario)


def test_the_items_of_a_shard_that_is_down_are_not_explored(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=1)

    async def scenario() -> None:
        world.shards[1].is_down = True
        there = [item_id for item_id in item_ids(FRESH) if shard_of(item_id) == 0]
        for user in ("anna", "a stranger"):
            answer = await ask(world, user)
            assert sorted(explored(answer)) == there
            assert answer.degraded
        world.shards[0].is_down = True
        for user, source in (("bert", "index-unavailable"), ("a stranger", "unknown-user")):
            answer = await ask(world, user)
            assert (answer.item_reasons, answer.seed, answer.delta_version) == (None, None, None)
            assert (answer.reason, answer.degraded) == (source, True)
            assert len(answer.item_ids) == 10

    run(world, scenario)


def test_without_the_encoder_a_known_user_explores_beside_the_popular_list(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=[7], exploration_weight=1)

    async def scenario() -> None:
        world.encoder.is_down = True
        answer = await ask(world, "bert", k=3)
        assert answer.item_ids == item_ids([7, 1, 2])  # bert has seen 3 and 5
        assert (answer.source, answer.reason) == ("popular", "encoder-unavailable")
        assert answer.degraded

    run(world, scenario)


def test_an_answer_knows_as_much_as_the_shard_that_knows_least(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=1)
    for shard, known in zip(world.shards, (7, 5), strict=True):
        shard.pool = dataclasses.replace(shard.pool, version=known)

    async def scenario() -> None:
        assert (await ask(world)).delta_version == 5
        world.shards[1].is_down = True
        assert (await ask(world)).delta_version == 7

    run(world, scenario)


def test_nothing_fresh_leaves_the_relevance_order_and_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, exploration_weight=0.5)

    async def scenario() -> None:
        answer = await ask(world, seed=3)
        assert answer.item_ids == ANNAS
        assert (answer.item_reasons, answer.seed, answer.delta_version) == (None, 3, 0)
        (slate,) = (await slates(world)).values()
        assert slate.propensities == (1.0,) * 10

    run(world, scenario)


def test_who_has_seen_everything_released_gets_what_is_new(tmp_path: Path) -> None:
    world = World(tmp_path, exploration_weight=1)
    world.put(Item("new", '{"like": 5}'))

    async def scenario() -> None:
        everything = item_ids(range(1, 61))
        await world.engine.put_events([click("anna", item_id) for item_id in everything])
        answer = await ask(world)
        assert (answer.item_ids, answer.item_reasons) == (["new"], ["Exploration"])
        assert answer.reason is None

    run(world, scenario)


def test_histories_stay_what_they_are_while_lists_explore(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=FRESH, exploration_weight=0.5)

    async def scenario() -> None:
        for _ in range(3):
            await asyncio.gather(*(ask(world, user) for user in HISTORIES))
        assert world.encoder.calls == [list(HISTORIES)]
        assert world.shards[0].batch_sizes == [3, 3, 3]  # still one call per batch

    run(world, scenario)
