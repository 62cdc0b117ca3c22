"""The laws of the slot mixture, and its propensities against the formula in plain Python."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.hashing import stable_hashes
from raysys.policy.candidates import FreshBatch, FreshCandidates, joined_batches
from raysys.policy.noise import coins, gumbel_noise
from raysys.policy.slot_mixture import mix, mix_all, num_draws
from tests.unit.policy.pools import as_a_shard_answers, candidates, each_of, probabilities

WEIGHTS = st.floats(0, 1)
SEEDS = st.integers(0, 2**63 - 1)
KEYS = st.integers(-8, 8).filter(lambda key: key != 0)
POOLS = st.dictionaries(KEYS, st.floats(-40, 40), max_size=9)
RELEVANT = st.lists(KEYS, unique=True, max_size=9)


def seeded(logits: dict[int, float], seed: int) -> FreshCandidates:
    hashes = stable_hashes(str(key) for key in logits)
    values = np.array(list(logits.values()), float)
    keys = np.array(list(logits), np.int64)
    return FreshCandidates(keys, values, values + gumbel_noise(seed, hashes), -math.inf)


@given(POOLS, RELEVANT, SEEDS)
def test_weight_0_is_the_relevance_order_exactly(
    logits: dict[int, float], relevant: list[int], seed: int
) -> None:
    slate = mix(np.array(relevant, np.int32), seeded(logits, seed), 6, 0.0, coins(seed, 6))
    assert slate.keys.tolist() == relevant[:6]
    assert not slate.is_explored.any()
    assert slate.propensities.tolist() == [1.0] * len(slate.keys)


@given(POOLS, RELEVANT, SEEDS, WEIGHTS, WEIGHTS)
def test_a_higher_weight_never_explores_fewer_places_of_the_same_seed(
    logits: dict[int, float], relevant: list[int], seed: int, one: float, other: float
) -> None:
    low, high = sorted([one, other])
    pool = seeded(logits, seed)
    counts = [
        mix(np.array(relevant, np.int64), pool, 6, weight, coins(seed, 6)).is_explored.sum()
        for weight in (low, high)
    ]
    assert counts[0] <= counts[1]


@given(POOLS, RELEVANT, SEEDS, WEIGHTS, st.integers(1, 12))
def test_every_place_is_filled_once_while_anything_is_left(
    logits: dict[int, float], relevant: list[int], seed: int, weight: float, k: int
) -> None:
    slate = mix(np.array(relevant, np.int64), seeded(logits, seed), k, weight, coins(seed, k))
    shown = slate.keys.tolist()
    can_be_shown = {*relevant} | ({*logits} if weight else set())
    assert len(shown) == len({*shown}) == min(k, len(can_be_shown))
    assert {*shown} <= can_be_shown
    assert {*slate.keys[slate.is_explored].tolist()} <= {*logits}


@given(POOLS, RELEVANT, SEEDS, WEIGHTS)
def test_propensities_are_those_of_the_formula_which_sums_to_one_at_each_place(
    logits: dict[int, float], relevant: list[int], seed: int, weight: float
) -> None:
    slate = mix(np.array(relevant, np.int64), seeded(logits, seed), 7, weight, coins(seed, 7))
    shown = slate.keys.tolist()
    for place, propensity in enumerate(slate.propensities.tolist()):
        chances = probabilities(logits, relevant, shown[:place], weight)
        assert sum(chances.values()) == pytest.approx(1)
        assert propensity == pytest.approx(chances[shown[place]], rel=1e-9)


@given(POOLS, RELEVANT, SEEDS, WEIGHTS)
def test_every_place_says_whether_its_item_was_next_in_the_order_of_relevance(
    logits: dict[int, float], relevant: list[int], seed: int, weight: float
) -> None:
    slate = mix(np.array(relevant, np.int64), seeded(logits, seed), 7, weight, coins(seed, 7))
    shown = slate.keys.tolist()
    left = [
        [key for key in relevant if key not in shown[:place]] or [None]
        for place in range(len(shown))
    ]
    assert slate.is_relevant.tolist() == [
        key == one[0] for key, one in zip(shown, left, strict=True)
    ]
    assert slate.has_relevant.tolist() == [one[0] is not None for one in left]


@given(POOLS, RELEVANT, SEEDS, WEIGHTS, st.lists(st.integers(0, 2), min_size=17, max_size=17))
def test_a_pool_cut_into_shards_gives_the_same_list_and_propensities(
    logits: dict[int, float], relevant: list[int], seed: int, weight: float, shard_of: list[int]
) -> None:
    k = 4
    pool = seeded(logits, seed)
    draws = int(num_draws(np.array([k]), np.array([weight]), coins(seed, k)[None, :])[0])
    draws = max(draws, k - len(relevant))
    answers = [
        as_a_shard_answers(
            pool, [key for key in logits if shard_of[key + 8] == shard], relevant, draws
        )
        for shard in range(3)
    ]
    whole = mix(np.array(relevant, np.int64), pool, k, weight, coins(seed, k))
    joined = joined_batches([FreshBatch.of_queries([answer]) for answer in answers]).of(0)
    merged = mix(np.array(relevant, np.int64), joined, k, weight, coins(seed, k))
    assert merged.keys.tolist() == whole.keys.tolist()
    assert merged.is_explored.tolist() == whole.is_explored.tolist()
    assert merged.propensities == pytest.approx(whole.propensities, rel=1e-9)


def test_frequencies_of_20_000_seeds_agree_with_the_propensities() -> None:
    logits = {1: 0.0, 2: 1.0, -3: -1.0, -4: 0.5, 5: 2.0}
    relevant, weight, k, draws = [7, 2, 8, 5], 0.4, 3, 20_000
    seeds = np.arange(draws)
    hashes = stable_hashes(str(key) for key in logits)
    values = np.tile(list(logits.values()), draws)
    fresh = FreshBatch(
        np.arange(draws + 1) * len(logits),
        np.tile(np.array(list(logits), np.int64), draws),
        values,
        values + gumbel_noise(seeds, hashes).ravel(),
        np.full(draws, -np.inf),
    )
    slates = mix_all(
        [np.array(relevant)] * draws, fresh, [k] * draws, np.full(draws, weight), coins(seeds, k)
    )
    lists = [tuple(slate.keys.tolist()) for slate in each_of(slates)]
    compared = 0
    for place in range(k):
        above = Counter(shown[:place] for shown in lists)
        found = Counter(shown[: place + 1] for shown in lists)
        for prefix, times in above.items():
            chances = probabilities(logits, relevant, list(prefix), weight)
            assert {shown[-1] for shown in found if shown[:-1] == prefix} <= {*chances}
            for key, chance in chances.items():
                error = math.sqrt(chance * (1 - chance) / times)
                if times * chance < 20:  # too few for the normal law behind "4 standard errors"
                    continue
                assert abs(found[(*prefix, key)] / times - chance) <= 4 * error
                compared += 1
    assert compared > 80  # nearly every list of up to three places


def test_a_lists_propensity_is_the_product_of_its_places() -> None:
    # Place 0: relevant 9 or one of two equal fresh ones: 0.5 * 1/2. Place 1 the same with one of
    # them gone: 0.5 * 1. Place 2: nothing fresh is left, so 9 is certain.
    slate = mix(np.array([9]), candidates({1: 0.0, 2: 0.0}), 3, 0.5, np.zeros(3))
    assert slate.keys.tolist() == [1, 2, 9]
    assert slate.is_explored.tolist() == [True, True, False]
    assert slate.propensities.tolist() == pytest.approx([0.25, 0.5, 1.0])


def test_an_item_that_is_relevant_and_fresh_can_come_either_way() -> None:
    # 0.7 as the next relevant one, and 0.3 / 2 as one of two fresh ones, whichever coin fell.
    pool = candidates({4: 1.0, 5: 1.0})
    for coin, is_explored in ((0.1, True), (0.9, False)):
        slate = mix(np.array([4, 6]), pool, 1, 0.3, np.array([coin]))
        assert slate.keys.tolist() == [4]
        assert slate.is_explored.tolist() == [is_explored]
        assert slate.propensities.tolist() == pytest.approx([0.85])


def test_without_relevant_items_every_place_explores() -> None:
    slate = mix(np.zeros(0, np.int32), candidates({4: 0.0, 5: 0.0}), 3, 0.1, np.full(3, 0.9))
    assert slate.keys.tolist() == [4, 5]
    assert slate.is_explored.tolist() == [True, True]
    assert slate.propensities.tolist() == pytest.approx([0.5, 1.0])


def test_items_that_a_shard_only_sums_up_lower_the_propensities_of_the_others() -> None:
    # exp(log 2) = 2 others beside two candidates of weight 1 each: 1/4, then 1/3.
    slate = mix(np.array([9]), candidates({1: 0.0, 2: 0.0}, math.log(2)), 2, 1.0, np.zeros(2))
    assert slate.propensities.tolist() == pytest.approx([1 / 4, 1 / 3])


def test_what_is_left_is_added_up_and_not_found_by_subtraction() -> None:
    # The item at the top has all but e^-300 of the sum, so 1 - that is 0 in floating point.
    slate = mix(np.array([9, 8]), candidates({1: 0.0, 2: -300.0, 3: -301.0}), 2, 0.5, np.zeros(2))
    assert slate.keys.tolist() == [1, 2]
    assert slate.propensities[1] == pytest.approx(0.5 / (1 + math.exp(-1)))


def test_queries_of_a_batch_do_not_touch_each_other() -> None:
    pools = [candidates({1: 0.0, 2: 3.0}), candidates({}), candidates({-5: 1.0, 1: 2.0, 6: 0.0})]
    relevant = [np.array([2, 7]), np.array([3, 4, 5]), np.zeros(0, np.int64)]
    ks, weights = [3, 2, 1], np.array([0.5, 0.9, 0.2])
    tossed = np.array([[0.6, 0.1, 0.2], [0.0, 0.0, 0.0], [0.9, 0.9, 0.9]])
    together = mix_all(relevant, FreshBatch.of_queries(pools), ks, weights, tossed)
    for row, slate in enumerate(each_of(together)):
        alone = mix(relevant[row], pools[row], ks[row], float(weights[row]), tossed[row])
        assert slate.keys.tolist() == alone.keys.tolist()
        assert slate.is_explored.tolist() == alone.is_explored.tolist()
        assert slate.propensities.tolist() == pytest.approx(alone.propensities.tolist())
    assert [slate.keys.tolist() for slate in each_of(together)] == [[2, 1, 7], [3, 4], [-5]]


def test_of_equal_draws_the_lower_key_comes_first_whatever_shard_answers_first() -> None:
    keys = np.array([5, -2, 9, 4])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        pool = FreshCandidates(keys[order], np.zeros(4), np.ones(4), -math.inf)
        assert mix(np.array([7]), pool, 4, 1.0, np.zeros(4)).keys.tolist() == [-2, 4, 5, 9]


def test_batches_of_several_shards_are_joined_query_by_query() -> None:
    one = FreshBatch.of_queries([candidates({1: 0.0}, 0.0), candidates({2: 0.5, 3: 1.0})])
    other = FreshBatch.of_queries([candidates({-1: 2.0}, 0.0), candidates({})])
    both = joined_batches([one, other])
    assert both.of(0).keys.tolist() == [1, -1]
    assert both.of(0).logits.tolist() == [0.0, 2.0]
    assert both.of(0).log_rest == pytest.approx(math.log(2))
    assert both.of(1).keys.tolist() == [2, 3]
    assert both.of(1).log_rest == -math.inf


@pytest.mark.parametrize("weight", [-0.1, 1.1, math.nan])
def test_a_weight_that_is_no_chance_is_refused(weight: float) -> None:
    with pytest.raises(ValueError, match="is a chance, in"):
        mix(np.array([1]), candidates({}), 1, weight, np.zeros(1))


def test_places_beyond_the_list_do_not_draw() -> None:
    tossed = np.array([[0.1, 0.4, 0.1], [0.1, 0.1, 0.9], [0.0, 0.9, 0.9]])
    found = num_draws(np.array([2, 3, 1]), np.array([0.3, 0.3, 0.0]), tossed)
    assert found.tolist() == [1, 2, 0]


def test_too_few_candidates_or_coins_are_refused() -> None:
    with pytest.raises(ValueError, match="got 1 candidates and a sum over others"):
        mix(np.array([1]), candidates({2: 0.0}, 0.0), 2, 0.5, np.zeros(2))
    with pytest.raises(ValueError, match="3 places need as many coins, but got 2"):
        mix(np.array([1]), candidates({}), 3, 0.5, np.zeros(2))
