"""The laws of Thompson sampling, and its chances against frequencies and a closed form."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.policy.candidates import FreshBatch, FreshCandidates, joined_batches
from raysys.policy.noise import coins, uniforms
from raysys.policy.policies import ThompsonSampling
from raysys.policy.slot_mixture import MixedSlates
from raysys.policy.thompson import mix, num_sampled, sampled

KEYS = st.integers(-8, 8).filter(lambda key: key != 0)
WORTH = st.tuples(st.floats(-9, 9), st.floats(0.3, 9))
POOLS = st.dictionaries(KEYS, WORTH, max_size=9)
RELEVANT = st.lists(KEYS, unique=True, max_size=9)
SEEDS = st.integers(0, 2**62)
WEIGHTS = st.floats(0, 1)
POLICY = ThompsonSampling(temperature=2.0, evidence=3.0)


def pool_of(worth: dict[int, tuple[float, float]]) -> FreshCandidates:
    means = np.array([mean for mean, _ in worth.values()], float)
    deviations = np.array([deviation for _, deviation in worth.values()], float)
    return FreshCandidates(np.array([*worth], np.int64), means, means + deviations, -math.inf)


def shown(
    worth: dict[int, tuple[float, float]], relevant: list[int], k: int, weight: float, seed: int
) -> MixedSlates:
    return mix(np.array(relevant, np.int64), pool_of(worth), k, weight, coins(seed, k), seed)


def chances(
    worth: dict[int, tuple[float, float]], relevant: list[int], above: list[int], weight: float
) -> dict[int, float]:
    """Return the chance of each item at the place below `above`, by a grid of 10,000 points."""
    left = {key: each for key, each in worth.items() if key not in above}
    following = [key for key in relevant if key not in above]
    if not left:
        weight = 0.0
    elif not following:
        weight = 1.0
    at = np.linspace(-140, 140, 10_001)
    below = {}
    for key, (mean, deviation) in left.items():
        scale = deviation * math.sqrt(3) / math.pi
        below[key] = 1 / (1 + np.exp(np.clip(-(at - mean) / scale, -700, 700)))
    found = {
        key: weight
        * float(
            np.diff(below[key])
            @ np.prod(
                [(each[1:] + each[:-1]) / 2 for name, each in below.items() if name != key], 0
            )
        )
        if len(left) > 1
        else weight
        for key in left
    }
    if following:
        found[following[0]] = found.get(following[0], 0.0) + 1 - weight
    return found


@given(POOLS, RELEVANT, SEEDS)
def test_weight_0_is_the_relevance_order_exactly(
    worth: dict[int, tuple[float, float]], relevant: list[int], seed: int
) -> None:
    slate = shown(worth, relevant, 6, 0.0, seed)
    assert slate.keys.tolist() == relevant[:6]
    assert not slate.is_explored.any()
    assert not slate.is_fresh.any()
    assert slate.propensities.tolist() == [1.0] * len(slate.keys)


@given(POOLS, RELEVANT, SEEDS, WEIGHTS, WEIGHTS)
def test_a_higher_weight_never_explores_fewer_places_of_the_same_seed(
    worth: dict[int, tuple[float, float]],
    relevant: list[int],
    seed: int,
    one: float,
    other: float,
) -> None:
    low, high = (
        shown(worth, relevant, 6, weight, seed).is_explored.sum() for weight in sorted([one, other])
    )
    assert low <= high


@settings(max_examples=25)
@given(POOLS, RELEVANT, SEEDS, st.floats(0.01, 1), st.integers(1, 12))
def test_every_place_has_the_chance_that_a_fine_grid_gives_and_these_sum_to_1(
    worth: dict[int, tuple[float, float]], relevant: list[int], seed: int, weight: float, k: int
) -> None:
    slate = shown(worth, relevant, k, weight, seed)
    keys = slate.keys.tolist()
    assert len(keys) == len({*keys}) == min(k, len({*relevant} | {*worth}))
    assert [key in worth for key in keys] == slate.is_fresh.tolist()
    for place, propensity in enumerate(slate.propensities.tolist()):
        expected = chances(worth, relevant, keys[:place], weight)
        assert sum(expected.values()) == pytest.approx(1, abs=5e-4)
        assert propensity == pytest.approx(expected[keys[place]], abs=1e-3)


def test_frequencies_of_2_000_seeds_agree_with_the_propensities() -> None:
    worth = {1: (0.0, 1.0), 2: (1.0, 0.5), -3: (-1.0, 3.0), 5: (0.5, 2.0)}
    relevant, weight, draws = [7, 2, 8], 0.6, 2_000
    slates = [shown(worth, relevant, 2, weight, seed) for seed in range(draws)]
    lists = [tuple(slate.keys.tolist()) for slate in slates]
    compared = 0
    for place in range(2):
        above = Counter(keys[:place] for keys in lists)
        found = Counter(keys[: place + 1] for keys in lists)
        for prefix, times in above.items():
            for key, chance in chances(worth, relevant, list(prefix), weight).items():
                if times * chance < 20:
                    continue
                error = math.sqrt(chance * (1 - chance) / times)
                assert abs(found[(*prefix, key)] / times - chance) <= 4 * error + 1e-3
                compared += 1
    assert compared > 15


def test_of_two_alike_but_for_their_means_the_chance_has_a_closed_form() -> None:
    # The difference of two logistic variables of scale 1 and mean 0 exceeds -d with the chance
    # e^d (e^d - 1 - d) / (e^d - 1)^2.
    deviation, gap = math.pi / math.sqrt(3), 1.5
    likelier = math.exp(gap) * (math.exp(gap) - 1 - gap) / (math.exp(gap) - 1) ** 2
    slate = shown({1: (gap, deviation), 2: (0.0, deviation)}, [], 2, 0.3, 0)
    first = likelier if slate.keys.tolist() == [1, 2] else 1 - likelier
    assert slate.propensities.tolist() == pytest.approx([first, 1.0], abs=1e-4)


def test_each_place_takes_samples_of_its_own() -> None:
    keys = np.array([3, -4, 1 << 40])
    numbers = np.array([uniforms(9, place, keys) for place in range(400)])
    assert ((numbers > 0) & (numbers < 1)).all()
    assert len(np.unique(numbers)) == numbers.size
    assert uniforms(9, 7, keys[::-1]).tolist() == numbers[7][::-1].tolist()
    assert numbers.mean() == pytest.approx(0.5, abs=0.04)
    assert abs(np.corrcoef(numbers[:-1, 0], numbers[1:, 0])[0, 1]) < 0.2


@given(st.integers(0, 2**32), st.integers(1, 100))
def test_a_pool_cut_into_shards_gives_the_same_items_to_sample(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    count = 200
    keys = rng.permutation(np.arange(count) - 60)
    keys[keys == 0] = count
    means, deviations = rng.normal(size=count), rng.uniform(0.5, 2, count)
    relevant = rng.choice(keys, 12, replace=False)
    whole = FreshCandidates(keys, means, means + deviations, -math.inf)
    parts = []
    for shard in range(3):
        rows = np.flatnonzero(keys % 3 == shard)
        others = rows[~np.isin(keys[rows], relevant)]
        best = others[np.argsort(-whole.perturbed[others])][: num_sampled(k)]
        kept = np.concatenate([best, rows[np.isin(keys[rows], relevant)]])
        part = FreshCandidates(keys[kept], means[kept], whole.perturbed[kept], 0.0)
        parts.append(FreshBatch.of_queries([part]))
    of_all = sampled(relevant, whole, k)
    of_shards = sampled(relevant, joined_batches(parts).of(0), k)
    assert [each.tolist() for each in of_all] == [each.tolist() for each in of_shards]
    assert len(of_all[0]) == 12 + max(k, 64)
    assert {*relevant.tolist()} <= {*of_all[0].tolist()}
    left = ~np.isin(keys, of_all[0])
    in_or_relevant = ~left & ~np.isin(keys, relevant)
    assert whole.perturbed[left].max() <= whole.perturbed[in_or_relevant].min()


@given(st.integers(0, 1000), st.integers(0, 100), st.floats(1e-4, 1))
def test_what_is_ignored_sinks_what_is_clicked_rises_and_what_is_seen_is_doubted_less(
    impressions: int, clicks: int, click_rate: float
) -> None:
    shown_times = np.array([0, 1, 1]) + impressions + clicks
    clicked = np.array([0, 0, 1]) + clicks
    before, ignored, liked = POLICY.appeal(shown_times, clicked, 0 * clicked, click_rate)
    assert ignored < before
    assert liked > ignored
    one, _, other = POLICY.deviations(clicked)
    assert other < one


def test_moments_are_those_of_the_log_of_a_gamma_variable() -> None:
    clicks = np.array([0, 3, 40])
    rng = np.random.default_rng(0)
    samples = np.log(rng.gamma(2 + clicks, 1 / (2 + 0.1 * 50), (200_000, 3)))
    found = POLICY.appeal(np.full(3, 50), clicks, 0 * clicks, 0.1)
    assert found / 3 == pytest.approx(samples.mean(axis=0), abs=0.01)
    assert POLICY.deviations(clicks) / 3 == pytest.approx(samples.std(axis=0), rel=0.01)
