import numpy as np

from raysys.training import seen_items
from raysys.training.seen_items import seen_before

ITEMS = np.array([4, 0, 4, 5, 7, 8, 9], np.int32)  # the histories [4, 0, 4, 5] and [7, 8, 9]


def pairs(begins: list[int], places: list[int]) -> list[tuple[int, int]]:
    seen = seen_before(ITEMS, np.array(begins, np.int64), np.array(places, np.int64))
    return list(zip(seen.queries.tolist(), seen.item_nums.tolist(), strict=True))


def test_seen_is_what_stands_before_the_place_and_is_known():
    assert pairs([0, 4, 4], [3, 4, 6]) == [(0, 4), (0, 4), (2, 7), (2, 8)]


def test_no_queries_have_seen_nothing():
    assert pairs([], []) == []


def test_of_a_long_history_the_newest_count(monkeypatch):
    monkeypatch.setattr(seen_items, "_NEWEST", 2)
    assert pairs([0, 4], [4, 5]) == [(0, 4), (0, 5), (1, 7)]
