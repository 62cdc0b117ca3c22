"""Campaigns of recipes that know no users: everybody gets what is popular, or what gains."""

import asyncio
from pathlib import Path

import pytest

from raysys.errors import InvalidInputError
from raysys.serving import catalogue_now
from raysys.serving.item_metadata import BECAUSE_OF
from raysys.serving.messages import Promotion, Query, RankQuery, Source
from raysys.state.events import Event
from raysys.state.items import Item
from tests.unit.serving.test_filters import EVEN, filtered_world
from tests.unit.serving.world import HISTORIES, ITEM_IDS, World, ask, click, item_ids, run

OLD_US = 10**15


def in_order(world: World) -> list[str]:
    """Return all items as everybody's list has them."""
    return item_ids(world.release.popular.tolist())


@pytest.mark.parametrize("source", ["popular", "trending"])
def test_everybody_gets_it_without_what_they_have_seen_and_without_scores(
    tmp_path: Path, source: Source
) -> None:
    world = World(tmp_path, for_everybody=source, fresh=range(30, 61), exploration_weight=1.0)

    async def scenario() -> None:
        await world.engine.put_events([click("anna", ITEM_IDS[4])])
        people = {**HISTORIES, "anna": [1, 2, 3, 5], "a stranger": []}
        answers = await asyncio.gather(
            *(ask(world, user) for user in people),
            world.engine.recommend(Query("bert", "i16", 10, exploration_weight=1.0)),
        )
        for answer, seen in zip(answers, [*people.values(), HISTORIES["bert"]], strict=True):
            expected = [each for each in in_order(world) if each not in item_ids(seen)]
            assert answer.item_ids == expected[:10]
            assert (answer.source, answer.reason, answer.degraded) == (source, None, False)
            assert (answer.scores, answer.item_reasons, answer.seed) == (None, None, None)
        assert not world.encoder.calls
        assert not any(shard.requests for shard in world.shards)

    run(world, scenario)


def test_nobody_in_particular_may_ask_and_whoever_looks_at_an_item(tmp_path: Path) -> None:
    world = filtered_world(tmp_path, for_everybody="trending")

    async def scenario() -> None:
        first = in_order(world)
        assert (await ask(world, None, 5)).item_ids == first[:5]
        even = [each for each in first if each in EVEN]
        filtered = await world.engine.recommend(Query(None, None, 5, filter_name="even"))
        assert filtered.item_ids == even[:5]
        # What somebody looks at is no recommendation; the list is not about it otherwise.
        beside = await world.engine.recommend(Query(None, first[0], 60))
        assert beside.item_ids == first[1:]
        assert (beside.source, beside.reason) == ("trending", None)
        new = await world.engine.recommend(Query(None, "never heard of", 60))
        assert new.item_ids == first
        with pytest.raises(InvalidInputError, match="needs a userId"):
            await world.engine.recommend(Query(None, None, 5, filter_name="for-adults"))

    run(world, scenario)


def test_other_recipes_need_to_know_who_or_what(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        with pytest.raises(InvalidInputError, match="userId and itemId are both null"):
            await ask(world, None)

    run(world, scenario)


def test_lists_of_clients_stand_in_its_order(tmp_path: Path) -> None:
    world = World(tmp_path, for_everybody="trending")

    async def scenario() -> None:
        some = [ITEM_IDS[50], "x", ITEM_IDS[1], ITEM_IDS[2], ITEM_IDS[0]]
        answer = await world.engine.rank(RankQuery("anna", some))
        expected = [each for each in in_order(world) if each in some]
        assert answer.item_ids == [*expected, "x"]
        assert (answer.source, answer.reason, answer.scores) == ("trending", None, None)

    run(world, scenario)


def test_what_was_put_stands_at_its_end_newest_first_and_hidden_items_nowhere(
    tmp_path: Path,
) -> None:
    world = filtered_world(tmp_path, for_everybody="popular")
    world.put(
        Item("older", '{"like": 1, "kind": "even"}', OLD_US),
        Item("newer", '{"like": 2, "kind": "odd"}', OLD_US + 1),
        Item("hidden", '{"like": 3, "kind": "even"}', OLD_US + 2),
    )
    world.store.hide_items(["hidden", ITEM_IDS[2]])
    world.follow()

    async def scenario() -> None:
        first = [each for each in in_order(world) if each != ITEM_IDS[2]]
        assert (await ask(world, None, 500)).item_ids == [*first, "newer", "older"]
        even = await world.engine.recommend(Query("zoe", None, 500, filter_name="even"))
        assert even.item_ids == [*(each for each in first if each in EVEN), "older"]
        assert even.degraded is False
        await world.engine.put_events([click("zoe", "newer")])
        assert (await ask(world, "zoe", 500)).item_ids == [*first, "older"]
        world.put(Item("round", '{"like": 1, "kind": "round"}', OLD_US))
        promotion = Promotion("new", 25, "none")
        promoted = await world.engine.recommend(Query(None, None, 4, promotion=promotion))
        assert set(promoted.item_ids) == {*first[:3], "round"}
        assert "new" in (promoted.promotion_names or [])

    run(world, scenario)


def test_those_after_the_released_ones_stand_by_their_creation(tmp_path: Path) -> None:
    world = World(tmp_path, for_everybody="popular")
    created = {f"p{number}": OLD_US + (number * 7) % 5 for number in range(5)}
    world.put(*(Item(name, '{"like": 1}', at_us) for name, at_us in created.items()))

    async def scenario() -> None:
        shown = (await ask(world, None, 500)).item_ids
        assert shown[60:] == sorted(created, key=lambda name: -created[name])

    run(world, scenario)


def test_of_very_many_new_items_the_newest_are_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue_now, "_MOST_NEW", 2)
    world = World(tmp_path, for_everybody="popular")
    world.put(*(Item(f"p{number}", '{"like": 1}', OLD_US + number) for number in range(5)))
    world.store.hide_items(["p4"])
    world.follow()

    async def scenario() -> None:
        assert (await ask(world, None, 500)).item_ids[60:] == ["p3", "p2"]

    run(world, scenario)


def test_a_past_with_what_was_put_is_brought_back_to_its_user_alone(tmp_path: Path) -> None:
    world = filtered_world(tmp_path, for_everybody="popular")
    world.put(Item("new", '{"like": 1, "kind": "odd"}', OLD_US))

    async def scenario() -> None:
        await world.engine.put_events([Event("zoe", "session", "new", "view", OLD_US)])
        for _ in range(2):
            for user, mine in (("zoe", ["new"]), ("a stranger", [])):
                query = Query(user, None, 500, filter_name="viewed")
                assert (await world.engine.recommend(query)).item_ids == mine

    run(world, scenario)


def test_it_needs_neither_the_encoder_nor_the_index(tmp_path: Path) -> None:
    world = World(tmp_path, for_everybody="popular")
    world.encoder.is_down = True
    for shard in world.shards:
        shard.is_down = True

    async def scenario() -> None:
        query = Query("anna", None, 3, metadata_columns=("KIND", BECAUSE_OF))
        answer = await world.engine.recommend(query)
        assert answer.item_ids == item_ids([5, 60, 4])
        assert (answer.reason, answer.degraded) == (None, False)
        world.store.is_down = True
        assert (await ask(world, "anna", 3)).degraded

    run(world, scenario)
