"""The draw of fresh items against an oracle that perturbs and sorts everything in plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.hashing import stable_hashes
from raysys.index.drawing import FreshItems, KeyLists, draw_candidates
from raysys.policy.candidates import FreshBatch, joined_batches
from raysys.policy.noise import gumbel_noise
from raysys.policy.policies import EpsilonGreedy, SlotMixture
from tests.unit.index.key_lists import Lists

DIM = 16
POLICY = SlotMixture(temperature=0.7, evidence=1.5, bonus=2.0)
CLICK_RATE = 0.2


def items(count: int, seed: int = 0) -> FreshItems:
    rng = np.random.default_rng(seed)
    keys = np.arange(count) * 3 - count
    keys[keys == 0] = 1
    return FreshItems(
        keys,
        stable_hashes(f"item{key}" for key in keys),
        rng.normal(size=(count, DIM)).astype(np.float32),
        rng.integers(0, 9, count),
        rng.integers(0, 9, count),
        rng.integers(0, 4, count),
    )


def queries(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def draw(
    pool: FreshItems,
    asked: np.ndarray,
    counts: list[int],
    banned: KeyLists | None = None,
    relevant: KeyLists | None = None,
) -> FreshBatch:
    none = Lists.of([[]] * len(asked))
    return draw_candidates(
        pool,
        asked,
        seeds=np.arange(len(asked)) + 5,
        counts=np.array(counts),
        banned=banned or none,
        relevant=relevant or none,
        policy=POLICY,
        click_rate=CLICK_RATE,
    )[0]


def oracle(
    pool: FreshItems,
    asked: np.ndarray,
    counts: list[int],
    banned: list[set[int]],
    relevant: list[set[int]],
) -> list[tuple[list[int], float]]:
    """Return for each query the keys, in order of their perturbed logits, and the rest's sum."""
    wide = asked.astype(float) @ pool.vectors.T.astype(float)
    logits = wide / 0.7 + [
        1.5 * math.log((2 + clicked) / (2 + 0.2 * max(shown, clicked)))
        + 2.0 * math.sqrt(2 / (2 + 0.2 * max(shown, clicked))) / (1 + known)
        for shown, clicked, known in zip(
            pool.impressions, pool.clicks, pool.interactions, strict=True
        )
    ]
    perturbed = logits + gumbel_noise(np.arange(len(asked)) + 5, pool.hashes)
    answers = []
    for row, count in enumerate(counts):
        allowed = [at for at, key in enumerate(pool.keys.tolist()) if key not in banned[row]]
        order = sorted(allowed, key=lambda at, row=row: -perturbed[row, at])
        others = [at for at in order if int(pool.keys[at]) not in relevant[row]]
        kept = [at for at in order if at not in others[count:]]
        rest = [math.exp(logits[row, at]) for at in order if at not in kept]
        log_rest = math.log(sum(rest)) if rest else -math.inf
        answers.append((pool.keys[kept].tolist(), log_rest))
    return answers


