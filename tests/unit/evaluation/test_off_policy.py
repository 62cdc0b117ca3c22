"""Off-policy estimates: by hand, against a world whose truth is known, and where they are refused.

`make soak` runs ten times as many logs through the test of the intervals' coverage.
"""

import numpy as np
import pytest
from hypothesis import settings

from raysys.evaluation.off_policy import (
    LEAST_EFFECTIVE_ANSWERS,
    estimated,
    overlap_of,
    places_that_suffice,
)
from raysys.evaluation.off_policy_intervals import drawn_samples, sum_of_ratios
from raysys.evaluation.off_policy_report import judged
from raysys.evaluation.off_policy_totals import WeightTotals
from raysys.state.log_reader import StoredSlate
from tests.unit.evaluation.logged_world import LoggedWorld, totals_of
from tests.unit.state.builders import slate

NUM_LOGS = 200 if settings().max_examples >= 1000 else 20
WORLD = LoggedWorld.of_simulator()


def stored(number: int, user: str, clicked: str = "", **members: object) -> StoredSlate:
    usual = {"exploration_weight": 0.5, "also_relevant": (), "nothing_relevant": ()}
    made = slate(f"RID-{number}", user_id=user, **usual | members)
    return StoredSlate(number, made, frozenset(clicked))


@pytest.fixture(scope="module")
def by_hand() -> list[StoredSlate]:
    """Lists of two places at weight 0.5; a draw has two fresh items of like chance, then one.

    Against 0.2 a place that explored weighs 0.2 / 0.5 = 0.4, another one 0.8 / 0.5 = 1.6.
    """
    neither = {"propensities": (0.5, 0.5), "explored": ()}
    second = {"propensities": (0.5, 0.25), "explored": (1,)}
    return [
        stored(1, "ann", "a", **neither),  # weighs 1.6, 2.56
        stored(2, "ann", "b", **second),  # 1.6, 0.64
        stored(3, "bob", "ab", propensities=(0.25, 0.5), explored=(0, 1)),  # 0.4, 0.16
        stored(4, "eve", "", **second),  # 1.6, 0.64
        stored(5, "eve", "b", item_ids=("b",), propensities=(0.25,), explored=(0,)),  # 0.4
    ]


@pytest.mark.parametrize("block", [1, 2, 5])
def test_estimates_are_the_values_worked_out_by_hand(
    by_hand: list[StoredSlate], block: int
) -> None:
    (totals,) = totals_of(by_hand, [0.2], block)
    found = estimated(totals)
    # Clicks: 1.6 at the top of 1, 0.64 below 2, 0.4 and 0.16 of 3, 0.4 of 5: 3.2 over 5 answers.
    assert found.values["ips"].mean == pytest.approx(3.2 / 5)
    # The weights of the top sum up to 5.6, of the second place to 4.4: 0.4 of a list that ended.
    assert found.values["snips"].mean == pytest.approx(2.4 / 5.6 + 0.8 / 4.4)
    assert found.logged.mean == pytest.approx(5 / 5)
    for name, value in found.values.items():
        assert found.gains[name].mean == pytest.approx(value.mean - 1)
    overlap = overlap_of(totals)
    assert (overlap.answers, overlap.groups, overlap.num_places) == (5, 3, 2)
    assert overlap.mean_weight == pytest.approx(4.4 / 5)
    squares = 2.56**2 + 2 * 0.64**2 + 0.16**2 + 0.4**2
    assert overlap.effective_answers == pytest.approx(4.4**2 / squares)
    squares = 1.6**2 + 0.64**2 + 0.4**2 + 0.16**2 + 0.4**2
    assert overlap.effective_clicks == pytest.approx(3.2**2 / squares)


def test_only_the_places_asked_for_are_judged(by_hand: list[StoredSlate]) -> None:
    (totals,) = totals_of(by_hand, [0.2])
    found = estimated(totals, 1)
    assert found.values["ips"].mean == pytest.approx(2.4 / 5)
    assert found.logged.mean == pytest.approx(3 / 5)
    assert overlap_of(totals, 1).mean_weight == pytest.approx(5.6 / 5)


