import numpy as np
import pytest

from raysys.dataset.histories import Histories
from raysys.dataset.popularity import (
    best_first,
    decayed_counts,
    popularity_counts,
    trend_scores,
    window_counts,
)
from raysys.errors import ConfigError
from tests.unit.histories import histories_of, with_weights


def test_popularity_counts_interactions_and_not_the_unknown_row():
    counts = popularity_counts([histories_of([[1, 1, 0], [3, 1]])], 4)
    assert counts.tolist() == [0, 3, 0, 1, 0]
    assert counts.dtype == np.int64


def log() -> Histories:
    """Return what happened to items at certain seconds, by two users."""
    happened = [[(1, 0), (1, 11), (2, 12)], [(1, 5), (1, 6), (2, 19), (3, 20), (2, 20), (4, 21)]]
    return Histories.from_lists(
        ["ann", "bob"],
        [[item for item, _ in each] for each in happened],
        [[second * 1_000_000 for _, second in each] for each in happened],
    )


def test_an_interaction_counts_half_for_each_half_life_of_its_age():
    # At 20 s with 10 s: item 1 at 0, 5, 6 and 11 s, item 2 at 12, 19 and 20 s, item 3 at 20 s.
    found = decayed_counts([log()], 4, now_us=20_000_000, half_life_s=10.0)
    halves = [
        0.25 + 0.5**1.5 + 0.5**1.4 + 0.5**0.9,
        0.5**0.8 + 0.5**0.1 + 1,
        1.0,
        2**0.1,  # a second later
    ]
    np.testing.assert_allclose(found, [0, *halves], rtol=1e-12)


def test_windows_end_with_now_and_begin_after_the_one_before():
    # At 20 s with windows of 10 s the newest one is (10, 20], the one before (0, 10]. What happened
    # at 0 s is older, item 4 came later.
    found = window_counts([log()], 4, now_us=20_000_000, window_s=10)
    assert found.tolist() == [[0, 1, 3, 1, 0], [0, 2, 0, 0, 0], [0, 4, 3, 1, 0]]


def test_what_was_only_seen_neither_trends_nor_counts():
    histories = with_weights(1.0, -1.0, 0.0)
    assert window_counts([histories], 3, now_us=2, window_s=1)[2].tolist() == [0, 1, 0, 0]
    assert decayed_counts([histories], 3, now_us=0, half_life_s=1).tolist() == [0, 1, 0, 0]


def test_windows_do_not_depend_on_blocks_and_need_a_length():
    blocks = [log().slice(0, 1), log().slice(1, 2)]
    whole = window_counts([log()], 4, now_us=20_000_000, window_s=10)
    assert np.array_equal(window_counts(blocks, 4, now_us=20_000_000, window_s=10), whole)
    with pytest.raises(ConfigError, match="above 0, but got 0"):
        window_counts(blocks, 4, now_us=0, window_s=0)


def test_a_trend_is_the_gain_in_standard_errors_against_all_traffic():
    # 14 now for 28 before: r = 1/2. Of item 1 there are 10 where 4 were to be expected, item 2 has
    # the 4 that were to be expected, item 3 none of 6; item 4 was never there.
    counts = np.array([[0, 10, 4, 0, 0], [0, 8, 8, 12, 0], [0, 20, 49, 30, 0]])
    scale = 2 / 1.5**0.5
    gains = [10.375**0.5 - 4.375**0.5, 0.0, 0.375**0.5 - 6.375**0.5, 0.0]
    share = np.array([20, 49, 30, 0]) / 50_000
    np.testing.assert_allclose(trend_scores(counts), [0, *(scale * np.array(gains) + share)])


def test_many_more_of_many_trend_more_than_one_of_none():
    counts = np.array([[0, 80, 1, 49], [0, 50, 0, 80], [0, 0, 0, 0]])  # as many as before
    found = trend_scores(counts)
    assert found[1] == pytest.approx(2**0.5 * (80.375**0.5 - 50.375**0.5))
    assert found[1] > 3 * found[2] > 0 > found[3]


def test_when_everything_calms_down_alike_the_popular_come_first():
    before = np.array([0, 400, 100, 0, 40])
    counts = np.array([before // 4, before, before + [0, 0, 0, 9, 900]])
    assert (-trend_scores(counts)).argsort(kind="stable").tolist() == [4, 1, 2, 3, 0]


def test_where_nothing_happened_before_a_window_it_is_the_popular_list():
    nothing = np.zeros(4, dtype=np.int64)
    found = trend_scores(np.array([nothing, nothing, [0, 3, 5, 1]]))
    np.testing.assert_allclose(found, [0, 3 / 6000, 5 / 6000, 1 / 6000])
    assert trend_scores(np.zeros((3, 4), dtype=np.int64)).tolist() == [0, 0, 0, 0]
    rising = trend_scores(np.array([[0, 3, 1, 0], nothing, [0, 3, 1, 9]]))
    assert (-rising[1:]).argsort().tolist() == [0, 1, 2]


def test_the_best_come_first_and_of_equals_the_lower_number() -> None:
    counts = np.array([99, 5, 0, 7, 5])  # the unknown item's count in front does not matter
    assert best_first(counts).tolist() == [3, 1, 4, 2]
