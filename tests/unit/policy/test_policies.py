"""The laws that hold for every policy that draws, and what tells them apart."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.hashing import stable_hashes
from raysys.policy.candidates import FreshBatch
from raysys.policy.noise import coins, gumbel_noise
from raysys.policy.policies import (
    EPSILON_GREEDY,
    SLOT_MIXTURE,
    DrawPolicy,
    EpsilonGreedy,
    SlotMixture,
)
from raysys.policy.slot_mixture import MixedSlates, mix_all
from tests.unit.policy.pools import each_of, probabilities

MIXTURE = SlotMixture(temperature=0.7, evidence=3.0, bonus=2.0)
POLICIES: dict[str, DrawPolicy] = {SLOT_MIXTURE: MIXTURE, EPSILON_GREEDY: EpsilonGreedy()}
RELEVANT = [7, 2, 8]
FRESH = [1, 2, 3, 4]
"""2 is relevant too."""

COUNTS = st.lists(st.integers(0, 50), min_size=4, max_size=4)
SCORES = st.lists(st.floats(-5, 5, width=32), min_size=4, max_size=4)


def logits_of(
    policy: DrawPolicy, scores: list[float], impressions: list[int], clicks: list[int]
) -> np.ndarray:
    known = np.array(impressions), np.array(clicks), np.zeros(len(scores), np.int64)
    return policy.score_weight * np.array(scores) + policy.appeal(*known, 0.1)


def slates_of(logits: np.ndarray, seeds: np.ndarray, weight: float, k: int) -> list[MixedSlates]:
    number = len(seeds)
    noise = gumbel_noise(seeds, stable_hashes(map(str, FRESH)))
    fresh = FreshBatch(
        np.arange(number + 1) * len(FRESH),
        np.tile(np.array(FRESH), number),
        np.tile(logits, number),
        (logits + noise).ravel(),
        np.full(number, -np.inf),
    )
    relevant = [np.array(RELEVANT)] * number
    weights = np.full(number, weight)
    return each_of(mix_all(relevant, fresh, [k] * number, weights, coins(seeds, k)))


@pytest.mark.parametrize("name", POLICIES)
@given(SCORES, COUNTS, COUNTS, st.floats(0, 1), st.integers(0, 2**62))
def test_propensities_are_chances_of_the_policys_own_softmax(
    name: str,
    scores: list[float],
    impressions: list[int],
    clicks: list[int],
    weight: float,
    seed: int,
) -> None:
    logits = logits_of(POLICIES[name], scores, impressions, clicks)
    assert np.isfinite(logits).all()
    (slate,) = slates_of(logits, np.array([seed]), weight, 5)
    shown = slate.keys.tolist()
    for place, propensity in enumerate(slate.propensities.tolist()):
        pool = dict(zip(FRESH, logits.tolist(), strict=True))
        chances = probabilities(pool, RELEVANT, shown[:place], weight)
        assert sum(chances.values()) == pytest.approx(1)
        assert propensity == pytest.approx(chances[shown[place]], rel=1e-9)


@pytest.mark.parametrize("name", POLICIES)
@given(SCORES, COUNTS, COUNTS, st.integers(0, 2**62))
def test_weight_0_is_the_relevance_order_and_one_seed_gives_one_list(
    name: str, scores: list[float], impressions: list[int], clicks: list[int], seed: int
) -> None:
    logits = logits_of(POLICIES[name], scores, impressions, clicks)
    (never,) = slates_of(logits, np.array([seed]), 0.0, 3)
    assert never.keys.tolist() == RELEVANT
    once, again = slates_of(logits, np.array([seed, seed]), 0.5, 5)
    assert once.keys.tolist() == again.keys.tolist()


@pytest.mark.parametrize("name", POLICIES)
def test_the_share_of_fresh_items_never_falls_as_the_weight_rises(name: str) -> None:
    logits = logits_of(POLICIES[name], [1.0, 0.0, -1.0, 2.0], [0, 3, 9, 1], [0, 1, 0, 0])
    seeds = np.arange(2_000)
    shares = [
        np.mean([slate.is_fresh.mean() for slate in slates_of(logits, seeds, weight, 3)])
        for weight in (0.01, 0.2, 0.5, 0.8, 1.0)
    ]
    assert shares == sorted(shares)
    assert shares[0] < 0.4 < 0.99 < shares[-1]


def test_epsilon_greedy_draws_every_fresh_item_as_often_whatever_is_known_of_it() -> None:
    policy = POLICIES[EPSILON_GREEDY]
    logits = logits_of(policy, [5.0, -5.0, 0.0, 1.0], [0, 50, 9, 1], [0, 0, 9, 0])
    drawn = slates_of(logits, np.arange(20_000), 1.0, 2)
    pairs = Counter(tuple(slate.keys.tolist()) for slate in drawn)
    assert len(pairs) == 12
    error = math.sqrt(1 / 12 * 11 / 12 / 20_000)
    for times in pairs.values():
        assert times / 20_000 == pytest.approx(1 / 12, abs=4 * error)
    for slate in drawn[:100]:
        assert slate.propensities.tolist() == pytest.approx([1 / 4, 1 / 3])


def appeal(impressions: int, clicks: int, interactions: int = 0, click_rate: float = 0.1) -> float:
    counts = [np.array([count]) for count in (impressions, clicks, interactions)]
    (appeal,) = MIXTURE.appeal(*counts, click_rate)
    return float(appeal)


@pytest.mark.parametrize(
    ("impressions", "clicks", "interactions", "expected"),
    [
        (0, 0, 0, 2.0),  # never seen by anybody: all of the bonus
        (60, 0, 0, 3 * math.log(2 / 8) + 2 / 2),  # 6 clicks were to be expected: 2 / (2 + 6)
        (60, 6, 0, 2 / 2),  # as often as the others
        (60, 14, 0, 3 * math.log(16 / 8) + 2 / 2),
        (0, 5, 0, 3 * math.log(7 / 2.5) + 2 * 0.8**0.5),  # clicks beyond those that were counted
        (0, 0, 4, 2 / 5),  # the log knows it
    ],
)
def test_appeal_is_what_clicks_say_and_the_doubt_that_is_left(
    impressions: int, clicks: int, interactions: int, expected: float
) -> None:
    assert appeal(impressions, clicks, interactions) == pytest.approx(expected)


@given(st.integers(0, 1000), st.integers(0, 100), st.integers(0, 100), st.floats(1e-4, 1))
def test_what_is_ignored_sinks_and_what_is_clicked_rises(
    impressions: int, clicks: int, interactions: int, click_rate: float
) -> None:
    before = appeal(impressions, clicks, interactions, click_rate)
    assert appeal(impressions + clicks + 1, clicks, interactions, click_rate) < before
    clicked = appeal(impressions + clicks + 1, clicks + 1, interactions, click_rate)
    assert clicked > appeal(impressions + clicks + 1, clicks, interactions, click_rate)
    assert appeal(impressions, clicks, interactions + 1, click_rate) < before


def test_the_score_of_who_asks_is_divided_by_the_temperature() -> None:
    one, other = logits_of(MIXTURE, [1.0, 3.0], [0, 0], [0, 0])
    assert other - one == pytest.approx(2 / 0.7)
