"""When a round of learning begins, and when none does."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from raysys.config import LearningConfig
from raysys.errors import ServingError
from raysys.logs.call import run_here
from raysys.logs.event_intake import import_events
from raysys.logs.manifest import read_manifest
from raysys.release import publishing
from raysys.serving.learning_schedule import LearningSchedule, is_something_new
from raysys.state.campaigns import Move, Plan, Variant, Wish
from raysys.state.learning import Lease, owner_of
from raysys.state.store import StateStore
from raysys.state.tables import learning_leases, learning_rounds
from tests.unit.releases import published
from tests.unit.state.builders import event, sqlite_url

HOUR_S = 3_600.0


class Process:
    """A process that does what a test says."""

    def __init__(self) -> None:
        self.num_started = 0
        self.why: str | None = None
        self.problem = ""

    def start(self, learning: LearningConfig) -> str:
        assert learning.niceness == 15
        if self.problem:
            raise ServingError(self.problem)
        self.num_started += 1
        return f"job-{self.num_started}"

    def ended(self) -> str | None:
        return self.why


class Stage:
    """A campaign that answers from a release of a dataset, and what learns for it."""

    def __init__(self, directory: Path) -> None:
        self.store = StateStore(sqlite_url(directory), "films")
        self.store.put_events([event("a", 1_000_000), event("b", 2_000_000)])
        self.dataset = directory / "dataset"
        self.take_in()
        self.table = self.store.learning("shop")
        self.process, self.now_s = Process(), 0.0
        self.learning = LearningConfig(
            dataset=str(self.dataset), releases=str(directory), every_minutes=120
        )
        self.schedule = self.started()
        with publishing(directory / "releases") as draft:
            newest = datetime.fromtimestamp(2, UTC)
            lineage = {"dataset_group": "films"}
            self.release = published(draft, lineage=lineage, watermark=newest)

    def take_in(self) -> None:
        import_events(self.store, self.dataset, num_shards=1, run=run_here)

    def started(self) -> LearningSchedule:
        """Return a schedule as it is where the process that leads campaigns starts."""
        schedule = LearningSchedule(self.store, "shop", self.process, clock=lambda: self.now_s)
        schedule.follow(self.learning)
        return schedule

    def serve(self, *names: str) -> None:
        campaigns = self.store.campaigns("shop")
        variants = tuple(Variant(str(self.release.path), name, 1.0) for name in names)
        campaigns.want({"default": Wish("/".join(names), Plan(variants))})
        *before, wanted = campaigns.open()
        campaigns.move([Move(each, "replaced") for each in before] + [Move(wanted, "serving")])

    def is_new(self) -> bool:
        return is_something_new(self.store, "shop", self.learning)

    def step(self) -> int:
        """Look once more, later, and return how many rounds were begun in all."""
        self.now_s += 60
        self.schedule.step()
        return self.process.num_started

    def rounds(self) -> list[tuple[str, str]]:
        return [(each.status, each.reason) for each in reversed(self.table.now(50).rounds)]

    def work(self, process: str = "by-hand") -> Lease:
        lease = self.table.acquire(owner_of(process), HOUR_S)
        assert lease is not None
        self.table.begin(lease)
        return lease

    def done(self, lease: Lease, status: str = "deployed") -> None:
        self.table.end(lease, status, "")  # type: ignore[arg-type]
        self.table.release(lease)
        self.process.why = "job succeeded"

    def hours_pass(self, hours: float) -> None:
        """Let everything that happened so far have happened so much earlier."""
        past_us = round(3_600e6 * hours)
        rounds = learning_rounds.c.began_at_us
        self.write(update(learning_rounds).values(began_at_us=rounds - past_us))
        self.write(
            update(learning_leases).values(expires_at_us=learning_leases.c.expires_at_us - past_us)
        )

    def write(self, statement: object) -> None:
        self.store._database.write(lambda connection: connection.execute(statement))


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    stage.serve(stage.release.name)
    yield stage
    stage.store.close()


def test_a_round_begins_when_the_time_since_the_last_is_over(stage: Stage) -> None:
    stage.store.put_events([event("c", 3_000_000)])
    assert stage.step() == 1
    assert stage.step() == 1  # it starts
    lease = stage.work()
    assert stage.step() == 1
    stage.done(lease)
    assert stage.step() == 1
    stage.hours_pass(1.9)
    assert stage.step() == 1
    stage.hours_pass(0.2)
    assert stage.step() == 2


def test_who_starts_anew_goes_by_what_was_done_before(stage: Stage) -> None:
    stage.store.put_events([event("c", 3_000_000)])
    stage.done(stage.work())
    stage.schedule = stage.started()
    assert stage.step() == 0
    stage.hours_pass(2)
    lease = stage.work()  # another one on another cluster
    assert stage.step() == 0
    stage.done(lease)
    assert stage.step() == 0


def test_where_nothing_is_new_no_process_starts_and_that_is_told_once_a_time(stage: Stage) -> None:
    for _ in range(3):
        assert stage.step() == 0
    assert stage.rounds() == [("nothing", "Nothing is new.")]
    stage.hours_pass(2)
    stage.step()
    assert len(stage.rounds()) == 2


def test_none_begins_where_learning_is_off_or_the_campaign_does_not_answer_yet(
    tmp_path: Path,
) -> None:
    stage = Stage(tmp_path)
    stage.store.put_events([event("c", 3_000_000)])
    assert (stage.step(), stage.rounds()) == (0, [])
    stage.serve(stage.release.name)
    stage.schedule.follow(None)
    assert (stage.step(), stage.rounds()) == (0, [])
    stage.schedule.follow(stage.learning)
    assert stage.step() == 1
    stage.store.close()


def test_a_process_that_ends_before_it_says_anything_is_a_round_that_failed(stage: Stage) -> None:
    stage.store.put_events([event("c", 3_000_000)])
    assert stage.step() == 1
    stage.process.why = "job FAILED: no module"
    assert stage.step() == 1
    [(status, reason)] = stage.rounds()
    assert (status, reason.endswith("job FAILED: no module")) == ("failed", True)
    assert stage.schedule.is_failing
    stage.hours_pass(2)
    stage.process.problem = "no dashboard"
    stage.step()
    assert stage.rounds()[1] == ("failed", "no dashboard")


def test_the_next_round_takes_over_from_a_process_that_was_killed(stage: Stage) -> None:
    stage.store.put_events([event("c", 3_000_000)])
    assert stage.step() == 1
    stage.work("job-1")
    assert stage.step() == 1
    stage.process.why = "job FAILED: exit code -9"
    assert stage.step() == 2  # and does not wait until its lease is over
    told = ("lost", "The process that learnt ended: job FAILED: exit code -9")
    assert stage.rounds() == [told]
    stage.process.why = None
    stage.work("job-2")
    stage.process.why = "job FAILED: again"
    assert stage.step() == 2
    assert [status for status, _ in stage.rounds()] == ["lost", "lost"]
    stage.hours_pass(2)
    assert stage.step() == 3


def test_what_others_learn_is_not_given_up_with_a_process_that_ended(stage: Stage) -> None:
    stage.store.put_events([event("c", 3_000_000)])
    assert stage.step() == 1
    stage.work("job-10")
    stage.process.why = "job FAILED: another one learns"
    stage.step()
    assert [status for status, _ in stage.rounds()] == ["running"]
    assert stage.table.now().is_held


def test_a_roll_back_holds_until_somebody_deploys(stage: Stage) -> None:
    stage.store.put_events([event("c", 3_000_000)])
    stage.schedule.follow(stage.learning, is_held=True)
    assert (stage.step(), stage.step()) == (0, 0)
    [(status, reason)] = stage.rounds()
    assert (status, "default was rolled back" in reason) == ("held", True)
    assert not stage.schedule.is_failing
    stage.schedule.follow(stage.learning)
    stage.hours_pass(2)
    assert stage.step() == 1


def test_what_was_killed_is_tried_again_at_once_but_not_twice(stage: Stage) -> None:
    stage.store.put_events([event("c", 3_000_000)])
    stage.step()
    stage.work()
    stage.process.why = "job FAILED: killed"
    assert stage.step() == 1  # its lease holds yet
    stage.hours_pass(1.1)
    assert stage.step() == 2
    assert stage.schedule.is_failing
    stage.work()  # makes the one before lost
    stage.hours_pass(1.1)
    assert stage.step() == 2
    stage.hours_pass(1)
    assert stage.step() == 3
    assert [status for status, _ in stage.rounds()] == ["lost", "running"]


def test_what_a_round_has_judged_is_not_new_any_more(stage: Stage) -> None:
    assert not stage.is_new()
    stage.store.put_events([event("c", 3_000_000)])
    assert stage.is_new()
    stage.take_in()
    assert stage.is_new()  # it was taken over, and nothing learnt yet
    lease = stage.work()
    import_id = read_manifest(stage.dataset).import_id
    stage.table.tell(lease, release=stage.release.name, import_id=import_id)
    stage.done(lease, "failed")
    assert stage.is_new()
    again = stage.work()
    stage.table.tell(again, release=stage.release.name, import_id=import_id)
    stage.done(again, "kept")
    assert not stage.is_new()
    stage.store.put_events([event("d", 4_000_000)])
    assert stage.is_new()


def test_a_campaign_that_compares_releases_is_left_alone(stage: Stage) -> None:
    stage.store.put_events([event("c", 3_000_000)])
    stage.serve("r-1", "r-2")
    assert stage.step() == 0
    [(status, reason)] = stage.rounds()
    assert status == "failed"
    assert "answers from several releases (r-1, r-2)" in reason


def test_a_dataset_that_is_not_there_is_told(stage: Stage) -> None:
    stage.schedule.follow(stage.learning.model_copy(update={"dataset": "/nowhere"}))
    assert stage.step() == 0
    [(status, reason)] = stage.rounds()
    assert (status, "There is no dataset at /nowhere" in reason) == ("failed", True)
