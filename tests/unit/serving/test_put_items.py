"""Items that were put since the release, through the engine: every kind of list knows them.

What is expected is worked out by brute force over the vectors of the release and of what was put.
"""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raysys.serving.messages import Answer, Promotion, Query, RankQuery
from raysys.serving.ranking import search_request
from raysys.state.items import Item
from tests.unit.serving.test_filters import EVEN, filtered_world
from tests.unit.serving.world import (
    HISTORIES,
    ITEM_IDS,
    RELEASE,
    World,
    click,
    embeddings,
    encoded,
    run,
    shard_of,
)

OLD_US = 10**15  # in 2001: nothing of that age is explored
# Each has the vector of an item of the release, by its number. Anna saw 1, 2 and 3.
LIKE = {"p1": 17, "p2": 4, "p3": 9, "p4": 2}
PUT = [
    Item(name, f'{{"like": {num}, "kind": "{("even", "round")[num % 2]}"}}', OLD_US)
    for name, num in LIKE.items()
]


def world_with_put(directory: Path, **settings: Any) -> World:
    world = filtered_world(directory, **settings)
    world.put(*PUT)
    return world


def ask(
    world: World, user_id: str | None = "anna", k: int = 10, name: str | None = None, **more: Any
) -> Any:
    asked = {"item_id": None, "exploration_weight": 0.0, "seed": 7} | more
    return world.engine.recommend(Query(user_id=user_id, num_results=k, filter_name=name, **asked))


def vector_of(item_id: str) -> NDArray[np.float64]:
    num = LIKE.get(item_id) or ITEM_IDS.index(item_id) + 1
    found: NDArray[np.float64] = embeddings()[num - 1].astype(np.float64)
    return found


def ranked(query: NDArray[np.floating], shown: set[str], *, by_cosine: bool = False) -> list[str]:
    """Return items by score; of equal ones what was put comes first, since its key is lower."""
    scores = {}
    for item_id in shown:
        vector = vector_of(item_id)
        length = np.linalg.norm(vector) if by_cosine else 1
        scores[item_id] = round(float(query.astype(np.float64) @ vector / length), 9)
    return sorted(shown, key=lambda item_id: (-scores[item_id], item_id in ITEM_IDS))


def unseen(user_id: str) -> set[str]:
    return {*ITEM_IDS, *LIKE} - {ITEM_IDS[num - 1] for num in HISTORIES[user_id]}


@pytest.mark.parametrize(("factory", "num_shards"), [("Flat", 2), ("HNSW16", 1)])
def test_put_items_stand_where_their_scores_put_them(
    tmp_path: Path, factory: str, num_shards: int
) -> None:
    world = world_with_put(tmp_path, factory=factory, num_shards=num_shards)

    async def scenario() -> None:
        for user, history in HISTORIES.items():
            answer = await ask(world, user, 500)
            expected = ranked(encoded(history), unseen(user))
            assert answer.item_ids == expected
            assert (answer.source, answer.degraded, answer.item_reasons) == ("model", False, None)
            assert answer.delta_version == 1
            # The softmax over all 64, seen ones too, or over the list of an approximate index.
            summed = expected if factory == "HNSW16" else {*ITEM_IDS, *LIKE}
            scores = {each: float(encoded(history) @ vector_of(each)) for each in summed}
            total = np.logaddexp.reduce([*scores.values()])
            shares = [np.exp(scores[each] - total) for each in expected]
            assert answer.scores == pytest.approx(shares, rel=1e-5)
            assert (await ask(world, user, 7)).item_ids == expected[:7]

    run(world, scenario)


def test_the_sum_that_scores_are_divided_by_has_their_share(tmp_path: Path) -> None:
    world = world_with_put(tmp_path, num_shards=1)
    (shard,) = world.shards
    # So short that every item counts nearly alike.
    queries = [vector * np.float32(0.01) for vector in embeddings()[:3]]
    nothing = [np.zeros(0, np.int32)] * 3
    request = search_request(
        RELEASE,
        queries,
        ks=[2] * 3,
        by_cosine=[False] * 3,
        banned=nothing,
        banned_keys=[np.zeros(0, np.int64)] * 3,
    )
    scores = [[float(q @ vector_of(each)) for each in (*ITEM_IDS, *LIKE)] for q in queries]

    async def scenario() -> None:
        totals = (await shard.search(request)).log_sum_exp
        assert totals == pytest.approx(np.logaddexp.reduce(scores, axis=1), abs=1e-5)

    run(world, scenario)


