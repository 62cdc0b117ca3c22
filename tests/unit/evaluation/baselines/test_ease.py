import numpy as np
import pytest

from raysys.errors import ConfigError
from raysys.evaluation.baselines import ease
from raysys.evaluation.baselines.ease import Ease
from tests.unit.evaluation.baselines.histories import histories_of


def test_ease_has_the_weights_worked_out_by_hand():
    # Two items, two users: both items, the first. X'X = [[2, 1], [1, 1]]; with l2 = 1 it is
    # [[3, 1], [1, 2]], its inverse P = [[2, -1], [-1, 3]] / 5. So item 1 speaks for item 2 with
    # -P[0, 1] / P[1, 1] = 1/3, and item 2 for item 1 with -P[1, 0] / P[0, 0] = 1/2.
    model = Ease([histories_of([1, 2], [1])], 2, l2=1.0)
    top = model.top_k(histories_of([1], [2], [1, 2]), 2, excluded=None)
    assert top.item_nums.tolist() == [[2, 1], [1, 2], [1, 2]]
    np.testing.assert_allclose(top.scores, [[1 / 3, 0], [1 / 2, 0], [1 / 2, 1 / 3]])


def test_ease_learns_that_something_happened_not_how_often():
    once, often = histories_of([1, 2], [1], [3, 2]), histories_of([1, 2, 2, 1], [1, 1], [3, 2, 3])
    asked = histories_of([1, 1, 3])
    expected = Ease([once], 3).top_k(histories_of([1, 3]), 3, excluded=None)
    found = Ease([often], 3).top_k(asked, 3, excluded=None)
    assert found.scores.tolist() == expected.scores.tolist()


MIXED = histories_of([1, 2], [2, 3, 4], [1], [4, 1], [3, 2])


def test_ease_learns_from_users_in_blocks(monkeypatch: pytest.MonkeyPatch):
    whole = Ease([MIXED], 4).top_k(MIXED, 4, excluded=None)
    monkeypatch.setattr(ease, "_USER_BLOCK", 3)
    blocked = Ease([MIXED], 4).top_k(MIXED, 4, excluded=None)
    assert blocked.scores.tolist() == whole.scores.tolist()


def test_ease_refuses_what_would_not_fit_in_memory():
    with pytest.raises(ConfigError, match="20,001 items, but stops at 20,000"):
        Ease([histories_of([1])], 20_001)
    with pytest.raises(ConfigError, match="above 0"):
        Ease([histories_of([1])], 1, l2=0.0)
    for decay in (-0.1, 1.1):
        with pytest.raises(ConfigError, match=r"decay must lie in \[0, 1\]"):
            Ease([histories_of([1])], 1, decay=decay)


def test_an_older_item_speaks_more_quietly_and_where_it_was_met_last():
    model = Ease([MIXED], 4, l2=1.0)
    alone = [model.top_k(histories_of([item]), 4, excluded=None) for item in (1, 2, 3)]
    by_item = [dict(zip(top.item_nums[0], top.scores[0], strict=True)) for top in alone]
    recent = Ease([MIXED], 4, l2=1.0, decay=0.5)
    # 1 was met again after 2, so the ages are: 1 has 0, 2 has 1, 3 has 2; 9 is nothing.
    top = recent.top_k(histories_of([1, 3, 2, 9, 1]), 4, excluded=None)
    for item, score in zip(top.item_nums[0], top.scores[0], strict=True):
        first, second, third = (scores[item] for scores in by_item)
        assert score == pytest.approx(first + second / 2 + third / 4)


def test_what_counts_less_than_a_billionth_is_left_out():
    recent = Ease([MIXED], 4, l2=1.0, decay=1e-5)
    short = recent.top_k(histories_of([2, 1]), 4, excluded=None)
    long = recent.top_k(histories_of([3, 2, 1]), 4, excluded=None)
    assert long.scores.tolist() == short.scores.tolist()
