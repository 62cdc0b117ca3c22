"""A campaign whose release somebody takes back answers from the one before, and stays there."""

from pathlib import Path
from typing import Any

import pytest

from raysys.commands import learn
from raysys.commands.console import Console
from raysys.commands.holding import held_lease
from raysys.commands.rollback import _back_to
from raysys.config import CampaignConfig, CampaignsConfig, LearningConfig, ServingConfig
from raysys.errors import ServingError
from raysys.release import Release, publishing
from raysys.state.campaigns import CampaignVersion, Move, Plan, Status, Variant, Wish
from raysys.state.store import StateStore
from tests.unit.releases import published


def version(number: int, release: str, status: Status) -> CampaignVersion:
    plan = Plan((Variant(f"/r/{release}", release, 1.0),), exploration_weight=0.1)
    return CampaignVersion("default", number, "", plan, status, "", 0)


def test_it_answers_from_what_it_answered_from_before_and_nothing_is_learnt_for_it() -> None:
    back = _back_to("default", [version(1, "old", "kept"), version(2, "new", "serving")])
    assert [variant.release for variant in back.variants] == ["/r/old"]
    assert back.exploration_weight == 0.1
    told = CampaignsConfig(campaigns={"default": back})
    assert told.is_rolled_back("default")
    assert not told.is_rolled_back("other")
    assert not CampaignsConfig.of_release("/r/old").is_rolled_back("default")


def test_without_anything_before_there_is_no_way_back() -> None:
    with pytest.raises(ServingError, match="answers from its first release"):
        _back_to("default", [version(1, "old", "serving")])
    with pytest.raises(ServingError, match="does not exist"):
        _back_to("default", [])


@pytest.fixture
def release(tmp_path: Path) -> Release:
    with publishing(tmp_path / "releases") as draft:
        return published(draft)


def test_to_learn_now_leaves_it_alone_and_says_so(store: StateStore) -> None:
    table = store.learning("shop")
    with held_lease(table) as held:
        assert held is not None
        learning = LearningConfig(dataset="d", releases="r", campaign="home")
        result = learn._left_alone(table, held, learning, Console(as_json=True))
    [found] = table.now().rounds
    assert (found.status, found.reason) == (result["status"], result["reason"])
    assert found.status == "held"
    assert "Campaign home was rolled back" in found.reason


@pytest.mark.parametrize("is_rolled_back", [False, True])
def test_a_round_that_ends_after_it_was_rolled_back_serves_nothing(
    store: StateStore, release: Release, monkeypatch: pytest.MonkeyPatch, is_rolled_back: bool
) -> None:
    campaigns = store.campaigns("shop")
    campaigns.want({"default": Wish("", Plan((Variant("", release.name, 1.0),)))})
    campaigns.move([Move(campaigns.open()[0], "serving")])
    deployed = CampaignConfig.model_validate(
        {"release": str(release.path), "is_rolled_back": is_rolled_back}
    )
    told = CampaignsConfig(campaigns={"default": deployed})
    rolled_out: list[CampaignsConfig] = []

    def roll_out(_deployer: Any, _config: Any, wanted: CampaignsConfig, **_: Any) -> None:
        rolled_out.append(wanted)

    monkeypatch.setattr(learn, "_deployed", lambda _: (ServingConfig(), told))
    monkeypatch.setattr(learn, "roll_out", roll_out)
    deployer: Any = None
    serve = learn._Serving(deployer, campaigns, "default", 7)
    if is_rolled_back:
        with pytest.raises(ServingError, match="so it is left alone"):
            serve(release, Path("/r/new"))
        assert rolled_out == []
    else:
        serve(release, Path("/r/new"))
        [wanted] = rolled_out
        assert [each.release for each in wanted.campaigns["default"].variants] == ["/r/new"]
        assert wanted.campaigns["default"].lease_number == 7