def test_what_a_user_has_seen_of_them_is_not_shown_again(tmp_path: Path) -> None:
    world = world_with_put(tmp_path)

    async def scenario() -> None:
        await world.engine.put_events([click("anna", "p1"), click("anna", "p3")])
        expected = ranked(encoded(HISTORIES["anna"]), unseen("anna") - {"p1", "p3"})
        assert (await ask(world, k=500)).item_ids == expected

    run(world, scenario)


def test_items_like_a_put_one_are_found_and_it_is_found_like_others(tmp_path: Path) -> None:
    world = world_with_put(tmp_path)

    async def scenario() -> None:
        everything = {*ITEM_IDS, *LIKE}
        for item_id in ("p2", ITEM_IDS[3], ITEM_IDS[16]):
            answer = await ask(world, None, 500, item_id=item_id)
            query = vector_of(item_id)
            assert answer.item_ids == ranked(query, everything - {item_id}, by_cosine=True)
            assert (answer.source, answer.reason) == ("similar-items", None)
        assert (await ask(world, None, 1, item_id="p2")).scores == pytest.approx([1.0])
        nobodys = await ask(world, None, 3, item_id="nobody's")
        assert (nobodys.source, nobodys.reason) == ("popular", "unknown-item")

    run(world, scenario)


def test_a_vector_that_changes_is_asked_for_again(tmp_path: Path) -> None:
    world = world_with_put(tmp_path)

    async def scenario() -> None:
        assert (await ask(world, None, 1, item_id="p2")).item_ids == [ITEM_IDS[3]]
        world.put(Item("p2", '{"like": 30}'))
        assert (await ask(world, None, 1, item_id="p2")).item_ids == [ITEM_IDS[29]]

    run(world, scenario)


def test_filters_hold_for_them_and_a_past_that_is_named_brings_them_back(tmp_path: Path) -> None:
    world = world_with_put(tmp_path)

    async def scenario() -> None:
        query = encoded(HISTORIES["anna"])
        even = await ask(world, "anna", 500, "even", exploration_weight=0.5)
        assert even.item_ids == ranked(query, unseen("anna") & (EVEN | {"p2", "p4"}))
        assert (await ask(world, "anna", 500, "none")).item_ids == ranked(query, {"p1", "p3"})
        await world.engine.put_events([click("anna", "p3"), click("anna", "p2")])
        viewed = await ask(world, "anna", 500, "again")
        # All of anna's past, and what is large, but for what is odd.
        shown = (
            {ITEM_IDS[num - 1] for num in (1, 3)} | {"p3", "p2"} | {ITEM_IDS[n] for n in (56, 58)}
        )
        assert set(viewed.item_ids) == shown
        like = await ask(world, None, 500, "as-long", item_id="p2")
        assert set(like.item_ids) == EVEN | {"p4"}

    run(world, scenario)


def test_put_items_are_promoted_and_stand_in_a_list_once(tmp_path: Path) -> None:
    world = world_with_put(tmp_path)

    async def scenario() -> None:
        promotion = Promotion("sale", 20, "none")
        for user, weight in (("anna", 0.0), ("anna", 1.0), ("bert", 0.3)):
            answer = await ask(world, user, 10, promotion=promotion, exploration_weight=weight)
            names = zip(answer.item_ids, answer.promotion_names or [], strict=True)
            assert {item_id for item_id, name in names if name} == {"p1", "p3"}
            assert len(set(answer.item_ids)) == len(answer.item_ids) == 10
        answer = await ask(world, "anna", 10, promotion=promotion)
        others = [each for each in answer.item_ids if each not in ("p1", "p3")]
        assert others == ranked(encoded(HISTORIES["anna"]), unseen("anna") - {"p1", "p3"})[:8]

    run(world, scenario)


