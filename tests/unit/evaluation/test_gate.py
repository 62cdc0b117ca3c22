"""Who takes the champion's place, and who does not."""

import numpy as np
import pyarrow as pa
import pytest

from raysys.evaluation.evaluate import Evaluation
from raysys.evaluation.gate import FEWEST_USERS, Verdict, judged

METRIC = "ndcg_at_10"


def evaluation(values: list[float], first_user: int = 0) -> Evaluation:
    users = [f"u{number}" for number in range(first_user, first_user + len(values))]
    return Evaluation(pa.array(users), {METRIC: np.array(values)})


def verdict(champion: list[float], challenger: list[float], margin: float = 0.05) -> Verdict:
    return judged(evaluation(champion), evaluation(challenger), METRIC, margin=margin)


def test_the_same_values_are_promoted_even_without_a_margin() -> None:
    values = np.linspace(0, 1, 60).tolist()
    found = verdict(values, values, margin=0.0)
    assert found.is_promoted
    assert found.champion == found.challenger == pytest.approx(0.5)
    assert found.num_users == 60
    assert "is not below" in found.reason


def test_who_is_ahead_is_promoted_and_who_is_behind_by_more_than_the_margin_is_not() -> None:
    low, high = np.linspace(0, 0.8, 60), np.linspace(0.1, 0.9, 60)
    assert verdict(low.tolist(), high.tolist()).is_promoted
    behind = verdict(high.tolist(), low.tolist())
    assert not behind.is_promoted
    assert behind.difference.mean == pytest.approx(-0.1)
    assert "is below -0.0250, 5% of the champion's" in behind.reason


def test_the_lower_end_of_the_interval_decides_and_not_the_mean() -> None:
    # One user of 40 lacks 1 and another has it instead: 0 in the mean, but it may be chance.
    champion = [0.5] * 38 + [1.0, 0.0]
    challenger = [0.5] * 38 + [0.0, 1.0]
    found = verdict(champion, challenger)
    assert found.difference.mean == 0
    assert found.difference.low < -0.05 * found.champion
    assert not found.is_promoted
    assert verdict(champion, challenger, margin=0.5).is_promoted


def test_few_users_say_too_little_however_far_ahead_they_put_it() -> None:
    few = FEWEST_USERS - 1
    found = verdict([0.1] * few, [0.9] * few)
    assert not found.is_promoted
    assert f"fewer than {FEWEST_USERS} users say too little" in found.reason
    assert verdict([0.1] * FEWEST_USERS, [0.9] * FEWEST_USERS).is_promoted


def test_different_users_are_not_compared() -> None:
    with pytest.raises(ValueError, match="measured on different users"):
        judged(evaluation([0.5] * 40), evaluation([0.5] * 40, 1), METRIC, margin=0.1)


def test_the_json_tells_both_means_the_interval_and_the_reason() -> None:
    told = verdict([0.5] * 40, [0.6] * 40).to_json()
    assert told["promoted"]
    assert (told["champion"], told["challenger"]) == (pytest.approx(0.5), pytest.approx(0.6))
    assert told["interval_95"] == [pytest.approx(0.1), pytest.approx(0.1)]
    assert (told["metric"], told["margin"], told["users"]) == (METRIC, 0.05, 40)
    assert "over 40 users" in told["reason"]
