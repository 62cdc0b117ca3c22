import numpy as np
import pytest

from raysys.errors import ConfigError
from raysys.evaluation.baselines import transitions
from raysys.evaluation.baselines.transitions import Transitions
from raysys.evaluation.exclusion import Exclusions
from tests.unit.evaluation.baselines.histories import histories_of

TRAIN = histories_of([1, 2, 1, 3], [1, 2], [0, 2, 0, 3])


def test_transitions_have_the_scores_worked_out_by_hand():
    # After 1 came 2 twice and 3 once; after 2 came 1, and 3 once the unknown item between them is
    # passed over. The shares of 1, 2 and 3 are 3, 3 and 2 of 8. With a prior of 2:
    model = Transitions([TRAIN], 4, prior=2.0)
    top = model.top_k(histories_of([3, 1], [1, 2], [1, 0], [3], []), 4, excluded=None)
    after_1 = {1: 6 / 8, 2: 2 / 3 + 6 / 8, 3: 1 / 3 + 4 / 8, 4: 0}
    after_2 = {1: 1 / 2 + 6 / 8, 2: 6 / 8, 3: 1 / 2 + 4 / 8, 4: 0}
    nothing = {1: 6 / 8, 2: 6 / 8, 3: 4 / 8, 4: 0}
    for row, expected in enumerate([after_1, after_2, after_1, nothing, nothing]):
        ranked = sorted(expected, key=lambda item: (-expected[item], item))
        assert top.item_nums[row].tolist() == ranked
        np.testing.assert_allclose(top.scores[row], [expected[item] for item in ranked])


def test_older_items_have_a_say_that_decays():
    # After 1 came 2 (2/3) and 3 (1/3), after 2 came 1 and 3 (1/2 each). With a decay of 1/2 the
    # newest item counts 2/3 of the mean, the one before 1/3; the shares are 3, 3 and 2 of 8.
    model = Transitions([TRAIN], 4, prior=1.0, decay=0.5)
    top = model.top_k(histories_of([2, 9, 1], [1]), 4, excluded=None)
    expected = {1: 1 / 6 + 3 / 8, 2: 4 / 9 + 3 / 8, 3: 2 / 9 + 1 / 6 + 2 / 8, 4: 0}
    assert top.item_nums[0].tolist() == [2, 3, 1, 4]
    np.testing.assert_allclose(top.scores[0], [expected[item] for item in (2, 3, 1, 4)])
    alone = Transitions([TRAIN], 4, prior=1.0).top_k(histories_of([1]), 4, excluded=None)
    assert top.scores[1].tolist() == alone.scores[0].tolist()


def test_an_excluded_item_makes_room_for_the_next_of_both_kinds():
    model = Transitions([TRAIN], 4)
    top = model.top_k(histories_of([1]), 4, excluded=Exclusions.from_lists([[2, 1]]))
    assert top.item_nums.tolist() == [[3, 4, 0, 0]]


def test_transitions_are_learnt_in_blocks():
    whole, halves = Transitions([TRAIN], 4), Transitions([TRAIN.slice(0, 2), TRAIN.slice(2, 3)], 4)
    asked = histories_of([1], [2], [3])
    expected = whole.top_k(asked, 4, excluded=None)
    found = halves.top_k(asked, 4, excluded=None)
    assert found.item_nums.tolist() == expected.item_nums.tolist()
    assert found.scores.tolist() == expected.scores.tolist()


def test_what_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="above 0, but got 0"):
        Transitions([TRAIN], 4, prior=0)
    with pytest.raises(ConfigError, match="decay must lie in"):
        Transitions([TRAIN], 4, decay=2)
    monkeypatch.setattr(transitions, "TRANSITIONS_MAX", 4)
    with pytest.raises(ConfigError, match="stop at 4 pairs"):
        Transitions([TRAIN], 4)
