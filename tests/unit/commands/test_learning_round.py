"""What a round of learning does, step by step, and what is told of one that fails. No training."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from raysys.commands import import_log, learning_round
from raysys.commands.console import Console
from raysys.commands.holding import HeldLease, held_lease
from raysys.commands.learning_round import LearningRound, is_full_due
from raysys.config import GruConfig, IndexConfig, LearningConfig, PipelineConfig
from raysys.errors import LeaseLostError, RaysysError, ServingError, TrainingError
from raysys.logs.call import run_here
from raysys.logs.event_intake import import_events
from raysys.release import Release, publishing
from raysys.state.campaigns import Move, Plan, Variant, Wish
from raysys.state.learning_rounds import Round
from raysys.state.store import StateStore
from raysys.state.tables import learning_leases
from tests.unit.commands.builders import release_untrained
from tests.unit.releases import published
from tests.unit.state.builders import event, sqlite_url

CONFIG = PipelineConfig(
    model=GruConfig(hidden_dimension=16, history_length=4), index=IndexConfig(num_partitions=2)
)
UPDATED = {"updated": True, "name": "r-2", "release": "/r/r-2", "active_users": 3}
REFUSED = {"updated": False, "gate": {"reason": "it is worse"}}


class Shop:
    """A campaign that answers from a release, and what would be learnt for it."""

    def __init__(self, directory: Path) -> None:
        self.store = StateStore(sqlite_url(directory), "films")
        self.table = self.store.learning("shop")
        self.dataset = directory / "dataset"
        for user in ("ann", "bob", "cy"):
            self.act(user, *"abcd", after=0)
        import_events(self.store, self.dataset, num_shards=1, run=run_here)
        self.release = release_untrained(self.dataset, directory / "releases", CONFIG)
        plan = Plan((Variant(str(self.release.path), self.release.name, 1.0),))
        campaigns = self.store.campaigns("shop")
        campaigns.want({"default": Wish("", plan)})
        campaigns.move([Move(campaigns.open()[0], "serving")])
        self.served: list[tuple[str, Path]] = []
        self.updates: list[dict[str, Any]] = []
        self.learning = LearningConfig(dataset=str(self.dataset), releases=str(directory / "new"))

    def act(self, user: str, *items: str, after: int) -> None:
        self.store.put_events(
            [event(item, after + at, user_id=user) for at, item in enumerate(items, 1)]
        )

    def serve(self, before: Release, release: Path) -> None:
        self.served.append((before.name, release))

    def learn(self) -> dict[str, Any]:
        with held_lease(self.table) as held:
            assert held is not None
            return self.round_of(held).run()

    def round_of(self, held: HeldLease) -> LearningRound:
        console = Console(as_json=True)
        return LearningRound(self.store, "shop", self.learning, held, self.serve, console)

    @property
    def newest(self) -> Round:
        return self.table.now().rounds[0]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    shop = Shop(tmp_path)
    monkeypatch.setattr(import_log, "run_calls", run_here)
    learns(shop, monkeypatch, UPDATED)
    yield shop
    shop.store.close()


def learns(shop: Shop, monkeypatch: pytest.MonkeyPatch, result: dict[str, Any] | Exception) -> None:
    """Let what stands for the training end so."""

    def instead(update: Any, releases: Path, _: Any, **told: Any) -> dict[str, Any]:
        users = update.num_active_users
        shop.updates.append({"from": update.release.name, "to": releases, "users": users, **told})
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(learning_round, "update_and_report", instead)


def test_what_is_new_is_taken_over_learnt_and_served(shop: Shop) -> None:
    shop.act("ann", "a", "new", after=100)
    result = shop.learn()
    assert (result["status"], result["mode"]) == ("deployed", "UPDATE")
    assert result["imported"]["rows_accepted"] == 2
    [asked] = shop.updates
    told = (asked["from"], asked["to"], asked["users"], asked["epochs"], asked["is_anew"])
    assert told == (shop.release.name, Path(shop.learning.releases), 1, 2, False)
    assert asked["gate"] == shop.learning.gate
    assert shop.served == [(shop.release.name, Path("/r/r-2"))]
    found = shop.newest
    assert (found.status, found.step, found.mode) == ("deployed", "deploying", "UPDATE")
    assert (found.release, found.published) == (shop.release.name, "r-2")
    assert found.import_id
    assert not shop.table.now().is_held


def test_where_nothing_is_new_nothing_is_done(shop: Shop) -> None:
    assert shop.learn() == {"status": "nothing", "reason": "Nothing is new."}
    assert (shop.updates, shop.served) == ([], [])
    assert shop.newest.status == "nothing"


def test_events_of_before_the_release_are_taken_over_and_nothing_is_trained(shop: Shop) -> None:
    shop.act("dora", "a", after=-50)
    assert shop.learn()["status"] == "nothing"
    assert shop.updates == []
    assert shop.newest.reason == (
        f"Nothing that came is newer than what release {shop.release.name} has learnt from."
    )


def test_what_is_not_good_enough_is_not_served_and_not_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    learns(shop, monkeypatch, REFUSED)
    shop.act("ann", "a", "b", after=100)
    assert shop.learn()["status"] == "kept"
    assert (shop.served, shop.newest.reason) == ([], "it is worse")
    assert shop.learn()["status"] == "nothing"
    shop.act("bob", "a", after=200)
    assert shop.learn()["status"] == "kept"


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (TrainingError("a worker died"), "a worker died"),
        (MemoryError("none left"), "It was ended by MemoryError('none left')."),
        (OSError("No space left on device"), "No space left on device"),
    ],
)
def test_a_training_that_fails_serves_nothing_says_why_and_is_tried_again(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failure: Exception, told: str
) -> None:
    shop.act("ann", "a", "b", after=100)
    learns(shop, monkeypatch, failure)
    expected = RaysysError if isinstance(failure, OSError) else type(failure)
    with pytest.raises(expected):
        shop.learn()
    assert (shop.served, shop.newest.status, shop.newest.reason) == ([], "failed", told)
    assert shop.newest.step == "training"
    assert not shop.table.now().is_held
    learns(shop, monkeypatch, UPDATED)
    assert shop.learn()["status"] == "deployed"  # though its events were taken over before


def test_a_release_that_cannot_be_served_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ServingError("a shard cannot load it")

    monkeypatch.setattr(shop, "serve", refuse)
    shop.act("ann", "a", "b", after=100)
    with pytest.raises(ServingError):
        shop.learn()
    found = shop.newest
    assert (found.status, found.step, found.reason) == (
        "failed",
        "deploying",
        "a shard cannot load it",
    )
    assert found.published == "r-2"


def test_who_lost_the_lease_while_it_learnt_serves_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.act("ann", "a", "b", after=100)

    def overtaken(*_: object, **__: object) -> dict[str, Any]:
        over = update(learning_leases).values(expires_at_us=1)
        shop.store._database.write(lambda connection: connection.execute(over))
        other = shop.table.acquire("another", 3_600)
        assert other is not None
        shop.table.begin(other)
        return UPDATED

    monkeypatch.setattr(learning_round, "update_and_report", overtaken)
    with pytest.raises(LeaseLostError, match="number 1 was lost"):
        shop.learn()
    assert shop.served == []
    assert [each.status for each in shop.table.now().rounds] == ["running", "lost"]
    assert shop.table.now().is_held  # by the other one


def test_of_two_one_learns(shop: Shop) -> None:
    with held_lease(shop.table) as first, held_lease(shop.table) as second:
        assert first is not None
        assert second is None
    with held_lease(shop.table) as third:
        assert third is not None


NOW = datetime(2026, 6, 30, tzinfo=UTC)


def full(status: str, days_ago: float) -> Round:
    began_at_us = round((NOW - timedelta(days=days_ago)).timestamp() * 1e6)
    empty = ("", "", "")
    return Round(1, 1, "", status, "", "FULL", *empty, "", began_at_us, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("trained_days_ago", "tried", "is_due"),
    [
        (6.9, None, False),
        (7, None, True),
        (9, full("kept", 2), False),  # it would be no better today
        (9, full("kept", 7), True),
        (9, full("failed", 0.5), False),
        (9, full("failed", 1), True),
        (9, full("lost", 0.5), False),
    ],
)
def test_a_model_is_trained_from_nothing_when_that_is_long_ago(
    tmp_path: Path, trained_days_ago: float, tried: Round | None, is_due: bool
) -> None:
    trained_at = NOW - timedelta(days=trained_days_ago)
    with publishing(tmp_path) as draft:
        release = published(draft, lineage={"trained_at": trained_at.isoformat()})
    learning = LearningConfig(dataset="d", releases="r")
    assert is_full_due(learning, release, tried, NOW) is is_due
    never = learning.model_copy(update={"full_every_days": None})
    assert not is_full_due(never, release, tried, NOW)
