"""Who asks: the release's history, the database's, and both together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.hashing import stable_hash
from raysys.serving.visitors import Visitors, merge_interactions, newest_distinct
from raysys.state.user_state import UserState

Pairs = list[tuple[int, int]]


def merged(release: Pairs, database: Pairs) -> Pairs:
    nums, times = merge_interactions(*arrays(release), *arrays(database))
    return list(zip(nums.tolist(), times.tolist(), strict=True))


def arrays(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    nums = np.array([num for num, _ in pairs], dtype=np.int32)
    return nums, np.array([at for _, at in pairs], dtype=np.int64)


def test_what_came_later_follows_the_release() -> None:
    assert merged([(1, 10), (2, 20)], [(3, 30)]) == [(1, 10), (2, 20), (3, 30)]


def test_a_late_event_takes_its_place_in_time() -> None:
    assert merged([(1, 10), (2, 20)], [(3, 15), (4, 30)]) == [(1, 10), (3, 15), (2, 20), (4, 30)]


def test_an_event_that_the_release_has_learnt_from_counts_once() -> None:
    release = [(1, 10), (2, 20)]
    assert merged(release, [(1, 10), (2, 20), (2, 21)]) == [(1, 10), (2, 20), (2, 21)]


def test_of_equal_times_the_releases_interaction_comes_first() -> None:
    assert merged([(5, 10)], [(4, 10)]) == [(5, 10), (4, 10)]


def test_a_user_of_the_database_alone_has_its_history() -> None:
    assert merged([], [(4, 10)]) == [(4, 10)]


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 12))
def test_seen_items_are_those_that_evaluation_leaves_out(items: list[int], n: int) -> None:
    histories = Histories.from_lists(["u"], [items], [range(len(items))])
    expected = set(histories.newest_distinct(n).item_nums.tolist())
    found = newest_distinct(np.array(items, dtype=np.int32), n).tolist()
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.fixture
def visitors() -> Visitors:
    items = Vocabulary.from_ids(["a", "b", "c"])  # numbers 1, 2, 3
    histories = Histories.from_lists(["u"], [[1, 2]], [[10, 20]])
    return Visitors(items, histories, history_length=2, max_seen_items=9, max_cached=2)


def test_a_visitor_is_cached_for_one_version_of_the_state(visitors: Visitors) -> None:
    first = visitors.look_up(["u"], {})["u"]
    assert visitors.look_up(["u", "u"], {})["u"] is first
    state = UserState(1, ("c", "unknown"), (30, 40))
    second = visitors.look_up(["u"], {"u": state})["u"]
    assert second.item_nums.tolist() == [2, 3]
    assert sorted(second.seen.tolist()) == [1, 2, 3]
    assert visitors.look_up(["u"], {"u": state})["u"] is second


def test_items_that_the_release_does_not_know_are_seen_under_keys_of_their_own(
    visitors: Visitors,
) -> None:
    state = UserState(1, ("c", "new", "newer", "new"), (30, 40, 50, 60))
    visitor = visitors.look_up(["u"], {"u": state})["u"]
    assert sorted(visitor.seen.tolist()) == [1, 2, 3]
    expected = {-1 - (stable_hash(item_id) >> 1) for item_id in ("new", "newer")}
    assert set(visitor.seen_keys.tolist()) == expected
    assert len(visitor.seen_keys) == 2
    assert visitors.look_up(["v"], {})["v"].seen_keys.tolist() == []


def test_the_visitor_who_was_away_longest_makes_room(visitors: Visitors) -> None:
    first, second = (visitors.look_up([user], {})[user] for user in ("u", "v"))
    assert visitors.look_up(["u"], {})["u"] is first  # u is the latest now
    visitors.look_up(["w"], {})
    assert visitors.look_up(["u"], {})["u"] is first
    assert visitors.look_up(["v"], {})["v"] is not second


def test_without_a_current_state_the_cache_is_used_and_not_filled(visitors: Visitors) -> None:
    state = UserState(1, ("c",), (30,))
    known = visitors.look_up(["u"], {"u": state})["u"]
    assert visitors.look_up(["u"], {}, is_current=False)["u"] is known
    guess = visitors.look_up(["v"], {}, is_current=False)["v"]
    assert visitors.look_up(["v"], {})["v"] is not guess


def test_a_stranger_has_nothing(visitors: Visitors) -> None:
    visitor = visitors.look_up(["x"], {})["x"]
    assert (visitor.is_known, visitor.item_nums.tolist(), visitor.seen.tolist()) == (False, [], [])
