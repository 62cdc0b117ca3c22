"""`raysys rollback`: let a campaign answer from what it answered from before."""

import argparse
from datetime import UTC, datetime
from typing import Any

from raysys.commands import job_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.connection import existing_cluster
from raysys.commands.console import Console
from raysys.commands.deployment import Deployer
from raysys.commands.rollout import campaign_table, campaigns_now, roll_out
from raysys.commands.serving_settings import releases_of
from raysys.config import (
    CampaignConfig,
    CampaignsConfig,
    ServingConfig,
    VariantConfig,
    parse_config,
)
from raysys.errors import ConfigError, ServingError
from raysys.state.campaigns import CampaignVersion


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Switch, and return when it answers. Done twice, it is as it was."""
    if existing_cluster() is None:
        raise ConfigError(
            "raysys rollback changes what runs on a Ray cluster, but RAY_ADDRESS names none. On a "
            "node of the cluster set RAY_ADDRESS=auto."
        )
    name = arguments.campaign
    with ray_cluster(console, metadata={"command": "rollback", "campaign": name}) as cluster:
        deployer = Deployer(cluster, host=arguments.host, port=arguments.port)
        deployed = deployer.deployed()
        if deployed is None:
            raise ServingError("raysys is not deployed on this cluster, so nothing can be undone.")
        config = parse_config(deployed["args"], ServingConfig, source="what is deployed")
        with campaign_table(config) as table:
            before = [each for each in table.open() if each.campaign == name]
        back = CampaignsConfig(campaigns={name: _back_to(name, before)})
        beside = campaigns_now(deployed, config)
        seconds = roll_out(deployer, config, back, beside=beside, keep_others=True)
        releases = releases_of(back)
        job_page.add({"url": deployer.url, "rollback_seconds": seconds})
        console.say(
            f"  Campaign {name} answers from {', '.join(releases)} again, after {seconds:.1f} s"
        )
        if beside.learning is not None and beside.learning.campaign == name:
            console.say(
                "  nothing is learnt for it until you deploy: `raysys deploy --release PATH`"
            )
    return {"campaign": name, "releases": releases, "rollback_seconds": round(seconds, 3)}


def _back_to(campaign: str, versions: list[CampaignVersion]) -> CampaignConfig:
    kept = next((version for version in versions if version.status == "kept"), None)
    if kept is None:
        there = "answers from its first release" if versions else "does not exist"
        raise ServingError(
            f"Campaign {campaign} {there}, so there is nothing to go back to. `raysys campaign "
            f"list` says what there was; `raysys deploy --release PATH` deploys any of it."
        )
    variants = [
        VariantConfig(release=variant.path, share=variant.share) for variant in kept.plan.variants
    ]
    return CampaignConfig(
        variants=variants,
        exploration_weight=kept.plan.exploration_weight,
        exploration_policy=kept.plan.exploration_policy,
        deployed_at=datetime.now(UTC).isoformat(),
        is_rolled_back=True,
    )
