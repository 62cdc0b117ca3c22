"""Items that came later, what is counted of them, and what a poller sees."""

import time
from pathlib import Path

import pytest

from raysys.errors import StateError
from raysys.state import item_delta
from raysys.state.items import (
    Changes,
    Item,
    ItemCount,
    ItemHiding,
    Reception,
    StoredItem,
    merged,
)
from raysys.state.store import StateStore
from tests.unit.state.builders import event, slate, sqlite_url, visit


def test_nothing_has_changed_in_an_empty_store(store: StateStore) -> None:
    assert store.changes(0) == Changes(0, [], [])
    assert store.put_items([]) == 0


def test_items_of_one_call_share_a_version_and_begin_to_be_counted(store: StateStore) -> None:
    version = store.put_items([Item("b", '{"title":"B"}', 20), Item("a", None, 10)])
    assert version == 1
    assert store.changes(0) == Changes(
        1,
        [StoredItem("a", None, 10), StoredItem("b", '{"title":"B"}', 20)],
        [ItemCount("a", 0, 0), ItemCount("b", 0, 0)],
    )


def test_only_what_changed_after_the_known_version_is_shown(store: StateStore) -> None:
    store.put_items([Item("a", "{}", 1)])
    store.put_items([Item("b", "{}", 2)])
    assert store.changes(1) == Changes(2, [StoredItem("b", "{}", 2)], [ItemCount("b", 0, 0)])
    assert store.changes(2) == Changes(2, [], [])
    assert store.put_items([]) == 2


def test_an_item_that_is_put_again_is_replaced_and_keeps_its_counts(store: StateStore) -> None:
    store.put_items([Item("a", '{"title":"A"}', 5)])
    store.put_events([event("a", 1)])
    assert store.put_items([Item("a", '{"title":"new"}')]) == 3
    assert store.changes(0) == Changes(
        3, [StoredItem("a", '{"title":"new"}', 5)], [ItemCount("a", 0, 1)]
    )
    store.put_items([Item("a", None, 7)])
    assert store.changes(3) == Changes(4, [StoredItem("a", None, 7)], [])


def test_an_item_without_a_time_is_created_when_it_is_first_put(store: StateStore) -> None:
    before = time.time_ns() // 1000
    store.put_items([Item("a")])
    after = time.time_ns() // 1000
    (first,) = store.changes(0).items
    assert before <= first.created_at_us <= after
    store.put_items([Item("a", "{}")])
    assert store.changes(1).items == [StoredItem("a", "{}", first.created_at_us)]


def test_one_call_that_names_an_item_twice_is_as_two_calls(store: StateStore) -> None:
    assert merged([Item("a", "1", 9), Item("b"), Item("a", "2")]) == [Item("a", "2", 9), Item("b")]
    store.put_items([Item("a", "1", 9), Item("a", "2")])
    assert store.changes(0).items == [StoredItem("a", "2", 9)]


@pytest.mark.parametrize("bad", [Item("\ud800"), Item("x", "\ud800"), Item("x", None, 2**63)])
def test_an_item_that_cannot_be_stored_takes_its_whole_call_with_it(
    store: StateStore, bad: Item
) -> None:
    with pytest.raises(StateError, match="none of its call was stored"):
        store.put_items([Item("a"), bad])
    assert store.changes(0) == Changes(0, [], [])


def test_every_new_event_is_a_click_on_its_item_if_that_is_counted(store: StateStore) -> None:
    store.put_items([Item("a", "{}", 1)])
    events = [event("a", 1), event("a", 2), event("released", 3), event("a", 1)]
    store.put_events(events)
    assert store.changes(1) == Changes(2, [], [ItemCount("a", 0, 2)])
    store.put_events(events)  # sent again: nothing is new
    assert store.changes(2) == Changes(2, [], [])
    store.put_events([event("released", 4), event(None, 5, event_type="search")])
    assert store.changes(2) == Changes(2, [], [])


