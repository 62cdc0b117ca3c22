"""A model of item pairs: items like one are ranked as evaluation does for who took only that."""

import asyncio
from pathlib import Path

import numpy as np

from raysys.serving.messages import Promotion, Query
from raysys.state.items import Item
from tests.unit.serving.test_filters import EVEN, filtered_world
from tests.unit.serving.world import HISTORIES, World, item_ids, ranked, run

OLD_US = 10**15


def about(item_id: str, k: int = 10, user_id: str | None = None, **more: object) -> Query:
    return Query(user_id, item_id, k, **more)  # type: ignore[arg-type]


def test_the_encoder_says_what_to_search_with_and_scores_rank(tmp_path: Path) -> None:
    world = World(tmp_path, asks_by_item=True)

    async def scenario() -> None:
        for _ in range(2):
            answers = await asyncio.gather(
                world.engine.recommend(about("i16")), world.engine.recommend(about("i03", 60))
            )
            assert answers[0].item_ids == ranked([17], 10, [17])
            assert answers[1].item_ids == ranked([4], 60, [4])
            for answer in answers:
                assert (answer.source, answer.reason) == ("similar-items", None)
                assert answer.scores is None
        assert len(world.encoder.calls) == 1  # for both, and then no more
        assert not any(shard.lookups for shard in world.shards)

    run(world, scenario)


def test_with_a_user_it_is_still_about_the_item_without_what_they_have_seen(tmp_path: Path) -> None:
    world = filtered_world(tmp_path, asks_by_item=True, fresh=range(30, 61), exploration_weight=1.0)

    async def scenario() -> None:
        answer = await world.engine.recommend(about("i16", 10, "anna"))
        assert answer.item_ids == ranked([17], 10, [17, *HISTORIES["anna"]])
        assert (answer.source, answer.item_reasons) == ("similar-items", None)
        stranger = await world.engine.recommend(about("i16", 10, "a stranger"))
        assert (stranger.item_ids, stranger.reason) == (ranked([17], 10, [17]), None)
        even = await world.engine.recommend(about("i16", 60, "anna", filter_name="even"))
        expected = ranked([17], 60, [17, *HISTORIES["anna"]])
        assert even.item_ids == [each for each in expected if each in EVEN]
        promotion = Promotion("sale", 10, "even")
        promoted = await world.engine.recommend(about("i16", 10, "anna", promotion=promotion))
        assert even.item_ids[0] in promoted.item_ids
        # Who asks without an item gets their own list: that of their newest one, as it may be.
        own = Query("anna", None, 10, exploration_weight=0.0)
        assert (await world.engine.recommend(own)).source == "model"
        await world.close()
        assert [slate.item_id for slate in world.store.slates] == ["i16"] * 4 + [None]

    run(world, scenario)


def test_of_an_item_of_which_the_model_knows_nothing_the_popular_list_is_given(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, asks_by_item=True)
    world.encoder.knows_nobody = True

    async def scenario() -> None:
        known, unknown = await asyncio.gather(
            world.engine.recommend(about("i02", 2)), world.engine.recommend(about("never", 2))
        )
        assert known.item_ids == item_ids([1, 2])
        assert unknown.item_ids == item_ids([3, 1])
        for answer in (known, unknown):
            assert (answer.source, answer.reason) == ("popular", "unknown-item")
            assert not answer.degraded

    run(world, scenario)


def test_a_new_item_is_asked_about_by_what_was_put_else_by_its_own_vector(tmp_path: Path) -> None:
    world = World(tmp_path, asks_by_item=True)
    world.put(Item("new", '{"like": 9}', OLD_US))

    async def scenario() -> None:
        for _ in range(2):  # nothing of it is kept, since it may be put again
            answer = await world.engine.recommend(about("new", 10))
            assert answer.item_ids == ranked([9], 10, [])
        assert len(world.encoder.calls) == 2
        world.encoder.reads_items = False
        answer = await world.engine.recommend(about("new", 10))
        assert answer.item_ids[0] == item_ids([9])[0]
        assert answer.scores is not None
        assert np.isclose(answer.scores[0] or 0, 1)  # the cosine with an item just like it
        assert answer.source == "similar-items"

    run(world, scenario)


def test_without_the_encoder_the_popular_list_is_given_and_it_is_said(tmp_path: Path) -> None:
    world = World(tmp_path, asks_by_item=True)
    world.encoder.is_down = True

    async def scenario() -> None:
        answer = await world.engine.recommend(about("i02", 2))
        assert (answer.item_ids, answer.degraded) == (item_ids([1, 2]), True)
        assert (answer.source, answer.reason) == ("popular", "encoder-unavailable")

    run(world, scenario)


def test_a_known_item_is_asked_about_by_its_put_where_nobody_had_met_it(tmp_path: Path) -> None:
    world = World(tmp_path, asks_by_item=True, unmet=[10])

    async def scenario() -> None:
        for item_id, num in (("i09", 10), ("i19", 20)):
            answer = await world.engine.recommend(about(item_id))
            assert answer.item_ids == ranked([num], 10, [num])
        world.put(*(Item(item_id, '{"like": 33}', OLD_US) for item_id in ("i09", "i19")))
        moved, same = [await world.engine.recommend(about(each)) for each in ("i09", "i19")]
        assert moved.item_ids == ranked([33], 10, [10])
        assert [each for each in same.item_ids if each != "i09"][:8] == [
            each for each in ranked([20], 10, [20]) if each != "i09"
        ][:8]

    run(world, scenario)
