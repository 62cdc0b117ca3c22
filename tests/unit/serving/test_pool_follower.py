"""Following the database, with a database that is made up."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from raysys.errors import StateError, StateUnavailableError
from raysys.serving import follower as following
from raysys.serving.pool_follower import PoolFollower
from raysys.state.items import Changes, StoredItem


@dataclass(frozen=True)
class Pool:
    """Remembers the ids of the items that it heard of."""

    version: int = 0
    item_ids: tuple[str, ...] = ()

    def num_eligible(self, now_us: int) -> int:
        return len(self.item_ids)

    def with_changes(self, changes: Changes, now_us: int) -> "Pool":
        assert now_us > 1_700_000_000_000_000
        if any(item.item_id == "poison" for item in changes.items):
            raise ValueError("no vector can be made of this")
        known = tuple(item.item_id for item in changes.items)
        return replace(self, version=changes.version, item_ids=self.item_ids + known)


class Database:
    """Numbers its items; is away when told to."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.failure: Exception | None = None
        self.num_opened = 0
        self.num_closed = 0
        self.asked = threading.Semaphore(0)
        self._lock = threading.Lock()

    def become(self, items: list[str], failure: Exception | None = None) -> None:
        """Change, between two looks of the follower, and wait until it has taken one in since."""
        with self._lock:
            self.items, self.failure = items, failure
            self.asked = threading.Semaphore(0)
        for _ in range(2):  # when it asks again it is done with the first answer
            assert self.asked.acquire(timeout=10)

    def open(self) -> "Database":
        with self._lock:
            if self.failure is not None:
                self.asked.release()
            self._fail()
        self.num_opened += 1
        return self

    def changes(self, since: int) -> Changes:
        with self._lock:
            self.asked.release()
            self._fail()
            names = list(self.items)
        return Changes(len(names), [StoredItem(name, None, 0) for name in names[since:]], [])

    def close(self) -> None:
        self.num_closed += 1

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_EVERY_S", 0.001)


def follow(database: Database, scenario: Callable[[PoolFollower], None]) -> None:
    follower = PoolFollower(Pool(), database.open)  # type: ignore[arg-type]
    try:
        scenario(follower)
    finally:
        follower.close()
    assert database.num_closed == database.num_opened


def wait_for(follower: PoolFollower, item_ids: tuple[str, ...], database: Database) -> None:
    while follower.pool.item_ids != item_ids:  # type: ignore[attr-defined]
        assert database.asked.acquire(timeout=10)


def test_it_has_caught_up_when_it_starts_and_goes_on_following() -> None:
    database = Database()
    database.items = ["a", "b"]

    def scenario(follower: PoolFollower) -> None:
        follower.start()
        assert follower.pool == Pool(2, ("a", "b"))
        database.items.append("c")
        wait_for(follower, ("a", "b", "c"), database)
        assert database.num_opened == 1

    follow(database, scenario)


def test_a_pool_stays_as_it_is_while_the_database_is_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database()
    database.items = ["a"]

    def scenario(follower: PoolFollower) -> None:
        follower.start()
        database.become(["a", "b"], StateUnavailableError("it is away"))
        assert follower.pool.version == 1
        database.failure = None
        wait_for(follower, ("a", "b"), database)

    follow(database, scenario)
    assert [record.getMessage() for record in caplog.records] == [
        "The fresh items stay as they are: StateUnavailableError('it is away')",
        "The fresh items are up to date again",
    ]


def test_without_a_database_the_releases_items_do_until_there_is_one() -> None:
    database = Database()
    database.failure = StateUnavailableError("it is away")
    database.items = ["a"]

    def scenario(follower: PoolFollower) -> None:
        follower.start(patience_s=0)
        assert follower.pool == Pool()
        database.failure = None
        wait_for(follower, ("a",), database)

    follow(database, scenario)


def test_a_database_that_can_never_be_used_is_told_at_once() -> None:
    database = Database()
    database.failure = StateError("a newer raysys made it")

    def scenario(follower: PoolFollower) -> None:
        with pytest.raises(StateError, match="a newer raysys"):
            follower.start()

    follow(database, scenario)


def test_an_item_that_cannot_be_used_does_not_end_the_following(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database()

    def scenario(follower: PoolFollower) -> None:
        follower.start()
        database.become(["poison"])
        database.items = ["a"]
        wait_for(follower, ("a",), database)

    follow(database, scenario)
    assert sum("no vector can be made" in text for text in caplog.messages) == 1


def test_an_item_that_cannot_be_used_does_not_keep_a_shard_from_starting() -> None:
    database = Database()
    database.items = ["poison"]

    def scenario(follower: PoolFollower) -> None:
        follower.start(patience_s=0)
        assert follower.pool == Pool()
        database.items = ["a"]
        wait_for(follower, ("a",), database)

    follow(database, scenario)


def test_another_database_in_its_place_is_read_from_the_beginning() -> None:
    database = Database()
    database.items = ["a", "b", "c"]

    def scenario(follower: PoolFollower) -> None:
        follower.start()
        database.items = ["x"]
        wait_for(follower, ("x",), database)
        assert follower.pool == Pool(1, ("x",))

    follow(database, scenario)


def test_after_each_look_at_the_database_it_tells_how_many_items_there_are() -> None:
    database, told = Database(), []
    database.items = ["a", "b"]
    follower = PoolFollower(Pool(), database.open, on_size=told.append)  # type: ignore[arg-type]
    follower.start()
    assert told[0] == 2
    database.items.append("c")
    wait_for(follower, ("a", "b", "c"), database)
    follower.close()
    assert told[-1] == 3
    assert set(told) == {2, 3}


def test_whoever_is_waited_for_looks_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "POLL_EVERY_S", 3600)
    monkeypatch.setattr(following, "IN_A_HURRY_S", 0.001)
    looks, is_quiet = [True, True, False], threading.Event()

    def look() -> bool:
        if len(looks) == 1:
            is_quiet.set()
        return looks.pop(0)  # IndexError if it is asked once more

    follower = following.Follower("raysys-test", "The looks", look)
    follower.catch_up()
    follower.start()
    assert is_quiet.wait(10)
    follower.close()
    assert looks == []
    assert not follower._is_behind