def test_an_event_that_weighs_nothing_is_no_click_and_what_it_shows_is_shown(
    tmp_path: Path,
) -> None:
    weights = {"buy": 0.5, "view": 0.0, "dislike": -1.0}
    store = StateStore(
        sqlite_url(tmp_path),
        "films",
        weigh=lambda told: [weights[each.event_type] for each in told],
    )
    store.put_items([Item("a", "{}", 1), Item("b", "{}", 1)])
    kinds = ["view", "buy", "dislike"]
    events = [
        event("a", at, session_id=f"s-{at}", event_type=kind, impression=("b",))
        for at, kind in enumerate(kinds)
    ]
    store.put_events([*events, event(None, 9, event_type="search")])
    assert store.changes(1) == Changes(2, [], [ItemCount("a", 0, 1), ItemCount("b", 3, 0)])
    store.put_events([event("a", 10, event_type="dislike")])
    assert store.changes(2) == Changes(2, [], [])
    store.close()


def test_a_page_that_several_events_tell_of_was_shown_once(store: StateStore) -> None:
    store.put_items([Item("a", None, 1), Item("b", None, 1)])
    page = ("a", "b")
    store.put_events([event("a", at, impression=page) for at in (1, 2, 3)])
    assert store.changes(0).counts == [ItemCount("a", 1, 3), ItemCount("b", 1, 0)]
    other_page, other_visitor = event("a", 4, impression=("b",)), visit("a", 5, impression=page)
    store.put_events([other_page, other_visitor, visit("x", 6, "s-2", impression=page)])
    assert store.changes(0).counts[1] == ItemCount("b", 4, 0)


def test_an_event_shows_each_counted_item_of_its_impression_once(store: StateStore) -> None:
    store.put_items([Item("a", "{}", 1), Item("b", "{}", 1), Item("c", "{}", 1)])
    store.put_events(
        [
            event("a", 1, impression=("b", "a", "b", "released")),
            event(None, 2, event_type="view", impression=("b",)),
            event("a", 1, impression=("c",)),  # the first again
        ]
    )
    assert store.changes(1) == Changes(2, [], [ItemCount("a", 1, 1), ItemCount("b", 2, 0)])


def test_all_counts_together_say_how_often_fresh_items_are_clicked(
    store: StateStore, tmp_path: Path
) -> None:
    assert store.changes(0).reception.click_rate == 1 / 20
    store.put_items([Item("a", "{}", 1)])
    store.put_slates([slate("RID-1", fresh_item_ids=("a", "b")), slate("RID-2", fresh_item_ids=())])
    store.put_events([event("b", 1, recommendation_id="RID-1"), event("released", 2)])
    other = StateStore(sqlite_url(tmp_path), "books")
    assert other.changes(0).reception == Reception()
    other.close()
    assert store.changes(0).reception == Reception(impressions=2, clicks=1)
    assert store.changes(store.changes(0).version).reception == Reception(2, 1)
    assert store.changes(0).reception.click_rate == 2 / 22


def test_what_is_long_past_fades_from_the_counts_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_delta, "_REMEMBERED_IMPRESSIONS", 4)
    store = StateStore(sqlite_url(tmp_path), "films")
    store.put_slates([slate("RID-1", fresh_item_ids=("a", "b", "c", "d"))])
    store.put_events([event("a", at, recommendation_id="RID-1") for at in (1, 2)])
    assert store.changes(0).reception == Reception(4, 2)
    store.put_slates([slate("RID-2", fresh_item_ids=("a", "b"))])
    assert store.changes(0).reception == Reception(3, 1)
    assert ItemCount("a", 2, 2) in store.changes(0).counts
    store.close()


@pytest.mark.parametrize(
    ("impressions", "clicks", "rate"), [(0, 0, 0.05), (80, 9, 0.1), (0, 80, 0.81), (10**6, 0, 1e-6)]
)
def test_a_click_rate_is_a_chance_whatever_was_counted(
    impressions: int, clicks: int, rate: float
) -> None:
    assert Reception(impressions, clicks).click_rate == pytest.approx(rate, rel=1e-4)


