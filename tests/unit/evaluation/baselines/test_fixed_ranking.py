import numpy as np

from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.exclusion import Exclusions
from tests.unit.evaluation.baselines.histories import histories_of


def test_popularity_ranks_by_count_and_then_by_number():
    counts = np.array([99, 2, 5, 2, 7, 5])
    top = FixedRanking(counts).top_k(
        histories_of([], []), 4, excluded=Exclusions.from_lists([[], [2]])
    )
    assert top.item_nums.tolist() == [[4, 2, 5, 1], [4, 5, 1, 3]]
    assert top.scores.tolist() == [[7, 5, 5, 2], [7, 5, 2, 2]]


def test_many_equally_popular_items_stand_in_the_order_of_their_numbers():
    counts = np.array([0, *([3, 1, 2] * 100)])
    top = FixedRanking(counts).top_k(histories_of([]), 300, excluded=None)
    expected = [*range(1, 301, 3), *range(3, 301, 3), *range(2, 301, 3)]
    assert top.item_nums[0].tolist() == expected
