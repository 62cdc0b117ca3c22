"""Merging what the shards found."""

import numpy as np
import pytest

from raysys.serving.exchange import SearchResult
from raysys.serving.ranking import merged_results, popular_without, search_request

LOG2, LOG3 = np.log(2), np.log(3)


def result(nums: list[list[int]], scores: list[list[float]], lse: list[float] | None):
    totals = None if lse is None else np.array(lse)
    return SearchResult(np.array(nums, dtype=np.int32), np.array(scores), totals)


def request(ks: list[int], by_cosine: list[bool] | None = None):
    vectors = [np.zeros(2, np.float32)] * len(ks)
    empty = [np.zeros(0, np.int32)] * len(ks)
    return search_request(
        "r",
        vectors,
        ks=ks,
        by_cosine=by_cosine or [False] * len(ks),
        banned=empty,
        banned_keys=[np.zeros(0, np.int64)] * len(ks),
    )


def test_lists_merge_by_score_and_then_by_item_number() -> None:
    parts = [
        result([[7, 4]], [[LOG3, LOG2]], [np.log(5)]),
        result([[2, 9]], [[LOG2, 0.0]], [np.log(5)]),
    ]
    (ranked,) = merged_results(parts, request([3]))
    assert ranked.keys.tolist() == [7, 2, 4]
    assert ranked.scores == pytest.approx([0.3, 0.2, 0.2])  # of a catalogue that adds up to 10


def test_without_totals_the_softmax_is_over_the_merged_list() -> None:
    parts = [result([[7]], [[LOG3]], None), result([[2]], [[0.0]], None)]
    (ranked,) = merged_results(parts, request([2]))
    assert ranked.scores == pytest.approx([0.75, 0.25])


def test_cosines_stay_as_they_are() -> None:
    parts = [result([[7], [8]], [[0.5], [LOG2]], [LOG2, LOG3])]
    first, second = merged_results(parts, request([1, 1], by_cosine=[True, False]))
    assert first.scores == [0.5]
    assert second.scores == pytest.approx([2 / 3])


def test_padding_is_no_item_and_each_query_gets_its_own_length() -> None:
    inf = -np.inf
    parts = [result([[7, 0], [1, 2], [0, 0]], [[1.0, inf], [2.0, 1.0], [inf, inf]], [0.0] * 3)]
    lists = [ranked.keys.tolist() for ranked in merged_results(parts, request([2, 1, 2]))]
    assert lists == [[7], [1], []]


def test_the_popular_list_is_filled_up_from_below_what_is_banned() -> None:
    popular = np.array([3, 1, 4, 2], dtype=np.int32)
    banned = np.array([3, 4], dtype=np.int32)
    assert popular_without(popular, banned, 2).tolist() == [1, 2]
    assert popular_without(popular, banned, 9).tolist() == [1, 2]