def test_clicks_of_places_that_weight_0_would_not_fill_do_not_count() -> None:
    # Nothing was relevant any more at the second place, which the draw had to fill.
    some = {"propensities": (0.5, 1.0), "explored": (1,), "nothing_relevant": (1,)}
    log = [stored(n, f"user-{n}", "ab", **some) for n in range(4)]
    (never, often) = totals_of(log, [0.0, 0.9])
    assert estimated(never).values["ips"].mean == pytest.approx(2.0)
    assert estimated(often).values["ips"].mean == pytest.approx(0.2 + 0.2)


def test_the_logged_weight_itself_earns_what_was_earned() -> None:
    (totals,) = totals_of(WORLD.log(1, [0.3], 60), [0.3])
    found = estimated(totals)
    logged = (found.logged.mean, found.logged.low, found.logged.high)
    for name in ("ips", "snips"):
        value = found.values[name]
        assert (value.mean, value.low, value.high) == pytest.approx(logged, rel=1e-9)
    assert found.values["dr"].mean == pytest.approx(found.logged.mean, rel=0.02)
    assert found.gains["snips"].mean == pytest.approx(0, abs=1e-12)


def test_a_log_that_holds_everything_twice_is_no_surer() -> None:
    log = WORLD.log(1, [0.3], 60)
    again = [
        StoredSlate(n, slate.slate, slate.clicked_item_ids) for n, slate in enumerate(log + log)
    ]
    (once,), (twice,) = totals_of(log, [0.1]), totals_of(again, [0.1])
    for name, value in estimated(once).values.items():
        other = estimated(twice).values[name]
        assert (other.mean, other.low) == pytest.approx((value.mean, value.low), rel=0.02)


@pytest.mark.hypothesis
def test_intervals_hold_the_truth_as_often_as_they_promise_and_are_no_wider_than_they_must() -> (
    None
):
    weights = (0.0, 0.6)
    truth = [WORLD.clicks_per_answer(weight) for weight in weights]
    found = {(w, name): [] for w in range(len(weights)) for name in ("ips", "snips", "dr")}
    for seed in range(NUM_LOGS):
        for w, totals in enumerate(totals_of(WORLD.log(seed, [0.3]), weights)):
            assert overlap_of(totals).lack is None
            for name, value in estimated(totals, seed=seed).values.items():
                found[w, name].append((value.mean, value.low, value.high))
    for (w, name), values in found.items():
        mean, low, high = np.array(values).T
        covered = np.mean((low <= truth[w]) & (truth[w] <= high))
        # 95 % of 20 are 17 or more, but for once in sixty.
        assert covered >= (0.85 if NUM_LOGS == 20 else 0.90), (weights[w], name, covered)
        if NUM_LOGS == 200:
            assert covered <= 0.99, (weights[w], name, covered)
        assert abs(mean.mean() - truth[w]) < 4 * mean.std() / np.sqrt(NUM_LOGS)
        # The spread of 20 estimates is known to a sixth.
        assert 0.6 < np.mean(high - low) / 3.92 / mean.std() < 1.6


def test_the_truth_of_the_world_is_what_its_clicks_average() -> None:
    for weight in (0.0, 0.3, 1.0):
        log = WORLD.log(7, [weight], 1_000)
        clicks = np.array([len(each.clicked_item_ids) for each in log])
        error = 2 * clicks.std() / np.sqrt(len(clicks))  # twice: answers of a user are alike
        assert clicks.mean() == pytest.approx(WORLD.clicks_per_answer(weight), abs=4 * error)


def test_the_model_of_clicks_makes_estimates_surer_where_explored_places_earn_nothing() -> None:
    # Places that follow earn 0.5 clicks each whoever looks, explored ones none.
    rng = np.random.default_rng(0)
    log = []
    for number in range(2_000):
        explores = rng.random(4) < 0.5
        clicks = "".join("abcd"[p] for p in range(4) if not explores[p] and rng.random() < 0.9)
        members = {
            "item_ids": tuple("abcd"),
            "propensities": tuple(np.where(explores, 0.25, 0.5).tolist()),
            "explored": tuple(np.flatnonzero(explores).tolist()),
        }
        log.append(stored(number, f"user-{number}", clicks, **members))
    (totals,) = totals_of(log, [0.1])
    values = estimated(totals).values
    assert values["dr"].standard_error < 0.5 * values["ips"].standard_error
    for value in values.values():
        assert value.low < 4 * 0.9 * 0.9 < value.high


