"""Waiting until campaigns answer from what they were told to, or cannot."""

import contextlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from raysys.commands.deployment import Deployer, application_config, campaigns_of
from raysys.config import CampaignsConfig, ServingConfig
from raysys.errors import ConfigError, ServingError
from raysys.serving.director import last_followed
from raysys.state.campaigns import CampaignTable, CampaignVersion
from raysys.state.store import StateStore


def roll_out(
    deployer: Deployer,
    config: ServingConfig,
    campaigns: CampaignsConfig,
    *,
    beside: CampaignsConfig | None = None,
    keep_others: bool = False,
) -> float:
    """Deploy campaigns, and return the seconds until every gateway answers from all of them.

    Args:
        beside: what is there already, and stays unless `campaigns` says something else of it.
        keep_others: leave other applications as they are; else they are removed.

    Raises:
        ServingError: one of them cannot be served, or the application was not ready in time.
        StateError: the database cannot be used.
    """
    before = {} if beside is None else beside.campaigns
    learning = campaigns.learning or (None if beside is None else beside.learning)
    everything = CampaignsConfig(campaigns={**before, **campaigns.campaigns}, learning=learning)
    with campaign_table(config) as table:
        return deployer.deploy(
            application_config(config, everything),
            ready_path="/readyz",
            expect=Rollout(table, campaigns).is_served,
            keep_others=keep_others,
        )


def campaigns_now(application: Mapping[str, Any], config: ServingConfig) -> CampaignsConfig:
    """Return the settings of campaigns that are followed: those of an entry of `applications`, or,
    where these say nothing sensible, those before them.

    Raises:
        ConfigError: nothing sensible was ever deployed.
        StateError: the database cannot be used.
    """
    try:
        return campaigns_of(application)
    except ConfigError:
        with campaign_table(config) as table:
            followed = last_followed(table)
        if followed is None:
            raise
        return followed


class Rollout:
    """What was asked of some campaigns, and what becomes of it.

    Args:
        table: of the application.
        campaigns: as they were deployed.
    """

    def __init__(self, table: CampaignTable, campaigns: CampaignsConfig) -> None:
        self._table = table
        self._asked = {name: each.words for name, each in campaigns.campaigns.items()}

    def is_served(self, body: Any, gateways: Collection[str]) -> bool:
        """Say whether every gateway answers from all of it: each switches for itself, up to half a
        second after another, and the proxy asks them by turns.

        Args:
            body: what the /readyz of one of them says; None where it is not ready.
            gateways: the replicas of the ingress that run.

        Raises:
            ServingError: some of it cannot be served; what was served before goes on.
        """
        found = {
            version.campaign: version
            for version in self._table.open()
            if version.asked == self._asked.get(version.campaign)
        }
        for version in found.values():
            if version.status == "failed":
                raise ServingError(_failure(version))
        if set(found) != set(self._asked) or not isinstance(body, dict):
            return False
        wanted = {name: version.version for name, version in found.items()}
        said = {name: each.get("version") for name, each in body.get("campaigns", {}).items()}
        if not wanted.items() <= said.items():
            return False
        in_service = {each.name: each.report.in_service for each in self._table.replicas()}
        return bool(gateways) and all(
            wanted.items() <= in_service.get(name, {}).items() for name in gateways
        )


@contextmanager
def campaign_table(config: ServingConfig) -> Iterator[CampaignTable]:
    """Open the campaigns of an application for a block; StateError."""
    with contextlib.closing(StateStore(config.database, config.dataset_group)) as store:
        yield store.campaigns(config.application)


def _failure(version: CampaignVersion) -> str:
    releases = ", ".join(version.plan.releases)
    return (
        f"Campaign {version.campaign} cannot answer from {releases}: {version.reason} What it "
        f"answered from before, if anything, it still does."
    )
