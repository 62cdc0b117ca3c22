"""The propensities of other weights that a log implies, against the formula of the policy."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from raysys.evaluation.off_policy_log import AnswerReader, LoggedAnswers
from raysys.evaluation.off_policy_weights import is_known, is_supported, reweighed
from raysys.hashing import stable_hashes
from raysys.logs.event_export import impressions_of
from raysys.policy.candidates import FreshCandidates
from raysys.policy.noise import coins, gumbel_noise
from raysys.policy.slot_mixture import mix
from raysys.state.log_reader import StoredSlate
from tests.unit.policy.pools import probabilities
from tests.unit.state.builders import slate

KEYS = st.integers(-6, 6).filter(lambda key: key != 0)
POOLS = st.dictionaries(KEYS, st.floats(-3, 3), max_size=6)
RELEVANT = st.lists(KEYS, unique=True, max_size=6)


def blocks(*slates: StoredSlate) -> list[LoggedAnswers]:
    return list(AnswerReader().read([impressions_of(slates)]))


def logged(stored: StoredSlate) -> LoggedAnswers:
    (answers,) = blocks(stored)
    return answers


def mixed(logits: dict[int, float], relevant: list[int], weight: float, seed: int) -> StoredSlate:
    """Return a slate of five places as the policy makes it."""
    values = np.array(list(logits.values()), float)
    noise = gumbel_noise(seed, stable_hashes(str(key) for key in logits))
    fresh = FreshCandidates(np.array(list(logits), np.int64), values, values + noise, -math.inf)
    made = mix(np.array(relevant, np.int64), fresh, 5, weight, coins(seed, 5))
    explored = np.flatnonzero(made.is_explored)
    members = {
        "exploration_weight": weight,
        "item_ids": tuple(map(str, made.keys.tolist())),
        "propensities": tuple(made.propensities.tolist()),
        "explored": tuple(explored.tolist()),
        "also_relevant": tuple(explored[made.is_relevant[explored]].tolist()),
        "nothing_relevant": tuple(explored[~made.has_relevant[explored]].tolist()),
        "fresh_item_ids": tuple(map(str, made.keys[made.is_fresh].tolist())),
        "num_fresh": len(logits),
    }
    return StoredSlate(1, slate(**members), frozenset())


@given(
    POOLS, RELEVANT, st.floats(0.05, 0.95), st.floats(0, 1) | st.just(0.0), st.integers(0, 10**9)
)
def test_weights_are_those_of_the_policys_own_formula(
    logits: dict[int, float], relevant: list[int], weight: float, other: float, seed: int
) -> None:
    assume(logits or relevant)
    stored = mixed(logits, relevant, weight, seed)
    found = reweighed(logged(stored), other)
    shown = [int(item_id) for item_id in stored.slate.item_ids]
    product = 1.0
    for place, key in enumerate(shown):
        wanted = probabilities(logits, relevant, shown[:place], other)
        is_filled = bool(wanted)  # at weight 0 nothing is drawn once all that is relevant is shown
        assert found.counts[0, place] == is_filled
        if is_filled:
            had = probabilities(logits, relevant, shown[:place], weight)[key]
            product *= wanted.get(key, 0.0) / had
        assert found.weights[0, place] == pytest.approx(product, rel=1e-6, abs=1e-9)


@given(
    POOLS, RELEVANT, st.floats(0.05, 0.95), st.floats(0, 1) | st.just(0.0), st.integers(0, 10**9)
)
def test_epsilon_greedy_weighs_what_its_own_formula_says_whatever_was_served(
    logits: dict[int, float], relevant: list[int], weight: float, other: float, seed: int
) -> None:
    assume(logits or relevant)
    stored = mixed(logits, relevant, weight, seed)
    found = reweighed(logged(stored), other, draws_alike=True)
    shown = [int(item_id) for item_id in stored.slate.item_ids]
    product, alike = 1.0, dict.fromkeys(logits, 0.0)
    for place, key in enumerate(shown):
        wanted = probabilities(alike, relevant, shown[:place], other)
        if wanted:
            had = probabilities(logits, relevant, shown[:place], weight)[key]
            product *= wanted.get(key, 0.0) / had
        assert found.counts[0, place] == bool(wanted)
        assert found.weights[0, place] == pytest.approx(product, rel=1e-6, abs=1e-9)


def test_a_promoted_item_stays_whatever_is_drawn() -> None:
    stored = StoredSlate(
        1,
        slate(
            propensities=(1.0, 0.75),
            explored=(),
            fresh_item_ids=(),
            also_relevant=(),
            nothing_relevant=(),
            num_fresh=5,
        ),
        frozenset(),
    )
    found = reweighed(logged(stored), 0.5, draws_alike=True)
    assert found.weights[0].tolist() == pytest.approx([1.0, 0.5 / 0.75])


@given(POOLS, RELEVANT, st.floats(0.05, 0.95), st.integers(0, 10**9))
def test_the_logged_weight_itself_weighs_1_everywhere(
    logits: dict[int, float], relevant: list[int], weight: float, seed: int
) -> None:
    assume(logits or relevant)
    found = reweighed(logged(mixed(logits, relevant, weight, seed)), weight)
    assert found.weights == pytest.approx(np.ones_like(found.weights))
    assert found.coin_weights == pytest.approx(np.ones_like(found.weights))


def test_an_item_that_came_either_way_weighs_what_both_ways_weigh_together() -> None:
    # w = 0.2: drawn with 1/4, or next with 0.8: 0.2 / 4 + 0.8 = 0.85. At 0.6: 0.6 / 4 + 0.4 = 0.55.
    stored = StoredSlate(
        1,
        slate(
            exploration_weight=0.2,
            propensities=(0.85, 0.8),
            explored=(0,),
            also_relevant=(0,),
            nothing_relevant=(),
        ),
        frozenset(),
    )
    found = reweighed(logged(stored), 0.6)
    assert found.weights[0].tolist() == pytest.approx([0.55 / 0.85, 0.55 / 0.85 * 0.5])
    # The coins alone: it explored, then it did not.
    assert found.coin_weights[0].tolist() == pytest.approx([3.0, 3.0 * 0.5])


def test_what_no_coin_decides_weighs_1_and_is_no_choice() -> None:
    # Nothing fresh was left for the second place, or the item is promoted.
    stored = StoredSlate(
        1,
        slate(propensities=(0.75, 1.0), explored=(), also_relevant=(), nothing_relevant=()),
        frozenset(),
    )
    found = reweighed(logged(stored), 0.5)
    assert found.weights[0].tolist() == pytest.approx([2 / 3, 2 / 3])
    assert found.is_choice.tolist() == [[True, False]]


@pytest.mark.parametrize(
    ("weight", "supported"),
    [(0.0, [True, True, False]), (0.5, [False, True, False]), (1.0, [False, True, True])],
)
def test_an_answer_speaks_for_weights_that_can_only_give_what_it_could(
    weight: float, supported: list[bool]
) -> None:
    stored = (
        StoredSlate(n, slate(f"RID-{n}", exploration_weight=logged_weight), frozenset())
        for n, logged_weight in enumerate([0.0, 0.3, 1.0])
    )
    found = [is_supported(answers, weight).tolist() for answers in blocks(*stored)]
    assert sum(found, []) == supported


def test_what_an_older_raysys_stored_is_not_known_where_it_explored() -> None:
    old = StoredSlate(1, slate("RID-1"), frozenset())
    did_not = StoredSlate(2, slate("RID-2", explored=()), frozenset())
    new = StoredSlate(3, slate("RID-3", also_relevant=(), nothing_relevant=()), frozenset())
    found = [is_known(answers).tolist() for answers in blocks(old, did_not, new)]
    assert sum(found, []) == [False, True, True]
    counted = StoredSlate(
        4, slate("RID-4", also_relevant=(), nothing_relevant=(), num_fresh=0), frozenset()
    )
    none = StoredSlate(5, slate("RID-5", exploration_weight=0.0, explored=()), frozenset())
    alike = [is_known(answers, draws_alike=True).tolist() for answers in blocks(new, counted, none)]
    assert sum(alike, []) == [False, True, True]