def test_too_little_overlap_is_refused_with_the_places_that_could_be_judged() -> None:
    (totals,) = totals_of(WORLD.log(0, [0.3], 120), [0.0])
    depth = places_that_suffice(totals)
    assert 0 < depth < 5
    assert overlap_of(totals, depth).effective_answers >= LEAST_EFFECTIVE_ANSWERS
    assert overlap_of(totals, depth + 1).lack is not None
    judgement = judged(totals)
    assert judgement.estimate is None
    assert judgement.refusal is not None
    assert f"--places {depth}." in judgement.refusal
    assert judged(totals, depth).refusal is None


def test_few_users_few_clicks_and_no_answers_are_refused() -> None:
    one = [stored(n, "ann", "a", explored=(), propensities=(0.5, 0.5)) for n in range(500)]
    (totals,) = totals_of(one, [0.5])
    assert "answers to 1 groups of users" in str(judged(totals).refusal)
    rare = [stored(n, f"user-{n}", "a" if n < 20 else "", explored=()) for n in range(500)]
    (totals,) = totals_of(rare, [0.5])
    assert "clicks that say as much as 20" in str(judged(totals).refusal)
    (totals,) = totals_of([stored(1, "ann", exploration_weight=0.0, explored=())], [0.5])
    assert (totals.unsupported, judged(totals).estimate) == (1, None)
    assert "1 could not have been any that it gives" in str(judged(totals).refusal)
    assert judged(WeightTotals(0.5)).estimate is None


def test_propensities_that_do_not_fit_what_was_shown_are_refused() -> None:
    # Half of all places explored, but the log says it had been a tenth.
    log = []
    for each in WORLD.log(3, [0.5], 400):
        made = each.slate.__class__(
            **{name: getattr(each.slate, name) for name in each.slate.__slots__}
            | {"exploration_weight": 0.1}
        )
        log.append(StoredSlate(each.slate_num, made, each.clicked_item_ids))
    (totals,) = totals_of(log, [0.2])
    assert "a mean weight of" in str(judged(totals, 1).refusal)


def test_the_error_of_one_ratio_is_the_textbooks() -> None:
    rng = np.random.default_rng(0)
    below = rng.integers(1, 5, (400, 1)).astype(float)
    above = below * rng.normal(2, 1, (400, 1))
    found = sum_of_ratios(above, below, drawn_samples(400))
    rest = (above - found.mean * below)[:, 0]
    error = np.sqrt(400 / 399 * (rest**2).sum()) / below.sum()
    assert found.mean == pytest.approx(above.sum() / below.sum())
    assert found.standard_error == pytest.approx(error)
    # Nothing is skewed here, so the interval is nearly the normal one.
    assert (found.low, found.high) == pytest.approx(
        (found.mean - 1.96 * error, found.mean + 1.96 * error), abs=0.2 * error
    )


def test_a_sum_of_ratios_has_the_error_of_the_sum() -> None:
    rng = np.random.default_rng(1)
    above = rng.exponential(1, (300, 1))
    one = np.ones((300, 1))
    samples = drawn_samples(300)
    single = sum_of_ratios(above, one, samples)
    double = sum_of_ratios(np.hstack([above, above]), np.hstack([one, one]), samples)
    nothing = sum_of_ratios(np.hstack([above, -above]), np.hstack([one, one]), samples)
    assert double.standard_error == pytest.approx(2 * single.standard_error)
    assert (nothing.mean, nothing.standard_error) == pytest.approx((0, 0), abs=1e-12)
    # A tail to the right: the truth may lie further above than below.
    assert single.high - single.mean > 1.05 * (single.mean - single.low)
