"""The engine over a real index in this process. Run: pytest tests/unit/serving"""

import asyncio
import dataclasses
import re
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raysys.dataset.context import fit_context
from raysys.errors import TooManyRequestsError
from raysys.logs.schema import Field, ValueType
from raysys.serving.messages import Query
from raysys.state.users import User
from tests.unit.serving.world import (
    HISTORIES,
    ITEM_IDS,
    RELEASE,
    World,
    ask,
    click,
    embeddings,
    encoded,
    item_ids,
    ranked,
    run,
)


def test_a_users_list_is_what_evaluation_ranks_for_their_history(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        answers = await asyncio.gather(*(ask(world, user) for user in HISTORIES))
        for answer, history in zip(answers, HISTORIES.values(), strict=True):
            assert answer.item_ids == ranked(history, 10, history)
            assert (answer.source, answer.reason, answer.degraded) == ("model", None, False)
            assert answer.release == RELEASE
            assert 0 < len(answer.recommendation_id) <= 40
        assert len({answer.recommendation_id for answer in answers}) == 3

    run(world, scenario)


def test_one_user_asks_in_several_contexts_and_each_is_encoded_once(tmp_path: Path) -> None:
    device = Field("DEVICE", ValueType.STRING, is_nullable=True, is_categorical=True)
    context = fit_context([pa.table({"device": ["phone", "tv"]})], [device])  # codes 1 and 2
    world = World(tmp_path, context=context)

    async def scenario() -> None:
        asked = [{}, {"device": "tv"}, {"DEVICE": "phone"}, {"device": "tv"}, {"device": "radio"}]
        for _ in range(2):
            answers = await asyncio.gather(
                *(world.engine.recommend(Query("anna", None, 10, each)) for each in asked)
            )
            for answer, code in zip(answers, [0, 2, 1, 2, 0], strict=True):
                seen = HISTORIES["anna"]
                assert answer.item_ids == ranked(seen, 10, seen, code)
        assert sum(len(call) for call in world.encoder.calls) == 3
        assert len({tuple(answer.item_ids) for answer in answers}) == 3

    run(world, scenario)


def test_what_was_put_of_a_user_is_given_to_the_encoder_with_the_next_request(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        await asyncio.gather(ask(world, "anna"), ask(world, "new"))
        assert world.encoder.requests[-1].properties == {}
        assert (await ask(world, "new")).reason == "unknown-user"
        world.encoder.for_strangers = encoded([7])
        await world.engine.put_users([User("new", '{"a": 1}'), User("anna", '{"b": 2}')])
        anna, new, bert = await asyncio.gather(
            *(ask(world, name) for name in ("anna", "new", "bert"))
        )
        request = world.encoder.requests[-1]
        told = {request.user_ids[row]: text for row, text in request.properties.items()}
        assert told == {"anna": '{"b": 2}', "new": '{"a": 1}'}
        assert "bert" in request.user_ids
        assert (new.source, new.reason, new.item_ids) == ("model", None, ranked([7], 10, []))
        assert anna.item_ids == ranked(HISTORIES["anna"], 10, HISTORIES["anna"])
        assert not any(answer.degraded for answer in (anna, new, bert))
        num_calls = len(world.encoder.calls)
        await asyncio.gather(ask(world, "anna"), ask(world, "new"))
        assert len(world.encoder.calls) == num_calls  # the vectors are kept

    run(world, scenario)


def test_queries_in_more_contexts_than_are_kept_are_answered_all(tmp_path: Path) -> None:
    names = [f"d{number:02}" for number in range(20)]
    device = Field("DEVICE", ValueType.STRING, is_nullable=True, is_categorical=True)
    context = fit_context([pa.table({"device": names})], [device])
    world = World(tmp_path, context=context)

    async def scenario() -> None:
        answers = await asyncio.gather(
            *(world.engine.recommend(Query("anna", None, 9, {"device": name})) for name in names)
        )
        for code, answer in enumerate(answers, start=1):
            assert not answer.degraded
            assert answer.item_ids == ranked(HISTORIES["anna"], 9, HISTORIES["anna"], code)

    run(world, scenario)


def test_scores_are_the_softmax_over_the_whole_catalogue(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        answer = await ask(world, "anna", 60)
        logits = embeddings().astype(float) @ encoded(HISTORIES["anna"]).astype(float)
        probabilities = np.exp(logits) / np.exp(logits).sum()  # over all 60, seen ones too
        expected = [probabilities[ITEM_IDS.index(item_id)] for item_id in answer.item_ids]
        assert answer.scores == pytest.approx(expected)
        assert answer.scores == sorted(answer.scores or [], reverse=True)
        assert len(expected) == 57  # all but the three seen

    run(world, scenario)


def test_scores_of_an_approximate_index_add_up_to_one_over_the_list(tmp_path: Path) -> None:
    world = World(tmp_path, factory="HNSW8")

    async def scenario() -> None:
        answer = await ask(world, "anna", 10)
        assert sum(answer.scores or []) == pytest.approx(1)

    run(world, scenario)


def test_seen_items_stay_when_they_need_not_be_left_out(tmp_path: Path) -> None:
    world = World(tmp_path, exclude_seen=False)

    async def scenario() -> None:
        answer = await ask(world, "anna", 60)
        assert answer.item_ids == ranked(HISTORIES["anna"], 60, [])

    run(world, scenario)


def test_the_next_answer_after_an_event_takes_it_into_account(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        before = await ask(world, "bert")
        await world.engine.put_events([click("bert", "i08"), click("bert", "never heard of")])
        after = await ask(world, "bert")
        assert after.item_ids == ranked([3, 5, 9], 10, [3, 5, 9])  # i08 is item number 9
        assert after.item_ids != before.item_ids

    run(world, scenario)


def test_an_encoded_query_is_used_again_until_the_state_changes(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        for _ in range(3):
            await ask(world, "anna")
        assert world.encoder.calls == [["anna"]]
        await world.engine.put_events([click("anna", "i08")])
        await ask(world, "anna")
        assert world.encoder.calls == [["anna"], ["anna"]]
        assert world.encoder.requests[1].item_nums.tolist() == [1, 2, 3, 9]

    run(world, scenario)


def test_the_encoder_gets_the_newest_interactions_and_seen_keeps_the_older_ones(
    tmp_path: Path,
) -> None:
    world = World(tmp_path)  # an encoder of this release reads 4 interactions

    async def scenario() -> None:
        await world.engine.put_events([click("anna", f"i{n}", 10**15 + n) for n in (20, 21, 22)])
        answer = await ask(world, "anna", 60)
        assert world.encoder.requests[0].item_nums.tolist() == [3, 21, 22, 23]
        assert answer.item_ids == ranked([3, 21, 22, 23], 60, [1, 2, 3, 21, 22, 23])

    run(world, scenario)


def test_only_the_newest_items_up_to_the_cap_count_as_seen(tmp_path: Path) -> None:
    world = World(tmp_path, max_seen_items=2)

    async def scenario() -> None:
        answer = await ask(world, "anna", 60)
        assert answer.item_ids == ranked([1, 2, 3], 60, [2, 3])

    run(world, scenario)


def test_an_unknown_user_gets_the_popular_list_and_is_told_so(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        answer = await ask(world, "a stranger", 5)
        assert answer.item_ids == item_ids([3, 1, 2, 5, 60])  # counts 3, 2, 1, 1, 1
        assert (answer.source, answer.reason) == ("popular", "unknown-user")
        assert (answer.scores, answer.degraded) == (None, False)

    run(world, scenario)


def test_a_stranger_whom_the_model_has_an_answer_for_gets_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.encoder.for_strangers = encoded([7])

    async def scenario() -> None:
        for _ in range(2):
            answer = await ask(world, "a stranger", 5)
            assert (answer.source, answer.reason) == ("model", None)
            assert answer.item_ids == ranked([7], 5, [])
        assert len(world.encoder.calls) == 1

    run(world, scenario)


def test_a_user_whose_only_events_are_on_unknown_items_is_unknown(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        await world.engine.put_events([click("dora", "never heard of")])
        assert (await ask(world, "dora")).reason == "unknown-user"
        await world.engine.put_events([click("dora", "i03")])
        assert (await ask(world, "dora")).item_ids == ranked([4], 10, [4])

    run(world, scenario)


def test_a_user_of_whom_the_model_knows_nothing_is_unknown(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.encoder.knows_nobody = True

    async def scenario() -> None:
        for _ in range(2):
            answer = await ask(world, "anna", 3)
            assert (answer.source, answer.reason) == ("popular", "unknown-user")
            assert answer.item_ids == item_ids([5, 60, 4])  # without what she has seen

    run(world, scenario)


def test_an_item_alone_leads_to_the_items_that_are_most_like_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    vectors = embeddings().astype(float)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors[16]

    async def scenario() -> None:
        for _ in range(2):
            answer = await world.engine.recommend(Query(None, "i16", 4))
            expected = [num for num in np.argsort(-cosines) if num != 16][:4]
            assert answer.item_ids == [ITEM_IDS[num] for num in expected]
            assert answer.scores == pytest.approx(cosines[expected], abs=1e-6)
            assert (answer.source, answer.reason) == ("similar-items", None)
        # The item's own shard was asked for its vector, once.
        assert sorted(world.shards[0].lookups + world.shards[1].lookups) == [[17]]

    run(world, scenario)


def test_an_unknown_item_leads_to_the_popular_list(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        answer = await world.engine.recommend(Query(None, "never heard of", 2))
        assert answer.item_ids == item_ids([3, 1])
        assert (answer.source, answer.reason) == ("popular", "unknown-item")

    run(world, scenario)


def test_with_a_user_an_item_does_not_change_the_list(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        answer = await world.engine.recommend(Query("anna", "i16", 10))
        assert answer.item_ids == ranked([1, 2, 3], 10, [1, 2, 3])

    run(world, scenario)


def test_queries_of_one_batch_get_what_each_asked_for(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        sizes = {"anna": 3, "bert": 40, "carl": 500}
        queries = [Query(user, None, size) for user, size in sizes.items()]
        queries += [Query("anna", None, 20), Query(None, "i16", 50)]
        alone = await world.engine.recommend(queries[-1])
        answers = await asyncio.gather(*map(world.engine.recommend, queries))
        assert world.shards[0].batch_sizes == [1, 5]
        for answer, (user, size) in zip(answers, sizes.items(), strict=False):
            assert answer.item_ids == ranked(HISTORIES[user], size, HISTORIES[user])
        assert answers[3].item_ids == ranked(HISTORIES["anna"], 20, HISTORIES["anna"])
        assert (answers[4].item_ids, answers[4].scores) == (alone.item_ids, alone.scores)
        assert len(alone.item_ids) == 50

    run(world, scenario)


def test_who_has_seen_everything_gets_an_empty_list_with_the_reason(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        await world.engine.put_events([click("anna", item_id) for item_id in ITEM_IDS])
        answer = await ask(world, "anna")
        assert (answer.item_ids, answer.scores, answer.reason) == ([], [], "nothing-left")

    run(world, scenario)


def test_each_hop_happens_once_for_all_that_arrive_together(tmp_path: Path) -> None:
    world = World(tmp_path, max_batch_size=64)

    async def scenario() -> None:
        users = [*HISTORIES, "a stranger", "anna"]
        await asyncio.gather(*(ask(world, user) for user in users))
        assert world.store.reads == 1
        assert world.encoder.calls == [["anna", "bert", "carl", "a stranger"]]
        assert [shard.batch_sizes for shard in world.shards] == [[4], [4]]  # all but the stranger

    run(world, scenario)


def test_a_full_queue_is_refused_and_the_others_are_answered(tmp_path: Path) -> None:
    world = World(tmp_path, max_batch_size=4, max_queued_requests=3)

    async def scenario() -> None:
        gate = asyncio.Event()
        world.shards[0].gate = gate
        first = [asyncio.ensure_future(ask(world, "anna"))]
        while not world.shards[0].batch_sizes:  # until its batch is on its way
            await asyncio.sleep(0.001)
        waiting = [asyncio.ensure_future(ask(world, "anna")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(TooManyRequestsError, match="3 requests wait already"):
            await ask(world, "anna")
        gate.set()
        answers = await asyncio.gather(*first, *waiting)
        assert all(answer.source == "model" for answer in answers)

    run(world, scenario)


def test_ready_says_what_is_served(tmp_path: Path) -> None:
    world = World(tmp_path, fresh=[7, 8, 9])
    for shard, version in zip(world.shards, (4, 2), strict=True):
        shard.pool = dataclasses.replace(shard.pool, version=version)

    async def scenario() -> None:
        assert await world.engine.ready() == {
            "campaigns": {
                "default": {
                    "version": 1,
                    "releases": {
                        RELEASE: {"share": 1.0, "items": 60, "users": 3, "fresh_items": 3}
                    },
                }
            },
            "waiting": {},
            "shards": 2,
            "delta_version": 2,
        }

    run(world, scenario)


def test_every_answer_is_remembered_as_a_slate(tmp_path: Path) -> None:
    world = World(tmp_path)

    async def scenario() -> None:
        queries = [Query("anna", None, 3), Query("a stranger", "i01", 2), Query(None, "i16", 2)]
        answers = await asyncio.gather(*map(world.engine.recommend, queries))
        await world.close()
        slates = {slate.recommendation_id: slate for slate in world.store.slates}
        assert len(slates) == 3
        for query, answer in zip(queries, answers, strict=True):
            assert re.fullmatch(
                "RID-[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", answer.recommendation_id
            )
            slate = slates[answer.recommendation_id]
            assert (slate.user_id, slate.source) == (query.user_id, answer.source)
            assert slate.item_id == (None if query.user_id else query.item_id)
            assert slate.item_ids == tuple(answer.item_ids)
            assert slate.propensities == (1.0,) * query.num_results
            assert (slate.policy, slate.exploration_weight, slate.seed) == ("none", 0.0, 0)
            assert (slate.explored, slate.fresh_item_ids) == ((), ())
            assert (slate.release, slate.is_degraded) == (RELEASE, False)
            assert abs(slate.shown_at_us / 1e6 - time.time()) < 60

    run(world, scenario)


def test_no_slate_is_stored_where_nothing_is_to_be_recorded(tmp_path: Path) -> None:
    world = World(tmp_path, record=False)

    async def scenario() -> None:
        answer = await ask(world, "anna", 3)
        assert answer.item_ids == ranked([1, 2, 3], 3, seen=[1, 2, 3])
        await world.close()
        assert world.store.slates == []

    run(world, scenario)
