import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.metrics import (
    hit_rate_at_k,
    metrics_of_lists,
    mrr_at_k,
    ndcg_at_k,
    recall_at_k,
)

DEFINITIONS = {
    "hit_rate": hit_rate_at_k,
    "recall": recall_at_k,
    "ndcg": ndcg_at_k,
    "mrr": mrr_at_k,
}


def test_hit_rate_asks_whether_anything_relevant_was_found():
    assert hit_rate_at_k([3, 1, 2], {2}, 2) == 0
    assert hit_rate_at_k([3, 1, 2], {2}, 3) == 1
    assert hit_rate_at_k([3, 1, 2], {3, 2}, 3) == 1


def test_recall_is_divided_by_all_that_is_relevant_even_beyond_k():
    assert recall_at_k([1, 2, 3], {1, 7, 8, 9}, 1) == 1 / 4
    assert recall_at_k([1, 2, 3], {1, 3, 9}, 3) == 2 / 3


def test_ndcg_equals_the_value_worked_out_by_hand():
    # Found at the ranks 2 and 3 of three: 1/log2(3) + 1/log2(4), at best 1 + 1/log2(3) + 1/log2(4).
    second, third = 1 / math.log2(3), 1 / 2
    expected = (second + third) / (1 + second + third)
    assert ndcg_at_k([9, 1, 2], {1, 2, 3}, 3) == pytest.approx(expected)
    # One of three within the first two: at best two could be there.
    assert ndcg_at_k([9, 1, 2], {1, 2, 3}, 2) == pytest.approx(second / (1 + second))


def test_mrr_is_one_over_the_rank_of_the_first_relevant_item():
    assert mrr_at_k([9, 1, 2], {1, 2}, 3) == 1 / 2
    assert mrr_at_k([9, 8, 2], {1, 2}, 2) == 0


def test_the_single_best_list_reaches_one():
    for definition in DEFINITIONS.values():
        assert definition([1, 2, 3, 4], {3, 2, 1}, 3) == pytest.approx(1)


@pytest.mark.parametrize("name", DEFINITIONS)
def test_with_nothing_relevant_there_is_no_value(name: str):
    assert math.isnan(DEFINITIONS[name]([1], set(), 1))
    lists = np.array([[1]], np.int32)
    assert math.isnan(metrics_of_lists(lists, Exclusions.from_lists([[]]), [1])[f"{name}_at_1"][0])


@pytest.mark.parametrize("name", DEFINITIONS)
def test_an_item_recommended_twice_is_refused(name: str):
    with pytest.raises(ValueError, match="twice"):
        DEFINITIONS[name]([1, 2, 1], {1}, 1)
    with pytest.raises(ValueError, match="k must be at least 1"):
        DEFINITIONS[name]([1, 2], {1}, 0)


@st.composite
def lists_and_relevant(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]]]:
    items = st.integers(1, 12)
    lists = draw(st.lists(st.lists(items, unique=True, max_size=6), min_size=1, max_size=5))
    relevant = [draw(st.lists(items, max_size=8)) for _ in lists]
    return lists, relevant


@given(lists_and_relevant())
def test_many_lists_at_once_have_the_values_of_the_definitions(both):
    lists, relevant = both
    padded = np.array([items + [0] * (6 - len(items)) for items in lists], np.int32)
    found = metrics_of_lists(padded, Exclusions.from_lists(relevant), [1, 3, 6])
    assert len(found) == 12
    for name, definition in DEFINITIONS.items():
        for k in (1, 3, 6):
            expected = [
                definition(items, set(wanted), k)
                for items, wanted in zip(lists, relevant, strict=True)
            ]
            np.testing.assert_allclose(found[f"{name}_at_{k}"], expected)


def test_padding_is_never_relevant():
    lists = np.array([[0, 0]], np.int32)
    found = metrics_of_lists(lists, Exclusions.from_lists([[0, 4]]), [2])
    assert found["hit_rate_at_2"].tolist() == [0]


@pytest.mark.parametrize(
    ("lists", "relevant", "ks", "message"),
    [
        ([[1, 2]], [[1]], [3], "length 2, but got 3"),
        ([[1, 2]], [[1]], [0], "length 2, but got 0"),
        ([[1, 1]], [[1]], [1], "twice"),
        ([[1, 2]], [[1], [2]], [1], "1 lists.*but got 2"),
    ],
)
def test_lists_that_do_not_fit_are_refused(lists, relevant, ks, message):
    with pytest.raises(ValueError, match=message):
        metrics_of_lists(np.array(lists, np.int32), Exclusions.from_lists(relevant), ks)
