"""Promotions through the engine: a share of each list, by a filter of its own."""

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from raysys.errors import InvalidInputError, ResourceNotFoundError
from raysys.serving.item_metadata import BECAUSE_OF
from raysys.serving.messages import Answer, Promotion, Query
from tests.unit.serving.test_filters import EVEN, LONG, best, filtered_world
from tests.unit.serving.world import HISTORIES, ITEM_IDS, World, run, shard_of

ALL = set(ITEM_IDS)


def promotion(percent: int, name: str | None = "long", **values: str) -> Promotion:
    return Promotion("sale", percent, name, values)


def ask(world: World, user_id: str | None, promoted: Promotion, k: int = 10, **more: Any) -> Any:
    asked = {"item_id": None, "exploration_weight": 0.0, "seed": 7} | more
    return world.engine.recommend(
        Query(user_id=user_id, num_results=k, promotion=promoted, **asked)
    )


def promoted_in(answer: Answer) -> list[str]:
    names, reasons = answer.promotion_names or [], answer.item_reasons or []
    assert [name == "sale" for name in names] == [each == "Promoted item" for each in reasons]
    return [item for item, name in zip(answer.item_ids, names, strict=True) if name == "sale"]


def others_in(answer: Answer) -> list[str]:
    promoted = promoted_in(answer)
    return [item for item in answer.item_ids if item not in promoted]


@pytest.mark.parametrize(
    ("percent", "k", "number"),
    [(1, 10, 1), (30, 10, 3), (50, 5, 3), (100, 6, 6), (24, 25, 6), (25, 10, 3)],
)
def test_a_share_of_the_list_is_the_best_of_what_the_promotion_keeps(
    tmp_path: Path, percent: int, k: int, number: int
) -> None:
    world = filtered_world(tmp_path)

    async def scenario() -> None:
        for user in HISTORIES:
            answer = await ask(world, user, promotion(percent), k, filter_name="even")
            promoted = best(user, LONG, number)
            assert promoted_in(answer) == promoted
            # The request's filter is that of the others alone.
            assert others_in(answer) == best(user, EVEN - set(promoted), k)[: k - number]
            assert len(set(answer.item_ids)) == len(answer.item_ids) == k
            assert (answer.source, answer.degraded, answer.seed) == ("model", False, 7)
            assert answer.scores is not None
            assert all(score is not None for score in answer.scores)

    run(world, scenario)


def test_where_too_few_can_be_promoted_others_take_their_places(tmp_path: Path) -> None:
    world = filtered_world(tmp_path)

    async def scenario() -> None:
        few, none, whatever = await asyncio.gather(
            ask(world, "anna", promotion(100, "up-to", SIZE="4")),
            ask(world, "anna", promotion(100, "none")),
            ask(world, "anna", promotion(50, None)),
        )
        promoted = best("anna", {"i03", "i04"})
        assert promoted_in(few) == promoted  # i01 and i02 were seen
        assert others_in(few) == best("anna", ALL - set(promoted), 8)
        assert none.item_ids == best("anna", ALL)
        assert (none.promotion_names, none.item_reasons) == (None, None)
        assert promoted_in(whatever) == best("anna", ALL, 5)
        assert others_in(whatever) == best("anna", ALL, 10)[5:]

    run(world, scenario)


def test_promoted_items_stand_anywhere_and_one_seed_gives_one_list(tmp_path: Path) -> None:
    world = filtered_world(tmp_path)

    async def scenario() -> None:
        again = [await ask(world, "anna", promotion(30)) for _ in range(2)]
        assert again[0].item_ids == again[1].item_ids
        places: Counter[int] = Counter()
        for seed in range(300):
            answer = await ask(world, "anna", promotion(30), seed=seed)
            places.update(n for n, name in enumerate(answer.promotion_names or []) if name)
        # 90 of 300 expected at each of ten places, standard error 8.
        assert all(58 < places[place] < 122 for place in range(10))

    run(world, scenario)


def test_strangers_and_similar_items_have_promotions_too(tmp_path: Path) -> None:
    world = filtered_world(tmp_path)

    async def scenario() -> None:
        popular = world.release.items.ids_of(world.release.popular)
        stranger = await ask(world, "a stranger", promotion(20))
        assert promoted_in(stranger) == [item for item in popular if item in LONG][:2]
        assert others_in(stranger) == [i for i in popular if i not in promoted_in(stranger)][:8]
        assert (stranger.scores, stranger.reason) == (None, "unknown-user")
        similar = await ask(world, None, promotion(20), item_id="i03")
        plain = await world.engine.recommend(Query(None, "i03", 60))
        assert promoted_in(similar) == [item for item in plain.item_ids if item in LONG][:2]
        others = [item for item in plain.item_ids if item not in promoted_in(similar)]
        assert others_in(similar) == others[:8]
        assert similar.source == "similar-items"

    run(world, scenario)


def test_the_others_explore_as_if_there_were_fewer_places(tmp_path: Path) -> None:
    world = filtered_world(tmp_path, fresh=[10, 20, 30, 40])

    async def scenario() -> None:
        answer = await ask(world, "anna", promotion(30), exploration_weight=1.0)
        promoted = promoted_in(answer)
        assert promoted == best("anna", LONG, 3)
        reasons = Counter(answer.item_reasons or [])
        num_fresh = len({"i09", "i19", "i29", "i39"} - set(promoted))
        assert reasons == {"Promoted item": 3, "Exploration": num_fresh, None: 7 - num_fresh}
        await world.close()
        [slate] = world.store.slates
        assert slate.item_ids == tuple(answer.item_ids)
        explored = [slate.item_ids[place] for place in slate.explored]
        assert not set(explored) & set(promoted)
        chances = dict(zip(slate.item_ids, slate.propensities, strict=True))
        assert all(chances[item] == 1 for item in promoted)
        assert any(chances[item] < 1 for item in explored)

    asyncio.run(scenario())


def test_what_is_known_of_promoted_items_is_said_too(tmp_path: Path) -> None:
    world = filtered_world(tmp_path)

    async def scenario() -> None:
        answer = await ask(world, "anna", promotion(30), metadata_columns=("KIND", BECAUSE_OF))
        assert answer.item_metadata is not None
        assert all(set(each) == {"KIND", BECAUSE_OF} for each in answer.item_metadata)
        kinds = dict(zip(answer.item_ids, (m["KIND"] for m in answer.item_metadata), strict=True))
        assert {kinds[item] for item in promoted_in(answer)} == {"odd|long"}

    run(world, scenario)


def test_a_shard_that_is_away_degrades_what_is_promoted(tmp_path: Path) -> None:
    world = filtered_world(tmp_path)

    async def scenario() -> None:
        world.shards[1].is_down = True
        answer = await ask(world, "anna", promotion(30))
        assert answer.degraded
        here = {item for item in LONG if shard_of(item) == 0}
        assert promoted_in(answer) == best("anna", here, 3)

    run(world, scenario)


def test_a_promotion_that_cannot_be_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    world = filtered_world(tmp_path)

    async def scenario() -> None:
        with pytest.raises(ResourceNotFoundError, match="unheard-of"):
            await ask(world, "anna", promotion(30, "unheard-of"))
        with pytest.raises(InvalidInputError, match="SIZE"):
            await ask(world, "anna", promotion(30, "up-to"))
        assert world.encoder.calls == []

    run(world, scenario)