def test_lists_of_clients_rank_them_among_the_others(tmp_path: Path) -> None:
    world = world_with_put(tmp_path)
    listed = ["p3", "who", ITEM_IDS[7], ITEM_IDS[16], ITEM_IDS[0], "p2", "p1"]

    async def rank(user_id: str, name: str | None = None) -> Answer:
        return await world.engine.rank(RankQuery(user_id, listed, filter_name=name))

    async def scenario() -> None:
        expected = ranked(encoded(HISTORIES["anna"]), {*listed} - {"who"})
        answer = await rank("anna")
        assert answer.item_ids == [*expected, "who"]
        assert answer.scores is not None
        assert [score is None for score in answer.scores] == [False] * 6 + [True]
        assert (answer.reason, answer.degraded) == (None, False)
        assert (await rank("anna", "none")).item_ids == [
            each for each in expected if each in ("p1", "p3")
        ]
        await world.engine.put_events([click("bert", "p3"), click("bert", ITEM_IDS[0])])
        past = [each for each in (await rank("bert", "again")).item_ids]
        assert set(past) == {"p3", ITEM_IDS[0]}
        stranger = await rank("a stranger")
        assert stranger.item_ids[3:] == ["p3", "who", "p2", "p1"]
        for shard in world.shards:
            shard.is_down = shard is world.shards[shard_of("p1")]
        world.served.lists._item_vectors._cached.clear()
        answer = await rank("anna")
        assert answer.degraded
        assert "p1" in answer.item_ids[-4:]

    run(world, scenario)


def test_of_a_known_item_the_newest_put_counts_but_for_its_vector(tmp_path: Path) -> None:
    world = world_with_put(tmp_path)
    # The first popular item, odd until now, and one that was even.
    world.put(
        Item(ITEM_IDS[2], '{"kind": "round"}'), Item(ITEM_IDS[4], '{"like": 1, "kind": "odd"}')
    )

    async def scenario() -> None:
        query = encoded(HISTORIES["bert"])
        shown = unseen("bert") & ((EVEN - {ITEM_IDS[4]}) | {"p2", "p4"})
        assert (await ask(world, "bert", 500, "even")).item_ids == ranked(query, shown)
        # Behind it what nobody has met.
        assert (await ask(world, "a stranger", 5, "none")).item_ids == [ITEM_IDS[2], "p3", "p1"]
        assert (await ask(world, "anna", 500)).item_ids == ranked(
            encoded(HISTORIES["anna"]), unseen("anna")
        )
        promotion = Promotion("sale", 50, "none")
        answer = await ask(world, "a stranger", 2, promotion=promotion)
        assert ITEM_IDS[2] in answer.item_ids
        ranking = RankQuery("anna", [ITEM_IDS[4], ITEM_IDS[2]], filter_name="none")
        assert (await world.engine.rank(ranking)).item_ids == [ITEM_IDS[2]]
        like = await ask(world, None, 500, "as-long", item_id=ITEM_IDS[2])
        assert set(like.item_ids) == {"p1", "p3"}

    run(world, scenario)


def test_hidden_items_are_in_no_list_until_they_are_shown_again(tmp_path: Path) -> None:
    world = world_with_put(tmp_path, fresh=[8, 9], num_shards=2)
    hidden = {"p1", ITEM_IDS[2], ITEM_IDS[7], ITEM_IDS[20]}

    async def lists() -> list[Answer]:
        listed = sorted({*LIKE, *ITEM_IDS})
        return await asyncio.gather(
            ask(world, "anna", 500, exploration_weight=1.0),
            ask(world, "anna", 500),
            ask(world, "bert", 500, "even"),
            ask(world, "a stranger", 500),
            ask(world, "a stranger", 500, "even", exploration_weight=0.5),
            ask(world, None, 500, item_id="p2"),
            ask(world, None, 500, item_id=ITEM_IDS[0], promotion=Promotion("sale", 40, "none")),
            world.engine.rank(RankQuery("anna", listed)),
            world.engine.rank(RankQuery("a stranger", listed, filter_name="even")),
        )

    async def scenario() -> None:
        before = await lists()
        world.store.hide_items(hidden)
        world.follow()
        during = await lists()
        for whole, rest in zip(before, during, strict=True):
            assert hidden & set(whole.item_ids)
            assert set(rest.item_ids) == set(whole.item_ids) - hidden
        assert [shard.pool.num_eligible(0) for shard in world.shards] != [2, 2]
        assert sum(shard.pool.num_eligible(0) for shard in world.shards) == 1
        world.store.hide_items(hidden, is_hidden=False)
        world.follow()
        after = await lists()
        assert [each.item_ids for each in after[1:]] == [each.item_ids for each in before[1:]]

    run(world, scenario)


