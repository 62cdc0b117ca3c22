import numpy as np
import pytest

from raysys.dataset.histories import Histories
from raysys.errors import ConfigError
from raysys.evaluation.baselines.fixed_ranking import FixedRanking, trend_scores
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


def log() -> Histories:
    """Return what happened to items at certain seconds, by two users."""
    happened = [[(1, 0), (1, 11), (2, 12)], [(1, 5), (1, 6), (2, 19), (3, 20), (2, 20), (4, 21)]]
    return Histories.from_lists(
        ["ann", "bob"],
        [[item for item, _ in each] for each in happened],
        [[second * 1_000_000 for _, second in each] for each in happened],
    )


def test_a_trend_is_the_gain_of_the_newest_window_over_the_one_before():
    # At 20 s with windows of 10 s the newest one is (10, 20], the one before (0, 10]. Item 1 has 1
    # and 2 there, item 2 has 3 and 0, item 3 has 1 and 0; 4 came later. Their counts so far are 4,
    # 3 and 1, of which 4 is the largest: 4/9, 3/9 and 1/9 are added.
    scores = trend_scores([log()], 4, now_us=20_000_000, window_s=10)
    np.testing.assert_allclose(scores, [0, -1 + 4 / 9, 3 + 3 / 9, 1 + 1 / 9, 0])


def test_a_trend_does_not_depend_on_blocks_and_needs_a_window():
    blocks = [log().slice(0, 1), log().slice(1, 2)]
    whole = trend_scores([log()], 4, now_us=20_000_000, window_s=10)
    found = trend_scores(blocks, 4, now_us=20_000_000, window_s=10)
    assert found.tolist() == whole.tolist()
    with pytest.raises(ConfigError, match="above 0, but got 0"):
        trend_scores(blocks, 4, now_us=0, window_s=0)
