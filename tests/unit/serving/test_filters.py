"""Filters through the engine: every list obeys, whatever happened on the way."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raysys.errors import InvalidInputError, ResourceNotFoundError, UnavailableError
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import exact_top_k
from raysys.index.filtered import FilterWork
from raysys.serving import catalogue_now, filtering, named_filters
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.serving.named_filters import NamedFilters
from raysys.state.events import Event
from raysys.state.filters import NamedFilter
from raysys.state.items import Item
from raysys.state.users import User
from tests.unit.serving.world import (
    HISTORIES,
    ITEM_IDS,
    NUM_ITEMS,
    World,
    embeddings,
    encoded,
    item_ids,
    run,
)

FILTERS = {
    "even": 'INCLUDE ItemID WHERE Items.KIND = "even"',
    "long": 'INCLUDE ItemID WHERE Items.KIND IN ("long")',
    "up-to": "INCLUDE ItemID WHERE Items.SIZE <= $SIZE",
    "none": 'INCLUDE ItemID WHERE Items.KIND = "round"',
    "unbought": 'EXCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("BUY")',
    "viewed": 'INCLUDE ItemID WHERE Interactions.EVENT_TYPE = "view"',
    "again": 'INCLUDE ItemID WHERE Interactions.EVENT_TYPE IN ("*") | '
    'INCLUDE ItemID WHERE Items.SIZE >= 55 | EXCLUDE ItemID WHERE Items.KIND = "odd"',
    "for-adults": 'EXCLUDE ItemID WHERE Items.KIND = "odd" IF CurrentUser.AGE < 18',
    "as-long": "INCLUDE ItemID WHERE Items.KIND IN CurrentItem.KIND",
    "of-a-color": 'EXCLUDE ItemID WHERE Items.COLOR = "red"',
}
EVEN = {ITEM_IDS[n] for n in range(0, NUM_ITEMS, 2)}
LONG = {ITEM_IDS[n] for n in range(NUM_ITEMS) if n % 6 == 3}


def filtered_world(directory: Path, **settings: object) -> World:
    world = World(directory, **settings)  # type: ignore[arg-type]
    for name, expression in FILTERS.items():
        world.store.filters.create(NamedFilter(name, f"arn:{name}", expression, 1))
    return world


def ask(
    world: World,
    user_id: str | None,
    name: str | None,
    num_results: int = 10,
    *,
    item_id: str | None = None,
    values: Mapping[str, str] | None = None,
    weight: float | None = None,
) -> Awaitable[Answer]:
    query = Query(user_id, item_id, num_results, {}, weight, 7, name, values or {})
    return world.engine.recommend(query)


def best(user_id: str, shown: set[str], k: int = 10, *, also_seen: bool = False) -> list[str]:
    """Return the best of some items for a user, by brute force."""
    nums = np.array([n + 1 for n in range(NUM_ITEMS) if ITEM_IDS[n] in shown], np.int32)
    history = HISTORIES[user_id]
    seen = Exclusions.from_lists([[] if also_seen else history])
    top = exact_top_k(encoded(history)[None, :], embeddings()[nums - 1], nums, k, seen)
    return item_ids(top.item_nums[0][top.item_nums[0] > 0].tolist())


def within(
    directory: Path, scenario: Callable[[World], Awaitable[None]], **settings: object
) -> World:
    world = filtered_world(directory, **settings)
    run(world, lambda: scenario(world))
    return world


@pytest.mark.parametrize("factory", ["Flat", "HNSW16"])
def test_a_list_is_the_best_of_what_the_filter_keeps(tmp_path: Path, factory: str) -> None:
    async def scenario(world: World) -> None:
        for user_id in HISTORIES:
            assert (await ask(world, user_id, "even", 40)).item_ids == best(user_id, EVEN, 40)
            few = await ask(world, user_id, "long")
            assert few.item_ids == best(user_id, LONG)
            assert few.source == "model"
            assert few.scores == sorted(few.scores or [], reverse=True)

    within(tmp_path, scenario, factory=factory)


def test_queries_of_a_batch_have_filters_of_their_own_in_one_call_per_shard(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await ask(world, "anna", "even")  # from here on the filters are known
        for shard in world.shards:
            shard.requests.clear()
        answers = await asyncio.gather(
            ask(world, "bert", "even"),
            ask(world, "bert", None),
            ask(world, "carl", "long"),
            ask(world, "carl", "even", 40),
            ask(world, "anna", "up-to", values={"SIZE": "9"}),
            ask(world, "anna", "up-to", values={"SIZE": "12.5"}),
            ask(world, None, "long", item_id="i05"),
        )
        assert answers[0].item_ids == best("bert", EVEN)
        assert answers[1].item_ids == best("bert", {*ITEM_IDS})
        assert answers[2].item_ids == best("carl", LONG)
        assert answers[3].item_ids == best("carl", EVEN, 40)
        assert answers[4].item_ids == best("anna", {*ITEM_IDS[1:10]})
        assert answers[5].item_ids == best("anna", {*ITEM_IDS[1:13]})
        assert set(answers[6].item_ids) == LONG
        for shard in world.shards:
            (request,) = shard.requests
            assert request.filtering is not None
            assert len(request.filtering.rules) == 4  # even and long are there once each

    within(tmp_path, scenario)


def test_shards_say_which_masks_they_made_and_how_many_items_were_no_candidates(
    tmp_path: Path,
) -> None:
    async def scenario(world: World) -> None:
        num_odd = NUM_ITEMS - len(EVEN)
        await ask(world, "anna", None)
        assert [shard.filters.take_work() for shard in world.shards] == [FilterWork()] * 2
        await asyncio.gather(ask(world, "anna", "even"), ask(world, "bert", "even"))
        first = [shard.filters.take_work() for shard in world.shards]
        assert [(work.num_made, work.num_kept) for work in first] == [(1, 0), (1, 0)]
        assert sum(work.num_filtered for work in first) == 2 * num_odd
        assert all(work.seconds > 0 for work in first)
        await ask(world, "carl", "even")
        again = [shard.filters.take_work() for shard in world.shards]
        assert [(work.num_made, work.num_kept) for work in again] == [(0, 1), (0, 1)]
        assert sum(work.num_filtered for work in again) == num_odd

    within(tmp_path, scenario)


def test_without_a_filter_nothing_of_filters_travels(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await ask(world, "bert", None)
        await ask(world, "bert", "for-adults", num_results=3)  # bert is 12
        await ask(world, "anna", "for-adults", num_results=3)  # and anna 30: no effect
        assert [each.filtering is None for each in world.shards[0].requests] == [True, False, True]

    within(tmp_path, scenario)


def test_interactions_of_the_release_and_of_the_database_are_excluded_by_type(
    tmp_path: Path,
) -> None:
    async def scenario(world: World) -> None:
        everything = {*ITEM_IDS}
        # Anna bought item 2 and viewed 1 and 3.
        anna = await ask(world, "anna", "unbought", 60)
        assert set(anna.item_ids) == everything - {ITEM_IDS[1]}
        await world.engine.put_events([Event("anna", "s", ITEM_IDS[9], "Buy", 10**15)])
        anna = await ask(world, "anna", "unbought", 60)
        assert set(anna.item_ids) == everything - {ITEM_IDS[1], ITEM_IDS[9]}
        # Bert bought 3; what he did with 5 has no type.
        bert = await ask(world, "bert", "unbought", 60)
        assert set(bert.item_ids) == everything - {ITEM_IDS[2]}

    within(tmp_path, scenario, exclude_seen=False)


def test_an_include_of_the_past_shows_again_what_was_seen(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        anna = await ask(world, "anna", "viewed")
        assert anna.item_ids == best("anna", {ITEM_IDS[0], ITEM_IDS[2]}, also_seen=True)
        # Of her past 1, 2 and 3 are left 1 and 3, which are even; beside them large even items.
        again = await ask(world, "anna", "again")
        large = {ITEM_IDS[n] for n in (56, 58)}
        assert again.item_ids == best("anna", {ITEM_IDS[0], ITEM_IDS[2]} | large, also_seen=True)
        assert (await ask(world, "nobody", "viewed")).item_ids == []
        assert (await ask(world, "nobody", "viewed")).reason == "unknown-user"

    within(tmp_path, scenario)


def test_a_clause_goes_by_what_the_release_knows_of_who_asks(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        assert (await ask(world, "bert", "for-adults")).item_ids == best("bert", EVEN)
        for user_id in ("anna", "carl"):  # 30, and of unknown age
            answer = await ask(world, user_id, "for-adults")
            assert answer.item_ids == best(user_id, {*ITEM_IDS})
        assert len((await ask(world, "nobody", "for-adults", 60)).item_ids) == NUM_ITEMS

    within(tmp_path, scenario)


def test_a_clause_goes_by_what_was_put_of_a_user_from_the_next_request_on(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        async def is_adult(user_id: str) -> bool:
            answer = await ask(world, user_id, "for-adults", 60)
            return bool({*answer.item_ids} - EVEN)

        assert not await is_adult("bert")  # 12 in the release
        await world.engine.put_users([User("bert", '{"AGE": 18}'), User("nobody", '{"age": "7"}')])
        assert await is_adult("bert")
        assert not await is_adult("nobody")  # of whom the release knows nothing
        assert await is_adult("anna")
        await world.engine.put_users([User("anna", '{"Age": 17.5, "x": {}}'), User("bert", "{}")])
        assert not await is_adult("anna")
        assert await is_adult("bert")  # what an earlier put said is gone, and so is the table's row

    within(tmp_path, scenario, exclude_seen=False)


def test_what_was_put_of_a_user_costs_no_read_of_its_own(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        await ask(world, "anna", "for-adults")
        await world.engine.put_users([User("anna", '{"age": 1}'), User("bert", '{"age": 1}')])
        reads = world.store.reads
        await asyncio.gather(*(ask(world, name, "for-adults") for name in ("anna", "bert", "carl")))
        assert world.store.reads == reads + 1

    within(tmp_path, scenario)


def test_similar_items_obey_and_may_ask_for_what_the_item_says(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        similar = await ask(world, None, "even", 40, item_id="i04")
        assert set(similar.item_ids) == EVEN - {"i04"}
        assert similar.source == "similar-items"
        both = await ask(world, None, "as-long", 60, item_id="i03")  # i03 is odd and long
        assert set(both.item_ids) == {*ITEM_IDS} - EVEN - {"i03"}
        unknown = await ask(world, None, "even", 40, item_id="unknown")
        assert (set(unknown.item_ids), unknown.reason) == (EVEN, "unknown-item")
        nothing = await ask(world, None, "as-long", 40, item_id="unknown")
        assert (nothing.item_ids, nothing.reason) == ([], "unknown-item")

    within(tmp_path, scenario)


def test_popular_lists_obey_whatever_led_to_them(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        stranger = await ask(world, "nobody", "even", 40)
        by_popularity = [i for i in item_ids(world.release.popular.tolist()) if i in EVEN]
        assert (stranger.item_ids, stranger.reason) == (by_popularity, "unknown-user")
        assert (await ask(world, "nobody", "even", 3)).item_ids == by_popularity[:3]
        assert (await ask(world, "nobody", "none")).item_ids == []
        world.encoder.is_down = True
        anna = await ask(world, "anna", "again")
        assert anna.degraded
        assert set(anna.item_ids) == {"i00", "i02", "i56", "i58"}

    within(tmp_path, scenario)


def test_without_any_shard_the_popular_list_obeys(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        for shard in world.shards:
            shard.is_down = True
        bert = await ask(world, "bert", "even", 40)
        assert (set(bert.item_ids), bert.reason) == (EVEN - {"i02", "i04"}, "index-unavailable")

    within(tmp_path, scenario)


def test_what_is_kept_of_values_does_not_grow_with_their_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filtering, "_MOST_KEPT", 3)
    monkeypatch.setattr(catalogue_now, "_MOST_KEPT", 3)

    async def scenario(world: World) -> None:
        for size in range(-8, 0):  # nothing is so small, so a list takes no bytes
            values = {"SIZE": str(size)}
            assert (await ask(world, "nobody", "up-to", values=values)).item_ids == []
            await ask(world, f"user-{size}", "for-adults")
        filters = world.served.lists._filters
        assert len(filters._now._popular) == 3
        assert len(filters._applied) <= 3
        assert len(filters._answers) <= 3

    within(tmp_path, scenario)


def test_with_one_shard_away_the_others_obey(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        world.shards[0].is_down = True
        answer = await ask(world, "anna", "even", 40)
        assert answer.degraded
        assert set(answer.item_ids) < EVEN
        assert len(answer.item_ids) > 5

    within(tmp_path, scenario)


def test_explored_items_obey_known_to_the_release_or_not(tmp_path: Path) -> None:
    world = filtered_world(tmp_path, fresh=range(30, 61))
    world.put(
        Item("new-even", '{"like": 1, "kind": ["even", "blue"]}'),
        Item("new-odd", '{"like": 2, "Kind": "odd"}'),
        Item("new-unknown", '{"like": 3}'),
    )

    async def scenario() -> None:
        for user_id in ("anna", "nobody"):
            shown = (await ask(world, user_id, "even", 60, weight=1.0)).item_ids
            assert set(shown) == (EVEN | {"new-even"}) - set(item_ids(HISTORIES.get(user_id, [])))
        answers = await asyncio.gather(
            ask(world, "bert", "even", 8, weight=1.0),
            ask(world, "bert", None, 60, weight=1.0),
            ask(world, "carl", "long", 8, weight=1.0),
        )
        assert set(answers[0].item_ids) <= EVEN | {"new-even"}
        assert "new-unknown" in answers[1].item_ids
        assert set(answers[2].item_ids) <= LONG
        assert all(answer.item_reasons for answer in answers)

    run(world, scenario)


def test_a_filter_does_not_change_the_draws_of_the_others_in_its_batch(tmp_path: Path) -> None:
    async def scenario(world: World) -> None:
        alone = await ask(world, "carl", None, 20, weight=0.5)
        together = await asyncio.gather(
            ask(world, "bert", "even", 20, weight=0.5), ask(world, "carl", None, 20, weight=0.5)
        )
        assert together[1].item_ids == alone.item_ids
        again = await ask(world, "bert", "even", 20, weight=0.5)
        assert together[0].item_ids == again.item_ids

    within(tmp_path, scenario, fresh=range(30, 61))


@pytest.mark.parametrize(
    ("name", "user_id", "item_id", "values", "error", "message"),
    [
        ("missing", "anna", None, {}, ResourceNotFoundError, "no filter 'missing'"),
        ("up-to", "anna", None, {}, InvalidInputError, r"lacks \$SIZE"),
        ("even", "anna", None, {"SIZE": "1"}, InvalidInputError, "has no parameters"),
        ("up-to", "anna", None, {"SIZE": '"big"'}, InvalidInputError, "compares numbers"),
        ("of-a-color", "anna", None, {}, InvalidInputError, "reads COLOR"),
        ("unbought", None, "i01", {}, InvalidInputError, "needs a userId"),
        ("for-adults", None, "i01", {}, InvalidInputError, "needs a userId"),
        ("as-long", "anna", None, {}, InvalidInputError, "needs an itemId"),
    ],
)
def test_what_cannot_be_answered_is_refused_and_disturbs_nobody(
    tmp_path: Path,
    name: str,
    user_id: str | None,
    item_id: str | None,
    values: dict[str, str],
    error: type[Exception],
    message: str,
) -> None:
    async def scenario(world: World) -> None:
        wrong, right = await asyncio.gather(
            ask(world, user_id, name, item_id=item_id, values=values),
            ask(world, "bert", "even"),
            return_exceptions=True,
        )
        assert isinstance(right, Answer)
        with pytest.raises(error, match=message):
            raise wrong  # type: ignore[misc]

    within(tmp_path, scenario)


def test_a_release_without_types_or_users_says_so(tmp_path: Path) -> None:
    world = filtered_world(tmp_path)
    object.__setattr__(world.release, "interaction_types", None)
    world.served.lists._filters._users = None

    async def scenario() -> None:
        with pytest.raises(InvalidInputError, match="made by an earlier raysys"):
            await ask(world, "anna", "unbought")
        with pytest.raises(InvalidInputError, match="without a table of users"):
            await ask(world, "anna", "for-adults")

    run(world, scenario)


def test_without_the_database_known_filters_go_on_and_others_cannot_be_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(named_filters, "_FRESH_FOR_S", 0.0)
    monkeypatch.setattr(named_filters, "_UNKNOWN_FOR_S", 0.0)
    filters: dict[str, str] | None = None

    async def read() -> dict[str, str] | None:
        return filters

    async def scenario() -> None:
        nonlocal filters
        named = NamedFilters(read)
        with pytest.raises(UnavailableError, match="is not known"):
            await named.expression("even")
        filters = FILTERS
        first = await named.expression("even")
        filters = None
        assert await named.expression("even") is first
        filters = {"even": FILTERS["long"]}
        assert await named.expression("even") != first
        filters = {}
        with pytest.raises(ResourceNotFoundError):
            await named.expression("even")

    asyncio.run(scenario())


def test_filters_are_read_once_a_second_for_everybody_and_at_once_for_a_new_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, reads = 100.0, 0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    async def read() -> dict[str, str]:
        nonlocal reads
        reads += 1
        await asyncio.sleep(0)
        return {"even": FILTERS["even"]} | ({"long": FILTERS["long"]} if reads > 2 else {})

    async def scenario() -> None:
        nonlocal now
        named = NamedFilters(read)
        await asyncio.gather(*(named.expression("even") for _ in range(20)))
        assert reads == 1
        now += 0.9
        await named.expression("even")
        assert reads == 1
        with pytest.raises(ResourceNotFoundError):
            await named.expression("long")
        now += 0.1
        with pytest.raises(ResourceNotFoundError):
            await named.expression("long")
        assert reads == 2
        now += 0.2
        await named.expression("long")
        now += 1.0
        await named.expression("even")
        assert reads == 4

    asyncio.run(scenario())


def test_a_ranking_leaves_out_what_the_filter_does(tmp_path: Path) -> None:
    listed = set(ITEM_IDS[:12])

    async def scenario(world: World) -> None:
        def rank(user_id: str, *named: Any) -> Awaitable[Answer]:
            return world.engine.rank(RankQuery(user_id, ["z", *ITEM_IDS[:12]], {}, *named))

        answers = await asyncio.gather(
            rank("anna"),
            rank("anna", "even"),
            rank("anna", "up-to", {"SIZE": "5"}),
            rank("a stranger", "even"),
            rank("anna", "none"),
        )
        plain, even, small, popular, none = (answer.item_ids for answer in answers)
        assert plain == [*best("anna", listed, 12, also_seen=True), "z"]
        assert even == best("anna", listed & EVEN, 12, also_seen=True)
        assert small == best("anna", set(ITEM_IDS[1:6]), 12, also_seen=True)
        assert set(popular) == listed & EVEN
        assert none == []
        assert (answers[-1].reason, answers[-1].degraded) == ("nothing-left", False)
        viewed = await rank("anna", "viewed")
        assert set(viewed.item_ids) == {"i00", "i02"}  # in the log
        await world.engine.put_events(
            [Event("anna", "s", item, "buy", 10**15 + n) for n, item in enumerate(["i07", "z"])]
        )
        unbought = await rank("anna", "unbought")
        assert set(unbought.item_ids) == listed - {"i07", "i01"}  # i01 in the log
        with pytest.raises(ResourceNotFoundError):
            await rank("anna", "unheard-of")

    within(tmp_path, scenario)
