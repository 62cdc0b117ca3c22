import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.metrics import metrics_of_lists, ndcg_at_k
from raysys.evaluation.ties import worst_order
from raysys.evaluation.topk import TopK


def worst(item_nums: list[int], scores: list[float], relevant: list[int]) -> list[int]:
    top = TopK(np.array([item_nums], np.int32), np.array([scores]))
    return worst_order(top, Exclusions.from_lists([relevant]))[0].tolist()


def test_of_equal_scores_the_relevant_items_come_last():
    assert worst([3, 5, 7, 2, 9], [4, 2, 2, 2, 1], [5, 2]) == [3, 7, 5, 2]


def test_without_ties_a_list_stays_as_it_is():
    assert worst([3, 5, 7], [3, 2, 1], [3, 5, 7]) == [3, 5]


def test_a_tie_that_the_end_cuts_counts_as_not_found():
    assert worst([3, 5, 7], [4, 2, 2], [5]) == [3, 7]
    assert worst([3, 5, 7], [4, 2, 2], [5, 7]) == [3, 0]


def test_a_list_that_ran_out_is_not_cut():
    assert worst([3, 5, 0, 0], [4, 2, -np.inf, -np.inf], [5, 0]) == [3, 5, 0]


def test_a_constant_model_finds_nothing():
    assert worst([1, 2, 3], [0, 0, 0], [1, 2, 3]) == [0, 0]


@given(
    st.lists(st.integers(0, 3), min_size=3, max_size=6),
    st.sets(st.integers(1, 6), min_size=1),
)
def test_no_order_of_equals_is_worse(scores: list[int], relevant: set[int]):
    scores.sort(reverse=True)
    items = list(range(1, len(scores) + 1))
    # An item more that scores less than all: no tie is cut.
    top = TopK(np.array([[*items, 99]], np.int32), np.array([[*scores, -1.0]]))
    asked = Exclusions.from_lists([sorted(relevant)])
    found = metrics_of_lists(worst_order(top, asked), asked, [2])["ndcg_at_2"][0]
    orders = (
        order
        for order in itertools.permutations(items)
        if [scores[item - 1] for item in order] == scores
    )
    assert found == min(ndcg_at_k(order, relevant, 2) for order in orders)
