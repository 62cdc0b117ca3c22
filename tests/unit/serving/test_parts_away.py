"""What the engine answers while a part is away, and what it says of it."""

import asyncio
import math
from pathlib import Path

import pytest

from raysys.errors import UnavailableError
from raysys.serving import hop, parts
from raysys.serving.messages import Query
from tests.unit.serving.world import (
    World,
    ask,
    click,
    item_ids,
    ranked,
    run,
)


def test_a_shard_that_is_down_costs_its_items_and_nothing_else(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        world.shards[1].is_down = True
        whole = ranked([1, 2, 3], 60, [1, 2, 3])
        for _ in range(3):
            answer = await ask(world, "anna", 60)
            assert answer.degraded
            assert answer.source == "model"
            assert answer.item_ids == [item for item in whole if item in answer.item_ids]
            assert 0 < len(answer.item_ids) < 57
        assert len(world.shards[1].batch_sizes) == 1  # then it was left alone
        other = await ask(world, "a stranger")
        assert not other.degraded

    run(world, scenario)


def test_a_shard_that_comes_back_is_found_by_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hop, "_PROBE_EVERY_S", 0.001)
    world = World(tmp_path)

    async def scenario() -> None:
        world.shards[1].is_down = True
        assert (await ask(world, "anna")).degraded
        world.shards[1].is_down = False
        while (answer := await ask(world, "anna")).degraded:
            await asyncio.sleep(0.001)
        assert answer.item_ids == ranked([1, 2, 3], 10, [1, 2, 3])

    run(world, scenario)


def test_without_any_shard_the_popular_list_is_given(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        for shard in world.shards:
            shard.is_down = True
        answer = await ask(world, "bert", 2)
        assert answer.item_ids == item_ids([1, 2])  # bert has seen 3 and 5
        assert (answer.source, answer.reason) == ("popular", "index-unavailable")
        assert answer.degraded
        similar = await world.engine.recommend(Query(None, "i16", 2))
        assert (similar.source, similar.reason) == ("popular", "index-unavailable")

    run(world, scenario)


def test_without_the_encoder_the_popular_list_is_given(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        cached = await ask(world, "carl")
        world.encoder.is_down = True
        answer = await ask(world, "bert", 2)
        assert answer.item_ids == item_ids([1, 2])
        assert (answer.source, answer.reason) == ("popular", "encoder-unavailable")
        assert answer.degraded
        again = await ask(world, "carl")  # encoded before: nothing is missing
        assert (again.item_ids, again.degraded) == (cached.item_ids, False)

    run(world, scenario)


def test_an_encoder_that_hangs_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_TIMEOUT_S", 0.01)
    world = World(tmp_path)

    async def scenario() -> None:
        world.encoder.hangs = True
        assert (await ask(world, "anna")).reason == "encoder-unavailable"

    run(world, scenario)


def test_who_has_no_time_left_goes_without_a_part_that_nobody_else_has_to_miss(
    tmp_path: Path,
) -> None:
    world = World(tmp_path, deadline_s=0.05)

    async def scenario() -> None:
        world.encoder.hangs = True
        began = asyncio.get_running_loop().time()
        answer = await ask(world, "anna")
        assert asyncio.get_running_loop().time() - began < 1  # not the 2 s that a part is given
        assert (answer.reason, answer.degraded) == ("encoder-unavailable", True)
        world.encoder.hangs = False
        world.lane._queries._deadline_s = math.inf
        assert (await ask(world, "anna")).source == "model"  # it was not left alone

    run(world, scenario)


def test_without_the_database_the_releases_histories_answer(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        world.store.is_down = True
        answer = await ask(world, "anna")
        assert answer.item_ids == ranked([1, 2, 3], 10, [1, 2, 3])
        assert (answer.source, answer.degraded) == ("model", True)

    run(world, scenario)


def test_a_query_made_without_the_database_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hop, "_PROBE_EVERY_S", 0.001)
    world = World(tmp_path)

    async def scenario() -> None:
        await world.engine.put_events([click("bert", "i08")])
        world.store.is_down = True
        assert (await ask(world, "bert")).item_ids == ranked([3, 5], 10, [3, 5])
        world.store.is_down = False
        while (answer := await ask(world, "bert")).degraded:
            await asyncio.sleep(0.001)
        assert answer.item_ids == ranked([3, 5, 9], 10, [3, 5, 9])

    run(world, scenario)


def test_a_shard_of_another_release_is_not_mixed_in(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        world.shards[0].release = "another release"
        answer = await ask(world, "anna", 60)
        assert answer.degraded
        assert len(answer.item_ids) < 57
        assert len(world.shards[0].batch_sizes) == 2  # asked twice, refused twice

    run(world, scenario)


def test_a_refused_release_is_asked_for_once_more(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        world.shards[0].refusals_left = 1  # as when the other replica of a rollout has it
        answer = await ask(world, "anna")
        assert not answer.degraded
        assert answer.item_ids == ranked([1, 2, 3], 10, [1, 2, 3])

    run(world, scenario)


@pytest.mark.parametrize(
    ("part", "named"),
    [
        ("encoder", "the query encoder does not answer: the encoder is down"),
        ("shard", "index shard 1 does not answer: the shard is down"),
        ("store", "the database does not answer: the database is down"),
    ],
)
def test_ready_names_the_part_that_does_not_answer(tmp_path: Path, part: str, named: str) -> None:
    world = World(tmp_path)
    target = {"encoder": world.encoder, "shard": world.shards[1], "store": world.store}[part]
    target.is_down = True  # type: ignore[attr-defined]

    async def scenario() -> None:
        with pytest.raises(UnavailableError, match=named):
            await world.engine.ready()

    run(world, scenario)
