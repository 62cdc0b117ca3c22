"""When what was deployed is served, by all who serve it. Run: pytest tests/unit/commands"""

from pathlib import Path

import pytest

from raysys.commands.rollout import Rollout, campaigns_now
from raysys.config import CampaignConfig, CampaignsConfig, ServingConfig
from raysys.errors import ConfigError, ServingError
from raysys.state.campaigns import CampaignTable, Move, Plan, Replica, Report, Wish
from raysys.state.store import StateStore

HOME = CampaignConfig.model_validate({"release": "/r/a"})
GATEWAYS = ["g1", "g2"]


@pytest.fixture
def table(tmp_path: Path) -> CampaignTable:
    return StateStore(f"sqlite:///{tmp_path}/state.db", "films").campaigns("shop")


def ready(version: int) -> dict[str, object]:
    return {"campaigns": {"home": {"version": version}}}


def says(table: CampaignTable, gateway: str, version: int) -> None:
    table.report(Replica(gateway, Report(in_service={"home": version, "mail": 7})))


def test_a_campaign_is_served_once_every_gateway_that_runs_answers_from_it(
    table: CampaignTable,
) -> None:
    is_served = Rollout(table, CampaignsConfig(campaigns={"home": HOME})).is_served
    table.want({"home": Wish("what was there before", Plan()), "mail": Wish("", Plan())})
    says(table, "g1", 1)
    says(table, "g2", 1)
    assert not is_served(ready(1), GATEWAYS)
    table.want({"home": Wish(HOME.words, Plan()), "mail": Wish("", Plan())})
    assert not is_served(ready(1), GATEWAYS)
    assert not is_served(None, GATEWAYS)
    says(table, "g1", 2)
    assert not is_served(ready(2), GATEWAYS)  # the other one has not switched yet
    assert not is_served(ready(2), ["g1", "started a moment ago"])
    says(table, "g2", 2)
    assert not is_served(ready(1), GATEWAYS)
    assert is_served(ready(2), GATEWAYS)
    assert not is_served(ready(2), [])


def test_what_cannot_be_served_ends_the_waiting_with_the_reason(table: CampaignTable) -> None:
    rollout = Rollout(table, CampaignsConfig(campaigns={"home": HOME}))
    table.want({"home": Wish(HOME.words, Plan())})
    [version] = table.open()
    table.move([Move(version, "failed", "encoder: no disk")])
    with pytest.raises(ServingError, match="home cannot answer .*: encoder: no disk"):
        rollout.is_served(None, [])


def test_where_what_was_deployed_last_is_refused_what_is_followed_goes_on(tmp_path: Path) -> None:
    config = ServingConfig(
        database=f"sqlite:///{tmp_path}/state.db", dataset_group="films", application="shop"
    )
    table = StateStore(config.database, "films").campaigns("shop")
    good = CampaignsConfig(campaigns={"home": HOME})

    def deployed(user_config: dict[str, object]) -> dict[str, object]:
        return {"deployments": [{"name": "Campaigns", "user_config": user_config}]}

    bad = deployed({"campaigns": {"home": {}}})
    with pytest.raises(ConfigError, match="campaigns.home"):
        campaigns_now(bad, config)
    table.follow(CampaignsConfig(campaigns={"mail": HOME}).model_dump_json())
    assert campaigns_now(deployed(good.model_dump(mode="json")), config) == good
    table.follow(good.model_dump_json())
    assert campaigns_now(bad, config) == good
