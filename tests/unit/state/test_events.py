"""What makes two events the same."""

from dataclasses import replace

import pytest

from raysys.state.events import Event
from tests.unit.state.builders import event


def test_an_event_with_an_id_is_known_by_it_alone() -> None:
    first = event("matrix", 1, event_id="e-1")
    assert first.identity() == event("alien", 2, user_id="bob", event_id="e-1").identity()
    assert first.identity() != event("matrix", 1, event_id="e-2").identity()
    assert first.identity() != event("matrix", 1).identity()


def test_an_event_without_an_id_is_the_same_when_user_item_time_and_type_are() -> None:
    first = event("matrix", 1)
    assert first.identity() == replace(first, session_id="other", event_value=5.0).identity()


@pytest.mark.parametrize(
    "other",
    [
        event("alien", 1),
        event("matrix", 2),
        event("matrix", 1, user_id="bob"),
        event("matrix", 1, event_type="watch"),
        event(None, 1, properties="matrix"),
        event(None, 1),
    ],
)
def test_an_event_that_differs_in_one_of_them_is_another(other: Event) -> None:
    assert event("matrix", 1).identity() != other.identity()


def test_searches_at_the_same_time_differ_by_what_was_searched() -> None:
    first = event(None, 1, event_type="search", properties='{"q":"a"}')
    second = event(None, 1, event_type="search", properties='{"q":"b"}')
    assert first.identity() != second.identity()
    assert first.identity() == replace(first, session_id="other").identity()


def test_parts_of_an_identity_do_not_run_into_each_other() -> None:
    assert event("bc", user_id="a").identity() != event("c", user_id="ab").identity()


def test_an_id_cannot_pass_for_an_identity_made_from_parts() -> None:
    made = event("matrix", 1).identity()
    assert event("matrix", 1, event_id=made).identity() != made
