"""Slates are stored behind everyone's back; what is lost is counted."""

import logging
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from raysys.errors import StateError, StateUnavailableError
from raysys.state import slate_recorder
from raysys.state.items import ItemCount
from raysys.state.slate_recorder import SlateRecorder
from raysys.state.slates import Slate
from raysys.state.store import StateStore
from tests.unit.state.builders import slate, sqlite_url


class FakeStore(StateStore):
    """Remembers each transaction; `gate` holds it open, `failures` are met by the next ones."""

    def __init__(self) -> None:
        self.commits: list[list[str]] = []
        self.failures: list[Exception | None] = []
        self.refused: dict[str, Exception] = {}
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.pruned: list[tuple[int, int]] = []
        self.is_pruning_refused = False

    def put_slates(self, slates: Sequence[Slate]) -> int:
        self.entered.release()
        assert self.gate.wait(10)
        if self.failures and (failure := self.failures.pop(0)) is not None:
            raise failure
        names = [slate.recommendation_id for slate in slates]
        for name in names:
            if name in self.refused:
                raise self.refused[name]
        self.commits.append(names)
        return len(names)

    def prune_slates(self, shown_before_us: int, *, at_most: int) -> int:
        self.pruned.append((shown_before_us, at_most))
        if self.is_pruning_refused:
            raise StateUnavailableError("away")
        return 0

    def wait_for_a_call(self) -> None:
        assert self.entered.acquire(timeout=10)


@pytest.fixture
def store() -> FakeStore:
    return FakeStore()


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(slate_recorder, "_SHORTEST_PAUSE_S", 0.001)
    yield
    assert "raysys-slates" not in {thread.name for thread in threading.enumerate()}


def slates(*names: str) -> list[Slate]:
    return [slate(name) for name in names]


def test_what_is_recorded_is_stored_at_the_latest_when_it_closes(store: FakeStore) -> None:
    recorder = SlateRecorder(store)
    recorder.record(slates("a", "b"))
    recorder.close()
    assert store.commits == [["a", "b"]]
    assert (recorder.recorded, recorder.dropped) == (2, 0)


def test_a_lone_slate_waits_for_nobody(store: FakeStore) -> None:
    recorder = SlateRecorder(store, pace_s=1000)
    recorder.record(slates("a"))
    store.wait_for_a_call()
    recorder.close()
    assert store.commits == [["a"]]


def test_slates_that_come_during_a_commit_share_the_next_one(store: FakeStore) -> None:
    store.gate.clear()
    recorder = SlateRecorder(store)
    recorder.record(slates("first"))
    store.wait_for_a_call()
    recorder.record(slates("a"))  # returns, though the database does not answer
    recorder.record(slates("b", "c"))
    store.gate.set()
    recorder.close()
    assert store.commits == [["first"], ["a", "b", "c"]]


def test_slates_that_come_soon_after_a_commit_wait_for_each_other(store: FakeStore) -> None:
    recorder = SlateRecorder(store, pace_s=1000)
    recorder.record(slates("first"))
    while recorder.recorded == 0:
        store.entered.acquire(timeout=0.01)
    for name in ("a", "b", "c"):
        recorder.record(slates(name))
    recorder.close()  # does not keep to the pace
    assert store.commits == [["first"], ["a", "b", "c"]]


def test_a_commit_has_a_limit(store: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slate_recorder, "_MAX_SLATES_PER_COMMIT", 2)
    recorder = SlateRecorder(store)
    recorder.record(slates("a", "b", "c", "d", "e"))
    recorder.close()
    assert store.commits == [["a", "b"], ["c", "d"], ["e"]]