EXPLICIT: list[list[tuple[str, ...]]] = [
    [("a", "b", "c")],
    [("a",), ("b", "c")],
    [("a", "b"), ("a", "b"), ("c", "a")],
]


@pytest.mark.parametrize("pages", EXPLICIT)
@pytest.mark.parametrize("is_early", [False, True])
@pytest.mark.parametrize("is_one_call", [False, True])
def test_what_a_client_says_was_visible_counts_once_instead_of_what_the_list_showed(
    store: StateStore, pages: list[tuple[str, ...]], is_early: bool, is_one_call: bool
) -> None:
    """Of the list of b, d and e only b was seen, beside a and c, however the client tells it."""
    store.put_items([Item("a", "{}", 1), Item("c", "{}", 1)])
    shown = slate("RID-1", item_ids=("d", "b", "e"), fresh_item_ids=("b", "d"))
    told = [
        event(None, at, event_type="view", recommendation_id="RID-1", impression=page)
        for at, page in enumerate(pages)
    ]
    calls = [told] if is_one_call else [[each] for each in told]
    if is_early:
        for call in calls:
            store.put_events(call)
    else:
        store.put_slates([shown])
        assert [ItemCount(item, 1, 0) for item in "bd"] == store.changes(1).counts
    for _ in range(2):  # the second time it is no news
        if is_early:
            store.put_slates([shown])
        else:
            for call in calls:
                store.put_events(call)
        counts = {count.item_id: count.impressions for count in store.changes(0).counts}
        assert counts == {"a": 1, "b": 1, "c": 1, "d": 0}
        assert store.changes(0).reception == Reception(3, 0)


def test_a_click_counts_on_what_a_client_says_that_the_list_showed(store: StateStore) -> None:
    store.put_items([Item("c", "{}", 1)])
    store.put_slates([slate("RID-1", fresh_item_ids=("b",))])
    store.put_events([event("c", 1, recommendation_id="RID-1", impression=("a", "c"))])
    store.put_events([event("c", 2, recommendation_id="RID-2", impression=("c",))])
    assert store.changes(0).counts == [ItemCount("b", 0, 0), ItemCount("c", 1, 1)]
    store.put_slates([slate("RID-2", fresh_item_ids=())])
    assert store.changes(0).counts == [ItemCount("b", 0, 0), ItemCount("c", 2, 2)]


def test_of_a_list_that_nobody_stored_nothing_is_visible(store: StateStore) -> None:
    store.put_items([Item("c", "{}", 1)])
    store.put_events([event("c", 1, recommendation_id="forged", impression=("c",))])
    assert store.changes(0).counts == [ItemCount("c", 0, 0)]
    assert store.changes(0).version == 1


def test_a_click_counts_only_on_what_the_list_that_it_names_showed(store: StateStore) -> None:
    store.put_items([Item("b", "{}", 1), Item("c", "{}", 1)])
    store.put_slates([slate("RID-1", fresh_item_ids=("b",))])
    store.put_events(
        [
            event("c", 1, recommendation_id="RID-1"),  # not shown there
            event("c", 2, recommendation_id="forged", impression=("c",)),
            event("b", 3, recommendation_id="forged"),
            event("b", 4, recommendation_id="RID-1"),
        ]
    )
    counts = {count.item_id: count for count in store.changes(0).counts}
    assert counts == {"b": ItemCount("b", 1, 1), "c": ItemCount("c", 0, 0)}


def test_a_click_that_comes_before_its_list_counts_with_the_list(store: StateStore) -> None:
    store.put_items([Item("b", "{}", 1), Item("c", "{}", 1)])
    early = [event(item, 1, recommendation_id="RID-1") for item in ("b", "c")]
    store.put_events([*early, event("b", 2, recommendation_id="RID-2")])
    assert {count.clicks for count in store.changes(0).counts} == {0}
    for _ in range(2):  # the second time it is no news
        store.put_slates([slate("RID-1"), slate("RID-2", fresh_item_ids=("c",))])
        counts = {count.item_id: count for count in store.changes(0).counts}
        assert counts == {"b": ItemCount("b", 1, 1), "c": ItemCount("c", 1, 0)}


