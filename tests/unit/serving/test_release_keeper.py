"""Which releases a replica holds, with releases that are only names."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from raysys.errors import DamagedReleaseError, ReleaseMismatchError
from raysys.release import Release
from raysys.serving import release_keeper
from raysys.serving.release_keeper import ReleaseKeeper
from raysys.state.campaigns import CampaignVersion, Move, Plan, Report, Status, Variant, Wish
from raysys.state.store import StateStore


class Part:
    """A replica that holds the names of releases, and what is told to it."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory}/state.db"
        self.table = StateStore(self.url, "films").campaigns("shop")
        self.loaded: list[str] = []
        self.dropped: list[str] = []
        self.damaged: set[str] = set()
        self.cold: set[str] = set()
        self.gate = threading.Event()
        self.gate.set()
        self.in_service: dict[str, int] = {}
        self.keeper: ReleaseKeeper[str] = ReleaseKeeper(
            "r-1",
            lambda: StateStore(self.url, "films").campaigns("shop"),
            self._load,
            warm_up=lambda name: name not in self.cold,
            drop=self.dropped.append,
            on_versions=self._told,
        )

    def _load(self, release: Release) -> str:
        self.gate.wait()
        self.loaded.append(release.name)
        if release.name in self.damaged:
            raise DamagedReleaseError(f"{release.name} is damaged.")
        return release.name

    def _told(self, versions: list[CampaignVersion]) -> dict[str, int]:
        return self.in_service

    def want(self, *releases: str, becomes: Status = "preparing") -> None:
        plan = Plan(tuple(Variant(f"/{name}", name, 1.0) for name in releases))
        self.table.want({"home": Wish(f"{releases}", plan)})
        self.become(max(each.version for each in self.table.open()), becomes)

    def become(self, version: int, status: Status) -> None:
        [found] = [each for each in self.table.history() if each.version == version]
        self.table.move([Move(found, status)])

    def look(self) -> None:
        """Look at the database, and once more when what is to be loaded has been."""
        for _ in range(2):
            self.keeper._follower.catch_up()
            for loading in [*self.keeper._loading.values()]:
                loading.exception()

    @property
    def said(self) -> Report:
        self.keeper._follower.catch_up()
        [replica] = self.table.replicas()
        return replica.report


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Part]:
    monkeypatch.setattr(
        release_keeper, "open_release", lambda path: SimpleNamespace(name=path.name, path=path)
    )
    part = Part(tmp_path)
    yield part
    part.gate.set()
    part.keeper.close()


def held(part: Part, *names: str) -> bool:
    return all(part.keeper.find(name) == name for name in names)


def test_what_is_prepared_is_loaded_beside_what_is_served_and_said(part: Part) -> None:
    part.want("a")
    part.look()
    assert part.keeper.get("a") == "a"
    part.become(1, "serving")
    part.want("b", "c")
    part.look()
    assert held(part, "a", "b", "c")
    assert part.said == Report(ready=("a", "b", "c"))
    assert sorted(part.loaded) == ["a", "b", "c"]  # nothing twice


def test_nobody_waits_for_what_is_being_loaded(part: Part) -> None:
    part.want("a", becomes="serving")
    part.look()
    part.gate.clear()
    part.want("b")
    part.keeper._follower.catch_up()
    assert part.keeper.get("a") == "a"
    assert part.keeper.find("b") is None
    assert part.keeper.why_not("b") == "it is being loaded"
    with pytest.raises(ReleaseMismatchError, match="asked for release b and holds a"):
        part.keeper.get("b")
    part.gate.set()
    part.look()
    assert held(part, "b")


def test_what_was_served_before_is_kept_but_makes_room_for_what_is_prepared(part: Part) -> None:
    part.want("a", becomes="serving")
    part.look()
    part.want("b", becomes="serving")
    part.become(1, "kept")
    part.look()
    assert held(part, "a", "b")
    part.want("c")
    part.look()
    assert (held(part, "b", "c"), part.dropped) == (True, ["a"])
    part.become(3, "failed")
    part.look()
    assert (held(part, "a", "b"), part.dropped) == (True, ["a", "c"])  # the way back again


def test_going_back_loads_nothing(part: Part) -> None:
    part.want("a", becomes="serving")
    part.look()
    part.want("b", becomes="serving")
    part.become(1, "kept")
    part.look()
    part.want("a")
    part.look()
    assert (part.loaded, part.dropped) == (["a", "b"], [])


def test_what_cannot_be_loaded_is_told_and_not_tried_all_the_time(
    part: Part, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 0.0
    monkeypatch.setattr(release_keeper.time, "monotonic", lambda: now_s)
    part.damaged = {"b"}
    part.want("b")
    part.look()
    part.look()
    assert part.said == Report(failed={"b": "b is damaged."})
    assert part.loaded == ["b"]
    assert part.keeper.why_not("b") == "b is damaged."
    part.damaged = set()
    now_s = 31.0
    part.look()
    assert part.said == Report(ready=("b",))


def test_a_release_under_another_ones_path_is_refused(part: Part) -> None:
    plan = Plan((Variant("/other", "a", 1.0),))
    part.table.want({"home": Wish("a", plan)})
    part.become(1, "preparing")
    part.look()
    assert "/other holds release other and not a" in part.said.failed["a"]
    assert part.loaded == []


def test_what_is_prepared_is_held_once_it_is_warm_and_what_is_served_at_once(part: Part) -> None:
    part.cold = {"a"}
    part.want("a")
    part.look()
    assert part.said == Report()
    part.become(1, "serving")  # a replica that starts late must not be held up by other parts
    assert part.said == Report(ready=("a",))


def test_a_gateway_says_what_it_answers_from_when_that_changes(part: Part) -> None:
    part.want("a", becomes="serving")
    part.look()
    part.in_service = {"home": 1}
    assert part.said == Report(ready=("a",), in_service={"home": 1})
    written: list[Callable[..., None]] = []
    part.keeper._table.report = written.append  # type: ignore[assignment, union-attr]
    part.keeper._follower.catch_up()
    assert written == []  # nothing new


def test_what_was_forgotten_is_said_again(part: Part) -> None:
    part.want("a", becomes="serving")
    part.look()
    part.table.forget(["r-1"])  # by a director that did not see it run yet
    assert part.table.replicas() == []
    part.look()
    assert part.said == Report(ready=("a",))


def test_it_starts_with_what_is_served_and_lets_go_of_everything_in_the_end(
    tmp_path: Path, part: Part
) -> None:
    part.want("a", becomes="serving")
    part.keeper.start()
    assert held(part, "a")
    part.keeper.close()
    assert part.dropped == ["a"]
    assert part.table.replicas() == []
