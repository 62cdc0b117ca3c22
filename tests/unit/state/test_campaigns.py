"""What campaigns are to answer from, as it is stored."""

from pathlib import Path

import pytest

from raysys.state.campaigns import (
    CampaignTable,
    Move,
    Plan,
    Replica,
    Report,
    Status,
    Variant,
    Wish,
)
from raysys.state.store import StateStore
from tests.unit.state.builders import sqlite_url


@pytest.fixture
def store(tmp_path: Path) -> StateStore:
    return StateStore(sqlite_url(tmp_path), "films")


def wish(release: str, problem: str = "") -> Wish:
    return Wish(f"serve {release}", Plan((Variant(f"/r/{release}", release, 1.0),)), problem)


def statuses(table: CampaignTable) -> list[tuple[str, int, Status]]:
    return [(each.campaign, each.version, each.status) for each in table.open()]


def become(table: CampaignTable, campaign: str, version: int, status: Status) -> None:
    [found] = [
        each for each in table.history() if (each.campaign, each.version) == (campaign, version)
    ]
    table.move([Move(found, status, f"now {status}")])


def test_each_new_wish_is_a_version_and_the_same_words_change_nothing(store: StateStore) -> None:
    table = store.campaigns("shop")
    table.want({"home": wish("a"), "mail": wish("x")})
    table.want({"home": wish("a"), "mail": wish("x")})
    assert statuses(table) == [("home", 1, "wanted"), ("mail", 1, "wanted")]
    [home, _] = table.open()
    assert (home.asked, home.plan) == ("serve a", wish("a").plan)
    table.want({"home": wish("b"), "mail": wish("x")})  # nothing was done about `a` yet
    assert statuses(table) == [("home", 2, "wanted"), ("mail", 1, "wanted")]
    assert [each.status for each in table.history()] == ["replaced", "wanted", "wanted"]


def test_what_is_served_goes_on_beside_what_is_wanted(store: StateStore) -> None:
    table = store.campaigns("shop")
    table.want({"home": wish("a")})
    become(table, "home", 1, "serving")
    table.want({"home": wish("b", problem="it is gone")})
    assert statuses(table) == [("home", 1, "serving"), ("home", 2, "failed")]
    assert table.open()[1].reason == "it is gone"
    table.want({"home": wish("b", problem="it is gone")})  # the same words: not tried again
    table.want({"home": wish("c")})
    assert statuses(table) == [("home", 1, "serving"), ("home", 3, "wanted")]
    assert table.history()[1].reason == "it is gone"


def test_a_campaign_that_is_no_longer_named_is_withdrawn_and_may_come_back(
    store: StateStore,
) -> None:
    table = store.campaigns("shop")
    table.want({"home": wish("a"), "mail": wish("x")})
    become(table, "home", 1, "serving")
    table.want({"mail": wish("x")})
    table.want({"mail": wish("x")})
    assert statuses(table) == [("mail", 1, "wanted")]
    assert [(each.version, each.reason) for each in table.history()][:2] == [
        (1, "now serving"),
        (2, "It was withdrawn."),
    ]
    table.want({"home": wish("a"), "mail": wish("x")})
    assert statuses(table) == [("home", 3, "wanted"), ("mail", 1, "wanted")]


def test_a_version_moves_only_from_the_status_that_it_was_seen_in(store: StateStore) -> None:
    table = store.campaigns("shop")
    table.want({"home": wish("a")})
    [seen] = table.open()
    table.move([Move(seen, "preparing")])
    table.move([Move(seen, "failed", "too late")])
    assert statuses(table) == [("home", 1, "preparing")]


def test_applications_and_dataset_groups_know_nothing_of_each_other(
    store: StateStore, tmp_path: Path
) -> None:
    of_books = StateStore(sqlite_url(tmp_path), "books").campaigns("shop")
    one, other = store.campaigns("shop"), store.campaigns("lab")
    one.want({"home": wish("a")})
    one.report(Replica("r-1", Report()))
    for table in (other, of_books):
        assert (table.open(), table.replicas()) == ([], [])
        table.want({})
        table.forget(["r-1"])
    assert statuses(one) == [("home", 1, "wanted")]
    assert [each.name for each in one.replicas()] == ["r-1"]


def test_a_replica_is_known_by_its_last_word_until_it_is_forgotten(store: StateStore) -> None:
    table = store.campaigns("shop")
    last = Report(ready=("a", "b"), failed={"c": "damaged"}, in_service={"home": 2})
    for report in (Report(), last):
        table.report(Replica("r-1", report))
    table.report(Replica("r-2", Report()))
    assert table.replicas() == [Replica("r-1", last), Replica("r-2", Report())]
    table.forget(["r-1", "never there"])
    table.forget([])
    assert [each.name for each in table.replicas()] == ["r-2"]
