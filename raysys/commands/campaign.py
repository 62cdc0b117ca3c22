"""`raysys campaign`: what campaigns answer from, and what became of each deployment."""

import argparse
import contextlib
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from raysys.commands.console import Console
from raysys.config import check_dataset_group_name
from raysys.state.campaigns import CampaignVersion
from raysys.state.store import StateStore


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """List every version of every campaign, the newest of each first."""
    check_dataset_group_name(arguments.dataset_group)
    store = StateStore(arguments.database, arguments.dataset_group, must_exist=True)
    with contextlib.closing(store):
        campaigns = store.campaigns(arguments.application)
        versions, refused = campaigns.history(), campaigns.director().refused
    versions.sort(key=lambda version: (version.campaign, -version.version))
    if refused:
        console.say(
            f"The settings that were deployed last are refused, and everything goes on as it was. "
            f"{refused}",
            style="red",
        )
    if not versions:
        console.say("There are no campaigns yet: `raysys deploy` makes one.")
        return {"campaigns": [], "refused": refused}
    table = Table(header_style="bold")
    for column in ("campaign", "version", "releases", "status", "since", "why"):
        table.add_column(column)
    for version in versions:
        table.add_row(
            version.campaign,
            str(version.version),
            _releases(version),
            version.status,
            f"{_time(version):%Y-%m-%d %H:%M:%S}",
            version.reason,
        )
    console.say(table)
    return {"campaigns": [_row(version) for version in versions], "refused": refused}


def _row(version: CampaignVersion) -> dict[str, Any]:
    return {
        "campaign": version.campaign,
        "version": version.version,
        "releases": {variant.path: variant.share for variant in version.plan.variants},
        "status": version.status,
        "since": _time(version).isoformat(),
        "reason": version.reason,
    }


def _releases(version: CampaignVersion) -> str:
    variants = version.plan.variants
    if len(variants) == 1:
        return variants[0].release
    total = sum(variant.share for variant in variants)
    return "\n".join(f"{each.release} ({each.share / total:.0%})" for each in variants)


def _time(version: CampaignVersion) -> datetime:
    return datetime.fromtimestamp(version.changed_at_us / 1e6, UTC)
