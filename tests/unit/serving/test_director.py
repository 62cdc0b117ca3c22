"""From what campaigns answer from to what they are to answer from."""

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from raysys.config import (
    CampaignConfig,
    CampaignsConfig,
    LearningConfig,
    ServingConfig,
    VariantConfig,
)
from raysys.errors import ConfigError
from raysys.release import publishing
from raysys.serving.deployments import Campaigns
from raysys.serving.director import Director, last_followed, take_over, wish_of
from raysys.state.campaigns import CampaignTable, Plan, Replica, Report, Variant, Wish
from raysys.state.store import StateStore
from tests.unit.releases import published

PARTS = {"g1": "gateway", "g2": "gateway", "e1": "encoder", "s1": "shard-0"}


def wish(*releases: str) -> Wish:
    return Wish(" ".join(releases), Plan(tuple(Variant(f"/{r}", r, 1.0) for r in releases)))


class Stage:
    """A director, the replicas that it hears of, and a clock."""

    def __init__(self, directory: Path) -> None:
        store = StateStore(f"sqlite:///{directory}/state.db", "films")
        self.table: CampaignTable = store.campaigns("shop")
        self.running = dict(PARTS)
        self.now_s = 0.0
        self.num_looks = 0
        self.director = Director(
            self.table,
            self._look,
            {"gateway", "encoder", "shard-0"},
            max_loading_s=60,
            clock=lambda: self.now_s,
        )

    def _look(self) -> dict[str, str]:
        self.num_looks += 1
        return self.running

    def say(self, *names: str, ready: tuple[str, ...] = (), **more: dict[str, object]) -> None:
        for name in names or PARTS:
            self.table.report(Replica(name, Report(ready=ready, **more)))  # type: ignore[arg-type]

    def step(self) -> dict[int, str]:
        """Return the status of each version of the campaign, after one step."""
        self.director.step()
        return {each.version: each.status for each in self.table.history()}

    def serve(self, *releases: str) -> None:
        """Bring a version into service."""
        self.table.want({"home": wish(*releases)})
        self.step()
        self.say(ready=releases)
        version = max(self.step())
        in_service: dict[str, object] = {"home": version}
        self.say("g1", "g2", ready=releases, in_service=in_service)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def test_a_version_is_served_once_every_replica_that_runs_holds_all_of_it(stage: Stage) -> None:
    stage.table.want({"home": wish("a", "b")})
    assert stage.step() == {1: "preparing"}
    stage.say("g1", "e1", "s1", ready=("a", "b"))
    assert stage.step() == {1: "preparing"}  # the second gateway has said nothing
    stage.say("g2", ready=("a",))
    assert stage.step() == {1: "preparing"}
    stage.say("g2", ready=("a", "b", "other"))
    assert stage.step() == {1: "serving"}
    looks = stage.num_looks
    assert stage.step() == {1: "serving"}
    assert stage.num_looks == looks  # nobody is asked while nothing changes


def test_nothing_is_served_while_a_part_has_no_replica(stage: Stage) -> None:
    stage.table.want({"home": wish("a")})
    stage.step()
    del stage.running["s1"]
    stage.say("g1", "g2", "e1", ready=("a",))
    assert stage.step() == {1: "preparing"}
    stage.running["s2"] = "shard-0"
    stage.say("s2", ready=("a",))
    assert stage.step() == {1: "serving"}


def test_what_a_dead_replica_said_last_counts_no_more(stage: Stage) -> None:
    stage.say("dead", failed={"a": "no disk"})
    stage.table.want({"home": wish("a")})
    stage.step()
    stage.say(ready=("a",))
    assert stage.step() == {1: "serving"}
    assert "dead" not in {each.name for each in stage.table.replicas()}


def test_what_one_replica_cannot_load_is_given_up_and_what_was_served_goes_on(
    stage: Stage,
) -> None:
    stage.serve("a")
    stage.table.want({"home": wish("b")})
    assert stage.step() == {1: "serving", 2: "preparing"}
    stage.say("g1", "g2", "s1", ready=("a", "b"))
    stage.say("e1", ready=("a",), failed={"b": "Release b is damaged."})
    assert stage.step() == {1: "serving", 2: "failed"}
    assert stage.table.open()[-1].reason == "encoder: Release b is damaged."


def test_the_way_back_is_kept_through_a_failure_and_ends_with_a_success(stage: Stage) -> None:
    stage.serve("a")
    stage.serve("b")
    assert stage.step() == {1: "kept", 2: "serving"}
    stage.table.want({"home": wish("c")})
    stage.step()
    stage.say("s1", failed={"c": "no"})
    assert stage.step() == {1: "kept", 2: "serving", 3: "failed"}
    stage.table.want({"home": wish("a")})  # back
    assert stage.step() == {1: "kept", 2: "serving", 3: "failed", 4: "preparing"}
    stage.say(ready=("a", "b"))
    assert stage.step() == {1: "replaced", 2: "kept", 3: "failed", 4: "serving"}


def test_nothing_is_prepared_while_a_gateway_answers_from_what_would_make_room(
    stage: Stage,
) -> None:
    stage.serve("a")
    stage.table.want({"home": wish("b")})
    stage.step()
    stage.say(ready=("a", "b"))
    stage.step()
    late: dict[str, object] = {"home": 1}
    stage.say("g2", ready=("a", "b"), in_service=late)  # it has not switched to version 2 yet
    stage.table.want({"home": wish("c")})
    assert stage.step() == {1: "kept", 2: "serving", 3: "wanted"}
    stage.say("g2", ready=("a", "b"), in_service={"home": 2})
    assert stage.step() == {1: "kept", 2: "serving", 3: "preparing"}


