"""Lists that clients bring, ranked by the engine over a real index in this process."""

import asyncio
import math
from pathlib import Path

import pytest

from raysys.serving.messages import Answer, RankQuery
from tests.unit.serving.world import (
    HISTORIES,
    ITEM_IDS,
    RELEASE,
    World,
    ask,
    click,
    ranked,
    run,
)

SOME = [ITEM_IDS[place] for place in (40, 7, 1, 33, 2, 59, 0, 58)]


async def rank(world: World, user_id: str, *item_ids: str) -> Answer:
    return await world.engine.rank(RankQuery(user_id, list(item_ids)))


@pytest.mark.parametrize("num_shards", [1, 2, 4])
def test_items_stand_in_the_order_in_which_recommendations_have_them(
    tmp_path: Path, num_shards: int
) -> None:
    world = World(tmp_path, num_shards=num_shards, exclude_seen=False)

    async def scenario() -> None:
        for user, history in HISTORIES.items():
            answer, whole = await asyncio.gather(rank(world, user, *SOME), ask(world, user, 500))
            everything = whole.item_ids
            assert everything == ranked(history, len(ITEM_IDS), [])
            assert answer.item_ids == sorted(SOME, key=everything.index)
            assert (answer.source, answer.reason, answer.degraded) == ("model", None, False)
            assert answer.release == RELEASE
            assert answer.scores is not None
            assert whole.scores is not None
            assert sum(score or math.nan for score in answer.scores) == pytest.approx(1)
            # The softmax over fewer items: shares stay as they are among all.
            shares = [whole.scores[everything.index(item)] for item in answer.item_ids]
            assert answer.scores == pytest.approx([share / sum(shares) for share in shares])

    run(world, scenario)


def test_what_a_user_has_seen_is_ranked_too_and_an_event_counts_at_once(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        seen = [ITEM_IDS[num - 1] for num in HISTORIES["anna"]]
        before = await rank(world, "anna", *seen, *SOME)
        assert set(before.item_ids) == {*seen, *SOME}
        await world.engine.put_events([click("anna", ITEM_IDS[30])])
        after = await rank(world, "anna", *seen, *SOME)
        history = [*HISTORIES["anna"], 31]
        everything = ranked(history, len(ITEM_IDS), [])
        assert after.item_ids == sorted({*seen, *SOME}, key=everything.index)
        assert after.item_ids != before.item_ids

    run(world, scenario)


def test_unknown_items_come_last_as_they_came_and_without_scores(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        answer = await rank(world, "anna", "z", SOME[0], "a", SOME[1], "z", SOME[0])
        assert sorted(answer.item_ids[:2]) == sorted(SOME[:2])
        assert answer.item_ids[2:] == ["z", "a"]
        assert answer.scores is not None
        assert [score is None for score in answer.scores] == [False, False, True, True]
        unknown = await rank(world, "anna", "z", "a")
        assert (unknown.item_ids, unknown.scores) == (["z", "a"], None)
        assert (unknown.reason, unknown.degraded) == ("unknown-items", False)

    run(world, scenario)


def test_for_a_stranger_items_stand_by_popularity(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        popular = world.release.items.ids_of(world.release.popular)
        answer = await rank(world, "a stranger", "z", *SOME)
        assert answer.item_ids == [*sorted(SOME, key=popular.index), "z"]
        assert (answer.source, answer.reason, answer.scores) == ("popular", "unknown-user", None)

    run(world, scenario)


def test_items_of_a_shard_that_is_away_follow_by_popularity(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        whole = await rank(world, "anna", *SOME)
        world.served.lists._item_vectors._cached.clear()
        world.shards[1].is_down = True
        answer = await rank(world, "anna", *SOME)
        assert answer.degraded
        assert answer.source == "model"
        assert answer.scores is not None
        num_scored = sum(score is not None for score in answer.scores)
        assert 0 < num_scored < len(SOME)
        scored, left = answer.item_ids[:num_scored], answer.item_ids[num_scored:]
        assert scored == [item for item in whole.item_ids if item in scored]
        popular = world.release.items.ids_of(world.release.popular)
        assert left == sorted(left, key=popular.index)
        world.shards[0].is_down = True
        world.served.lists._item_vectors._cached.clear()
        answer = await rank(world, "anna", *SOME)
        assert answer.item_ids == sorted(SOME, key=popular.index)
        assert (answer.source, answer.reason) == ("popular", "index-unavailable")
        assert answer.degraded

    run(world, scenario)


def test_a_ranked_list_is_remembered_as_what_it_had_to_be(tmp_path: Path) -> None:
    world = World(tmp_path, exploration_weight=1)

    async def scenario() -> None:
        answer = await rank(world, "anna", *SOME)
        await world.close()
        [slate] = world.store.slates
        assert slate.item_ids == tuple(answer.item_ids)
        assert slate.recommendation_id == answer.recommendation_id
        assert (slate.user_id, slate.policy, slate.propensities) == ("anna", "none", (1.0,) * 8)

    asyncio.run(scenario())


def test_vectors_of_items_are_asked_for_once(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        for user in HISTORIES:
            await rank(world, user, *SOME)
        asked = [num for shard in world.shards for lookup in shard.lookups for num in lookup]
        assert sorted(asked) == sorted(ITEM_IDS.index(item) + 1 for item in SOME)

    run(world, scenario)