def test_a_slate_shows_its_fresh_items_and_they_are_counted_from_then_on(
    store: StateStore,
) -> None:
    store.put_events([event("b", 1)])  # too early: nobody counts it
    assert store.put_slates([slate("RID-1"), slate("RID-2", fresh_item_ids=("a", "b"))]) == 2
    assert store.changes(0) == Changes(1, [], [ItemCount("a", 1, 0), ItemCount("b", 2, 0)])
    store.put_events([event("b", 2)])
    assert store.changes(1) == Changes(2, [], [ItemCount("b", 2, 1)])


def test_a_slate_that_is_stored_again_changes_nothing(store: StateStore, tmp_path: Path) -> None:
    slates = [slate("RID-1"), slate("RID-1", fresh_item_ids=("a",))]
    assert store.put_slates(slates) == 1
    assert store.put_slates([*slates, slate("RID-2")]) == 1
    assert store.changes(0) == Changes(2, [], [ItemCount("b", 2, 0)])
    assert store.put_slates([]) == 0


def test_slates_without_fresh_items_change_no_version(store: StateStore) -> None:
    assert store.put_slates([slate(fresh_item_ids=())]) == 1
    assert store.changes(0) == Changes(0, [], [])


def test_a_slate_that_cannot_be_stored_takes_its_whole_call_with_it(store: StateStore) -> None:
    for bad in (slate("RID-2", user_id="\ud800"), slate("RID-2", item_ids=("\ud800",))):
        with pytest.raises(StateError, match="none of its call was stored"):
            store.put_slates([slate("RID-1"), bad])
    assert store.changes(0) == Changes(0, [], [])
    assert store.put_slates([slate("RID-1")]) == 1


def test_items_are_hidden_and_shown_again_under_the_same_versions(store: StateStore) -> None:
    store.put_items([Item("a", "{}", 1)])
    assert store.hide_items(["b", "a", "b"]) == 2
    hidden = [ItemHiding("a", True), ItemHiding("b", True)]
    assert store.changes(1) == Changes(2, [], [], hidden)
    assert store.hide_items(["a"], is_hidden=False) == 3
    store.put_items([Item("b", "{}", 1)])  # a put shows nothing again
    assert store.hidden_items() == ["b"]
    assert store.hide_items([]) == 4
    assert store.changes(2).hidings == [ItemHiding("a", False)]
    assert store.changes(0).hidings == [ItemHiding("b", True), ItemHiding("a", False)]
    with pytest.raises(StateError, match="The id of an item"):
        store.hide_items(["c", "\ud800"])


def test_who_wants_no_counts_gets_all_else(store: StateStore) -> None:
    store.put_items([Item("a", "{}", 1)])
    store.put_slates([slate("RID-1", fresh_item_ids=("a",))])
    store.hide_items(["a"])
    whole = store.changes(0)
    assert whole.counts == [ItemCount("a", 1, 0)]
    assert store.changed_items(0) == Changes(3, whole.items, [], whole.hidings)
    assert store.changed_items(1) == Changes(3, [], [], whole.hidings)


def test_dataset_groups_count_apart(store: StateStore, tmp_path: Path) -> None:
    books = StateStore(sqlite_url(tmp_path), "books")
    store.put_items([Item("a", "film", 1)])
    store.put_items([Item("b", "film", 1)])
    assert books.put_items([Item("a", "book", 2)]) == 1
    books.put_events([event("a", 1)])
    assert books.put_slates([slate("RID-1")]) == 1
    assert books.changes(0) == Changes(
        3, [StoredItem("a", "book", 2)], [ItemCount("a", 0, 1), ItemCount("b", 1, 0)]
    )
    assert store.changes(1) == Changes(2, [StoredItem("b", "film", 1)], [ItemCount("b", 0, 0)])
    assert store.put_slates([slate("RID-1")]) == 1  # the id is another's in another group
    books.hide_items(["a"])
    assert (books.hidden_items(), store.hidden_items()) == (["a"], [])
    assert store.changes(0).hidings == []
    books.close()