def test_who_takes_too_long_is_named(stage: Stage) -> None:
    stage.serve("a")
    stage.table.want({"home": wish("b")})
    stage.step()
    stage.say("g1", "g2", "e1", ready=("a", "b"))
    stage.step()
    stage.now_s += 60
    assert stage.step()[2] == "preparing"
    stage.now_s += 0.5
    assert stage.step()[2] == "failed"
    assert "After 60 s there was no word of shard-0 that" in stage.table.open()[-1].reason


def test_campaigns_do_not_wait_for_each_other(stage: Stage) -> None:
    stage.table.want({"home": wish("a"), "mail": wish("x")})
    stage.step()
    stage.say(ready=("x",), failed={"a": "no"})
    stage.step()
    found = {each.campaign: each.status for each in stage.table.open()}
    assert found == {"home": "failed", "mail": "serving"}


def test_a_wish_for_what_cannot_be_used_says_why_instead_of_failing(tmp_path: Path) -> None:
    with publishing(tmp_path / "films") as draft:
        release = published(draft, num_partitions=2, lineage={"dataset_group": "films"})
    path = str(tmp_path / "films")

    def problem(*paths: str, weight: float | None = None, **settings: object) -> str:
        asked = CampaignConfig(
            variants=[VariantConfig(release=each) for each in paths], exploration_weight=weight
        )
        wanted = wish_of(
            asked, ServingConfig.model_validate({"dataset_group": "films", **settings})
        )
        assert wanted.asked == asked.model_dump_json()
        return wanted.problem

    assert problem(path) == ""
    wanted = wish_of(
        CampaignConfig(
            variants=[VariantConfig(release=path, share=3)],
            exploration_weight=0.1,
            exploration_policy="epsilon-greedy",
        ),
        ServingConfig(dataset_group="films"),
    )
    variant = Variant(str(release.path), release.name, 3)
    assert wanted.plan == Plan((variant,), 0.1, "epsilon-greedy")
    assert "nowhere" in problem(str(tmp_path / "nowhere"))
    assert "has 2 partitions, too few for 3 shards" in problem(path, num_shards=3)
    assert "belongs to the dataset group 'films'" in problem(path, dataset_group="books")
    assert "named once" in problem(path, str(release.path))
    silent = {"record": False, "exploration_weight": 0}
    assert "exploration_weight has to be 0" in problem(path, weight=0.5, **silent)


def test_settings_that_say_nothing_sensible_change_nothing_and_say_why_until_good_ones_come(
    stage: Stage, tmp_path: Path
) -> None:
    config = ServingConfig(dataset_group="films")
    with publishing(tmp_path / "films") as draft:
        release = published(draft, lineage={"dataset_group": "films"})
    good = {"campaigns": {"home": {"release": str(release.path)}}}
    bad = {"campaigns": {"home": {"release": str(release.path), "colour": 1}}}
    assert last_followed(stage.table) is None
    with pytest.raises(ConfigError, match="colour"):  # nothing is there that could go on
        take_over(bad, config, stage.table)
    assert take_over(good, config, stage.table)
    before = stage.table.history()
    assert not take_over(bad, config, stage.table)
    assert stage.table.history() == before
    assert last_followed(stage.table) == CampaignsConfig.model_validate(good)
    assert "campaigns.home.colour" in stage.table.director().refused
    assert stage.step() == {1: "preparing"}  # led as before
    stage.say(ready=(release.name,))
    assert stage.step() == {1: "serving"}
    assert "campaigns.home.colour" in stage.table.director().refused
    assert {each.name for each in stage.table.replicas()} == set(PARTS)  # it is none of the parts
    assert take_over(good, config, stage.table)
    assert stage.table.director().refused == ""
    assert stage.step() == {1: "serving"}


def test_the_process_that_leads_outlives_settings_that_are_refused(stage: Stage) -> None:
    learning = LearningConfig.model_validate({"dataset": "/d", "releases": "/r"})
    followed = CampaignsConfig(campaigns={}, learning=learning)
    stage.serve("a")
    stage.table.follow(followed.model_dump_json())  # as another replica did, which ended
    told: list[object] = []

    def follow(learning: LearningConfig | None, *, is_held: bool) -> None:
        told.append((learning, is_held))

    campaigns = Campaigns.__new__(Campaigns)  # Serve constructs it; this is what it has then
    campaigns._table, campaigns._config = stage.table, ServingConfig()
    campaigns._metrics = SimpleNamespace(follows=told.append)  # type: ignore[assignment]
    campaigns._schedule = SimpleNamespace(follow=follow)  # type: ignore[assignment]
    asyncio.run(campaigns.reconfigure({"campaigns": {"home": {}}}))
    asyncio.run(campaigns.reconfigure({"campaigns": {}}))
    assert told == [False, (learning, False), True, (None, False)]
    assert stage.table.history()[-1].status == "replaced"  # the second one withdrew what there was
    back = {"default": {"release": "/r/old", "is_rolled_back": True}}
    learns = {"campaigns": back, "learning": learning.model_dump()}
    asyncio.run(campaigns.reconfigure(learns))
    assert told[-1] == (learning, True)


@pytest.mark.parametrize("path", ["a\0b", "a" * 5_000], ids=["with a null byte", "too long"])
def test_a_path_that_no_file_has_is_a_problem_of_that_campaign_alone(path: str) -> None:
    asked = CampaignConfig(variants=[VariantConfig(release=path)])
    assert wish_of(asked, ServingConfig()).problem