def test_without_anything_put_answers_carry_no_key_and_no_version(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        answer = await ask(world)
        assert answer.delta_version is None
        for shard in world.shards:
            (request,) = shard.requests
            result = await shard.search(request)
            assert result.keys.dtype == np.int32
            assert result.new_ids == {}

    run(world, scenario)


@pytest.mark.parametrize(("factory", "num_shards"), [("Flat", 2), ("HNSW16", 1)])
def test_an_item_that_nobody_met_goes_by_what_was_put_of_it_in_every_list(
    tmp_path: Path, factory: str, num_shards: int
) -> None:
    unmet = 1 + int(np.argmax(embeddings()[3:] @ encoded(HISTORIES["anna"]))) + 3
    world = filtered_world(tmp_path, factory=factory, num_shards=num_shards, unmet=[unmet])
    query = encoded(HISTORIES["anna"])
    vectors = embeddings().copy()
    met, twin = 17, 4

    def expected(nums: Iterable[int], asked: NDArray[np.float32] = query) -> list[str]:
        scores = vectors.astype(np.float64) @ asked.astype(np.float64)
        return [ITEM_IDS[n - 1] for n in sorted(nums, key=lambda n: (-round(scores[n - 1], 9), n))]

    unseen_nums = {*range(1, 61)} - {*HISTORIES["anna"]}

    async def scenario() -> None:
        before = await ask(world, "anna", 500)
        assert before.item_ids == expected(unseen_nums)
        assert before.item_ids[0] == ITEM_IDS[unmet - 1]  # so its share of the scores is large
        await ask(world, None, 3, item_id=ITEM_IDS[unmet - 1])  # its vector is known from here on
        # Both are put again; only the one that nobody met moves, and only its kind is another.
        world.put(
            Item(ITEM_IDS[met - 1], '{"like": 1, "kind": "even"}', OLD_US),
            Item(ITEM_IDS[unmet - 1], f'{{"like": {twin}, "kind": "even"}}', OLD_US),
        )
        vectors[unmet - 1] = vectors[twin - 1]
        after = await ask(world, "anna", 500)
        assert after.item_ids == expected(unseen_nums)
        if factory == "Flat":
            exact = np.exp(vectors.astype(np.float64) @ query.astype(np.float64))
            shares = {ITEM_IDS[n - 1]: exact[n - 1] / exact.sum() for n in range(1, 61)}
            assert after.scores == pytest.approx([shares[each] for each in after.item_ids])
        assert (await ask(world, "anna", 500, "even")).item_ids == expected(
            {n for n in unseen_nums if ITEM_IDS[n - 1] in EVEN} | {met, unmet}
        )
        held = [await each.vectors_of(RELEASE, np.array([unmet])) for each in world.shards]
        assert [vector.tolist() for _, vector in held if len(vector)] == [
            [*vectors[[twin - 1]].tolist()]
        ]
        listed = [ITEM_IDS[unmet - 1], ITEM_IDS[met - 1], ITEM_IDS[30]]
        answer = await world.engine.rank(RankQuery("anna", listed))
        assert answer.item_ids == expected([unmet, met, 31])
        like = await ask(world, None, 3, item_id=ITEM_IDS[unmet - 1])
        assert like.item_ids[0] == ITEM_IDS[twin - 1]
        assert ITEM_IDS[unmet - 1] not in like.item_ids
        # Seen, it is not shown again; named by its past, it is back; hidden, it is nowhere.
        await world.engine.put_events([click("bert", ITEM_IDS[unmet - 1])])
        seen = await ask(world, "bert", 500)
        assert ITEM_IDS[unmet - 1] not in seen.item_ids
        past = await ask(world, "bert", 500, "again")
        assert past.item_ids.count(ITEM_IDS[unmet - 1]) == 1
        world.store.hide_items([ITEM_IDS[unmet - 1]])
        world.follow()
        assert ITEM_IDS[unmet - 1] not in (await ask(world, "anna", 500)).item_ids

    run(world, scenario)


def test_an_unmet_item_is_explored_by_its_newest_vector(tmp_path: Path) -> None:
    world = filtered_world(tmp_path, unmet=[10], fresh=[10, 17])

    def vectors() -> dict[int, list[float]]:
        pools = [shard.pool.items for shard in world.shards]
        return {
            key: vector.tolist()
            for items in pools
            for key, vector in zip(items.keys.tolist(), items.vectors, strict=True)
        }

    async def scenario() -> None:
        for like in (4, 9):
            put = [
                Item(ITEM_IDS[num - 1], f'{{"like": {like}, "kind": "round"}}') for num in (10, 17)
            ]
            world.put(*put)
            assert vectors() == {10: embeddings()[like - 1].tolist(), 17: embeddings()[16].tolist()}
        answer = await ask(world, "anna", 2, "none", exploration_weight=1.0)
        assert set(answer.item_ids) == {ITEM_IDS[9], ITEM_IDS[16]}
        assert answer.item_reasons == ["Exploration"] * 2

    run(world, scenario)
