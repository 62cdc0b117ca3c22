"""A user's newest interactions stay in the order of time."""

import random
from collections.abc import Sequence

from raysys.state.user_state import NO_STATE, Interaction, UserState


def of(*items: tuple[str, int]) -> tuple[Interaction, ...]:
    return tuple(Interaction(item_id, at_us, "click") for item_id, at_us in items)


def test_interactions_are_kept_oldest_first_whatever_order_they_come_in() -> None:
    state = NO_STATE.extended(of(("c", 30), ("a", 10), ("b", 20)), 9)
    assert state == UserState(1, of(("a", 10), ("b", 20), ("c", 30)))


def test_a_late_event_is_put_where_it_belongs() -> None:
    state = UserState(4, of(("a", 10), ("c", 30))).extended(of(("b", 20)), 9)
    assert state == UserState(5, of(("a", 10), ("b", 20), ("c", 30)))


def test_of_one_time_the_first_to_arrive_stays_first() -> None:
    state = NO_STATE.extended(of(("first", 10), ("second", 10)), 9).extended(of(("third", 10)), 9)
    assert state.interactions == of(("first", 10), ("second", 10), ("third", 10))


def test_only_the_newest_are_kept() -> None:
    state = NO_STATE.extended(of(("a", 1), ("b", 2), ("c", 3)), 2)
    assert state == UserState(1, of(("b", 2), ("c", 3)))
    assert state.extended(of(("too-old", 1)), 2) == UserState(2, of(("b", 2), ("c", 3)))


def test_what_is_only_seen_and_what_is_read_do_not_push_each_other_out() -> None:
    def weigh(interactions: Sequence[Interaction]) -> list[float]:
        return [-1.0 if each.event_type == "view" else 1.0 for each in interactions]

    def views(*items: tuple[str, int]) -> tuple[Interaction, ...]:
        return tuple(Interaction(item_id, at_us, "view") for item_id, at_us in items)

    state = NO_STATE.extended((*of(("bought", 1)), *views(("x", 2))), 2, weigh)
    state = state.extended(views(("y", 3), ("x", 4), ("z", 5), ("z", 6)), 2, weigh)
    assert state.interactions == (*of(("bought", 1)), *views(("x", 4), ("z", 6)))
    state = state.extended(of(("b", 7), ("c", 8)), 2, weigh)
    assert state.interactions == (*views(("x", 4), ("z", 6)), *of(("b", 7), ("c", 8)))


def test_a_repeated_item_is_kept_each_time() -> None:
    assert NO_STATE.extended(of(("a", 1), ("a", 2)), 9).interactions == of(("a", 1), ("a", 2))


def test_any_order_of_arrival_gives_a_stable_sort_by_time() -> None:
    items = [(f"item-{number}", random.randrange(20)) for number in range(200)]
    state = NO_STATE
    for start in range(0, 200, 7):
        state = state.extended(of(*items[start : start + 7]), 150)
    newest = sorted(items, key=lambda item: item[1])[-150:]  # Python's sort is stable
    assert state.interactions == of(*newest)


def test_a_packed_state_is_read_back_as_it_was() -> None:
    interactions = (
        Interaction("münchen", 0, "click"),
        Interaction("☃", 5, "rating", 4.5),
        Interaction("a", 2**60, "watch", -1e300),
    )
    state = UserState(7, interactions)
    assert UserState.unpack(7, state.pack()) == state