def test_while_the_database_is_away_slates_wait_in_their_order(
    store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.failures = [StateUnavailableError("away"), StateUnavailableError("away")]
    store.gate.clear()
    recorder = SlateRecorder(store)
    recorder.record(slates("a", "b"))
    store.wait_for_a_call()
    recorder.record(slates("c"))
    store.gate.set()
    recorder.close()
    assert store.commits == [["a", "b", "c"]]
    assert (recorder.recorded, recorder.dropped) == (3, 0)
    assert caplog.records == []


def test_where_too_many_wait_the_oldest_are_dropped_and_the_log_says_so_once(
    store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.gate.clear()
    store.failures = [StateUnavailableError("away")]
    recorder = SlateRecorder(store, max_waiting=3)
    recorder.record(slates("a", "b"))
    store.wait_for_a_call()
    recorder.record(slates("c", "d", "e", "f"))  # c is too many
    assert recorder.dropped == 1
    store.gate.set()  # a and b come back, and are too many
    recorder.close()
    assert store.commits == [["d", "e", "f"]]
    assert (recorder.recorded, recorder.dropped) == (3, 3)
    (line,) = caplog.records
    assert line.levelno == logging.WARNING
    assert "more than 3 waited" in line.getMessage()


@pytest.mark.parametrize("failure", [StateError("no such value"), KeyError("a bug")])
def test_a_slate_that_cannot_be_stored_is_lost_alone(store: FakeStore, failure: Exception) -> None:
    store.refused = {"bad": failure}
    recorder = SlateRecorder(store)
    recorder.record(slates("a", "b", "bad", "c", "d"))
    recorder.record(slates("later"))
    recorder.close()
    stored = [name for commit in store.commits for name in commit]
    assert stored == ["a", "b", "c", "d", "later"]
    assert (recorder.recorded, recorder.dropped) == (5, 1)


def test_what_was_stored_of_a_group_before_the_database_went_away_counts_once(
    store: FakeStore,
) -> None:
    # The group of four is refused, its first half is stored, its second one meets nobody.
    store.failures = [StateError("no such value"), None, StateUnavailableError("away")]
    recorder = SlateRecorder(store)
    recorder.record(slates("a", "b", "c", "d"))
    recorder.close()
    assert store.commits == [["a", "b"], ["c", "d"]]
    assert (recorder.recorded, recorder.dropped) == (4, 0)


def test_closing_gives_up_when_the_database_stays_away(
    store: FakeStore, caplog: pytest.LogCaptureFixture
) -> None:
    store.failures = [StateUnavailableError("away")] * 100_000
    recorder = SlateRecorder(store)
    recorder.record(slates("a", "b"))
    recorder.close(timeout_s=0.01)
    recorder._thread.join(10)
    recorder.record(slates("c"))  # too late, and no error
    recorder.close()
    assert (recorder.recorded, recorder.dropped) == (0, 3)
    assert len(caplog.records) == 1


def test_the_real_store_holds_what_was_recorded(tmp_path: Path) -> None:
    store = StateStore(sqlite_url(tmp_path), "films")
    recorder = SlateRecorder(store)
    for number in range(100):
        recorder.record(slates(f"RID-{number}", f"RID-{number + 1}"))  # each but two is sent twice
    recorder.record([slate("bad", user_id="\ud800")])
    recorder.close()
    assert store.changes(0).counts == [ItemCount("b", 101, 0)]
    assert (recorder.recorded, recorder.dropped) == (200, 1)
    store.close()


def test_who_wants_to_know_is_told_what_became_of_each_slate(store: FakeStore) -> None:
    told: Counter[str] = Counter()
    store.refused["b"] = StateError("no")
    recorder = SlateRecorder(store, on_outcome=lambda outcome, n: told.update({outcome: n}))
    recorder.record(slates("a", "b", "c", "d"))
    recorder.close()
    recorder.record(slates("e", "f"))  # too late
    assert told == {"recorded": 3, "dropped": 3}


def test_each_commit_removes_what_is_too_old_by_now(
    store: FakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slate_recorder.time, "time_ns", lambda: 1_000_000_000_000)
    monkeypatch.setattr(slate_recorder, "_FEWEST_PRUNED", 3)
    recorder = SlateRecorder(store, retention_s=60.0)
    store.gate.clear()
    recorder.record(slates("a"))
    store.wait_for_a_call()
    recorder.record(slates("b", "c", "d"))
    store.gate.set()
    recorder.close()
    # 60 s before the 1,000th second; two for each that was stored, and three at least.
    assert store.pruned == [(940_000_000, 3), (940_000_000, 6)]


def test_what_cannot_be_removed_now_holds_nothing_up(store: FakeStore) -> None:
    store.is_pruning_refused = True
    recorder = SlateRecorder(store, retention_s=60.0, pace_s=0)
    for name in ("a", "b"):
        recorder.record(slates(name))
        store.wait_for_a_call()
    recorder.close()
    assert store.commits == [["a"], ["b"]]
    assert recorder.dropped == 0
    assert store.pruned


def test_without_a_retention_nothing_is_removed(store: FakeStore) -> None:
    recorder = SlateRecorder(store)
    recorder.record(slates("a"))
    recorder.close()
    assert store.pruned == []
