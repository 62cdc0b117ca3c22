"""Who asks: the release's history, the database's, and both together."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys import tables
from raysys.config import EventType, FeedbackConfig
from raysys.dataset.dataset import shard_histories
from raysys.dataset.event_types import NO_EVENT_TYPES, EventTypes
from raysys.dataset.histories import SEEN_ONLY, Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.hashing import stable_hash
from raysys.serving.past import Past
from raysys.serving.visitors import Visitors
from raysys.state.user_state import Interaction, UserState

Triples = list[tuple[int, ...]]
"""Item, time, and 0 where the item counts as seen only."""


def merged(release: Triples, database: Triples) -> Triples:
    together = past(release).merged(past(database))
    columns = together.item_nums, together.occurred_at_us, together.is_read
    return [
        (num, at) if is_read else (num, at, 0)
        for num, at, is_read in zip(*(column.tolist() for column in columns), strict=True)
    ]


def past(interactions: Triples) -> Past:
    return Past(
        np.array([each[0] for each in interactions], dtype=np.int32),
        np.array([each[1] for each in interactions], dtype=np.int64),
        np.zeros(len(interactions), dtype=np.int16),
        np.array([len(each) == 2 for each in interactions], dtype=bool),
    )


def clicks(*items: tuple[str, int]) -> tuple[Interaction, ...]:
    return tuple(Interaction(item_id, at_us, "click") for item_id, at_us in items)


def test_what_came_later_follows_the_release() -> None:
    assert merged([(1, 10), (2, 20)], [(3, 30)]) == [(1, 10), (2, 20), (3, 30)]


def test_a_late_event_takes_its_place_in_time() -> None:
    assert merged([(1, 10), (2, 20)], [(3, 15), (4, 30)]) == [(1, 10), (3, 15), (2, 20), (4, 30)]


def test_an_event_that_the_release_has_learnt_from_counts_once() -> None:
    release = [(1, 10), (2, 20)]
    assert merged(release, [(1, 10), (2, 20), (2, 21)]) == [(1, 10), (2, 20), (2, 21)]


def test_of_equal_times_the_releases_interaction_comes_first() -> None:
    assert merged([(5, 10)], [(4, 10)]) == [(5, 10), (4, 10)]


def test_an_item_disliked_in_the_moment_of_its_click_is_both() -> None:
    assert merged([(1, 10)], [(1, 10), (1, 10, 0)]) == [(1, 10), (1, 10, 0)]
    assert merged([(1, 10), (1, 10, 0)], [(1, 10, 0), (1, 10)]) == [(1, 10), (1, 10, 0)]


def test_a_user_of_the_database_alone_has_its_history() -> None:
    assert merged([], [(4, 10)]) == [(4, 10)]


@settings(deadline=None)
@given(st.lists(st.integers(1, 9), max_size=30), st.integers(1, 12))
def test_seen_items_are_those_that_evaluation_leaves_out(items: list[int], n: int) -> None:
    histories = Histories.from_lists(["u"], [items], [range(len(items))])
    expected = set(histories.newest_distinct(n).item_nums.tolist())
    found = past([(item, 0) for item in items]).newest_distinct(n).tolist()
    assert set(found) == expected
    assert len(found) == len(expected)


@pytest.fixture
def visitors() -> Visitors:
    items = Vocabulary.from_ids(["a", "b", "c"])  # numbers 1, 2, 3
    histories = Histories.from_lists(["u"], [[1, 2]], [[10, 20]])
    return Visitors(
        items,
        histories,
        FeedbackConfig(),
        NO_EVENT_TYPES,
        history_length=2,
        max_seen_items=9,
        max_cached=2,
    )


def test_a_visitor_is_cached_for_one_version_of_the_state(visitors: Visitors) -> None:
    first = visitors.look_up(["u"], {})["u"]
    assert visitors.look_up(["u", "u"], {})["u"] is first
    state = UserState(1, clicks(("c", 30), ("unknown", 40)))
    second = visitors.look_up(["u"], {"u": state})["u"]
    assert second.item_nums.tolist() == [2, 3]
    assert sorted(second.seen.tolist()) == [1, 2, 3]
    assert visitors.look_up(["u"], {"u": state})["u"] is second


def test_items_that_the_release_does_not_know_are_seen_under_keys_of_their_own(
    visitors: Visitors,
) -> None:
    state = UserState(1, clicks(("c", 30), ("new", 40), ("newer", 50), ("new", 60)))
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
    state = UserState(1, clicks(("c", 30)))
    known = visitors.look_up(["u"], {"u": state})["u"]
    assert visitors.look_up(["u"], {}, is_current=False)["u"] is known
    guess = visitors.look_up(["v"], {}, is_current=False)["v"]
    assert visitors.look_up(["v"], {})["v"] is not guess


def test_a_stranger_has_nothing(visitors: Visitors) -> None:
    visitor = visitors.look_up(["x"], {})["x"]
    assert (visitor.item_nums.tolist(), visitor.seen.tolist()) == ([], [])


def test_what_a_model_does_not_read_is_not_given_to_it() -> None:
    items = Vocabulary.from_ids(["a", "b", "c"])
    histories = Histories.from_lists(["u"], [[1, 2]], [[10, 20]])
    visitors = Visitors(
        items,
        histories,
        FeedbackConfig(),
        NO_EVENT_TYPES,
        history_length=0,
        max_seen_items=9,
        max_cached=2,
    )
    visitor = visitors.look_up(["u"], {})["u"]
    assert visitor.item_nums.tolist() == visitor.occurred_at_us.tolist() == []
    assert sorted(visitor.seen.tolist()) == [1, 2]


def test_events_are_judged_as_the_release_judged_its_own() -> None:
    items = Vocabulary.from_ids(["a", "b", "c", "d", "e"])
    weights = [np.array([1, SEEN_ONLY], np.float32)]
    histories = Histories.from_lists(["u"], [[1, 2]], [[10, 20]], weights=weights)
    feedback = FeedbackConfig(
        event_types=(EventType(event_type="watch", event_value_threshold=0.5),),
        negative_event_types=("dislike",),
    )
    visitors = Visitors(
        items,
        histories,
        feedback,
        NO_EVENT_TYPES,
        history_length=9,
        max_seen_items=9,
        max_cached=2,
    )
    state = UserState(
        1,
        (
            Interaction("c", 30, "watch", 0.5),
            Interaction("d", 40, "watch", 0.4),
            Interaction("e", 50, "dislike"),
            Interaction("new", 60, "dislike"),
            Interaction("newer", 70, "view"),
        ),
    )
    visitor = visitors.look_up(["u"], {"u": state})["u"]
    assert visitor.item_nums.tolist() == [1, 3]
    assert sorted(visitor.seen.tolist()) == [1, 2, 3, 4, 5]
    keys = [-1 - (stable_hash(item_id) >> 1) for item_id in ("new", "newer")]
    assert sorted(visitor.seen_keys.tolist()) == sorted(keys)


def test_who_only_disliked_something_has_seen_it_and_nothing_is_read() -> None:
    items, histories = Vocabulary.from_ids(["a"]), Histories.from_lists([], [], [])
    feedback = FeedbackConfig(negative_event_types=("dislike",))
    visitors = Visitors(
        items,
        histories,
        feedback,
        NO_EVENT_TYPES,
        history_length=9,
        max_seen_items=9,
        max_cached=2,
    )
    state = UserState(1, (Interaction("a", 30, "dislike"),))
    visitor = visitors.look_up(["u"], {"u": state})["u"]
    assert (visitor.item_nums.tolist(), visitor.seen.tolist()) == ([], [1])


FEEDBACKS = st.builds(
    FeedbackConfig,
    feedback_threshold=st.sampled_from([None, 1.0]),
    event_value_threshold=st.sampled_from([None, 1.0]),
    event_types=st.sampled_from(
        [
            (),
            (EventType(event_type="buy"), EventType(event_type="view", weight=0)),
            (EventType(event_type="view", event_value_threshold=2.0, weight=0.5),),
        ]
    ),
    negative_event_types=st.sampled_from([(), ("dislike",)]),
)
EVENT_TYPES = st.sampled_from([NO_EVENT_TYPES, EventTypes(names=("view", "buy"))])
EVENTS = st.lists(
    st.tuples(
        st.sampled_from("abcd"),
        st.sampled_from(["buy", "view", "dislike"]),
        st.sampled_from([None, 0.0, 1.0, 2.0]),
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=150)
@given(EVENTS, FEEDBACKS, EVENT_TYPES, st.integers(0, 12), st.integers(0, 3), st.integers(1, 9))
def test_a_past_is_the_same_whether_the_log_or_the_database_tells_it(
    events: list[tuple[str, str, float | None]],
    feedback: FeedbackConfig,
    event_types: EventTypes,
    num_released: int,
    num_in_both: int,
    max_seen_items: int,
) -> None:
    items = Vocabulary.from_ids([*"abcd"])
    told = [Interaction(item, at, kind, value) for at, (item, kind, value) in enumerate(events)]

    def history(interactions: list[Interaction]) -> Histories:
        return shard_histories(log_of("u", interactions), items, feedback, event_types)

    visitors = Visitors(
        items,
        history(told[:num_released]),
        feedback,
        event_types,
        history_length=99,
        max_seen_items=max_seen_items,
        max_cached=2,
    )
    state = UserState(1, tuple(told[max(0, num_released - num_in_both) :]))
    visitor = visitors.look_up(["u"], {"u": state})["u"]

    whole = history(told)
    assert visitor.item_nums.tolist() == whole.inputs().item_nums.tolist()
    assert visitor.occurred_at_us.tolist() == whole.inputs().occurred_at_us.tolist()
    types = whole.inputs().event_types
    expected = [0] * len(visitor.item_nums) if types is None else types.tolist()
    assert visitor.event_types.tolist() == expected
    seen = whole.newest_distinct(max_seen_items).item_nums.tolist()
    assert sorted(visitor.seen.tolist()) == sorted(seen)


def log_of(user_id: str, told: list[Interaction]) -> pa.Table:
    columns = {
        "user_id": pa.array([user_id] * len(told), pa.string()),
        "item_id": pa.array([each.item_id for each in told], pa.string()),
        "occurred_at": pa.array([each.occurred_at_us for each in told], tables.TIMESTAMP),
        "event_type": pa.array([each.event_type for each in told], pa.string()),
        "event_value": pa.array([each.event_value for each in told], pa.float64()),
    }
    return pa.table(columns)
