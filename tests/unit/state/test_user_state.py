"""A user's newest items stay in the order of time."""

import random

from raysys.state.user_state import NO_STATE, UserState


def test_items_are_kept_oldest_first_whatever_order_they_come_in() -> None:
    state = NO_STATE.with_items([("c", 30), ("a", 10), ("b", 20)], 9)
    assert state == UserState(1, ("a", "b", "c"), (10, 20, 30))


def test_a_late_event_is_put_where_it_belongs() -> None:
    state = UserState(4, ("a", "c"), (10, 30)).with_items([("b", 20)], 9)
    assert state == UserState(5, ("a", "b", "c"), (10, 20, 30))


def test_of_one_time_the_first_to_arrive_stays_first() -> None:
    state = NO_STATE.with_items([("first", 10), ("second", 10)], 9).with_items([("third", 10)], 9)
    assert state.item_ids == ("first", "second", "third")


def test_only_the_newest_items_are_kept() -> None:
    state = NO_STATE.with_items([("a", 1), ("b", 2), ("c", 3)], 2)
    assert state == UserState(1, ("b", "c"), (2, 3))
    assert state.with_items([("too-old", 1)], 2) == UserState(2, ("b", "c"), (2, 3))


def test_a_repeated_item_is_kept_each_time() -> None:
    assert NO_STATE.with_items([("a", 1), ("a", 2)], 9).item_ids == ("a", "a")


def test_any_order_of_arrival_gives_a_stable_sort_by_time() -> None:
    items = [(f"item-{number}", random.randrange(20)) for number in range(200)]
    state = NO_STATE
    for start in range(0, 200, 7):
        state = state.with_items(items[start : start + 7], 150)
    newest = sorted(items, key=lambda item: item[1])[-150:]  # Python's sort is stable
    assert list(zip(state.item_ids, state.occurred_at_us, strict=True)) == newest


def test_a_packed_state_is_read_back_as_it_was() -> None:
    state = UserState(7, ("münchen", "☃", "a"), (0, 5, 2**60))
    assert UserState.unpack(7, state.pack()) == state