@given(st.integers(0, 40), st.integers(0, 2**32 - 1), st.lists(st.integers(0, 9), max_size=5))
def test_a_draw_is_what_sorting_all_perturbed_logits_gives(
    num_items: int, seed: int, counts: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    pool, asked = items(num_items, seed), queries(len(counts), seed)
    banned = [{*rng.integers(-60, 60, 30).tolist()} for _ in counts]
    relevant = [{*rng.integers(-60, 60, 30).tolist()} - banned[row] for row in range(len(counts))]
    found = draw(pool, asked, counts, Lists.of(banned), Lists.of(relevant))
    assert len(found.offsets) == len(counts) + 1
    for row, (keys, log_rest) in enumerate(oracle(pool, asked, counts, banned, relevant)):
        assert found.of(row).keys.tolist() == keys
        assert found.of(row).log_rest == pytest.approx(log_rest, rel=1e-5, abs=1e-5)  # float32


def test_epsilon_greedy_draws_by_the_noise_alone() -> None:
    pool, asked = items(50), queries(3)
    none = Lists.of([[]] * 3)
    found, num_fresh = draw_candidates(
        pool,
        asked,
        seeds=np.arange(3) + 5,
        counts=np.array([4] * 3),
        banned=none,
        relevant=none,
        policy=EpsilonGreedy(),
        click_rate=CLICK_RATE,
    )
    assert num_fresh.tolist() == [50] * 3
    noise = gumbel_noise(np.arange(3) + 5, pool.hashes)
    for row in range(3):
        best = np.argsort(-noise[row])[:4]
        assert found.of(row).keys.tolist() == pool.keys[best].tolist()
        assert found.of(row).perturbed.tolist() == noise[row][best].tolist()
        assert found.of(row).logits.tolist() == [0.0] * 4
        assert found.of(row).log_rest == pytest.approx(math.log(46))


def test_what_is_banned_cannot_be_drawn_and_is_counted_once() -> None:
    pool = items(6)
    keys = pool.keys.tolist()
    banned = Lists.of([[], [keys[2], keys[2], 10**6], keys, [keys[0], keys[5]]])
    _, num_fresh = draw_candidates(
        pool,
        queries(4),
        seeds=np.arange(4),
        counts=np.array([3] * 4),
        banned=banned,
        relevant=Lists.of([[]] * 4),
        policy=POLICY,
        click_rate=CLICK_RATE,
    )
    assert num_fresh.tolist() == [6, 5, 0, 4]


@settings(max_examples=20)
@given(st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_shards_answer_together_what_the_whole_pool_answers_bit_for_bit(
    num_shards: int, seed: int
) -> None:
    pool, asked = items(50, seed), queries(4, seed)
    shard_of = np.random.default_rng(seed).integers(0, num_shards, len(pool))
    parts = [draw(pool.take(shard_of == shard), asked, [5] * 4) for shard in range(num_shards)]
    whole, together = draw(pool, asked, [5] * 4), joined_batches(parts)
    for row in range(4):
        best = np.argsort(-together.of(row).perturbed)[:5]
        assert together.of(row).keys[best].tolist() == whole.of(row).keys.tolist()
        assert together.of(row).logits[best].tolist() == whole.of(row).logits.tolist()
        assert together.of(row).perturbed[best].tolist() == whole.of(row).perturbed.tolist()
        masses = [*np.exp(together.of(row).logits), np.exp(together.of(row).log_rest)]
        all_of_it = [*np.exp(whole.of(row).logits), np.exp(whole.of(row).log_rest)]
        assert sum(masses) == pytest.approx(sum(all_of_it), rel=1e-5)


def test_a_query_draws_the_same_alone_and_in_any_batch() -> None:
    pool, asked = items(3_000), queries(100)  # more than one block of queries
    whole = draw(pool, asked, [7] * 100)
    for row in (0, 42, 43, 99):
        alone, _ = draw_candidates(
            pool,
            asked[row : row + 1],
            seeds=np.array([row + 5]),
            counts=np.array([7]),
            banned=Lists.of([[]]),
            relevant=Lists.of([[]]),
            policy=POLICY,
            click_rate=CLICK_RATE,
        )
        assert alone.keys.tolist() == whole.of(row).keys.tolist()
        assert alone.logits.tolist() == whole.of(row).logits.tolist()
        assert alone.perturbed.tolist() == whole.of(row).perturbed.tolist()


def test_lists_of_a_later_block_belong_to_its_queries() -> None:
    pool = items(3_000)
    banned = [pool.keys[[row]].tolist() for row in range(100)]
    relevant = [pool.keys[[row + 200]].tolist() for row in range(100)]
    found = draw(pool, queries(100), [1] * 100, Lists.of(banned), Lists.of(relevant))
    for row in range(100):
        assert pool.keys[row] not in found.of(row).keys
        assert pool.keys[row + 200] in found.of(row).keys


def test_an_empty_pool_and_an_empty_batch_give_nothing() -> None:
    assert draw(items(0), queries(2), [3, 3]).log_rest.tolist() == [-math.inf] * 2
    assert draw(items(0), queries(2), [3, 3]).offsets.tolist() == [0, 0, 0]
    assert draw(items(5), queries(0), []).offsets.tolist() == [0]
