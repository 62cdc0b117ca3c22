"""`raysys learn`: learn now from what people did since, or say what became of each round."""

import argparse
import contextlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from raysys.commands import job_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.connection import existing_cluster
from raysys.commands.console import Console
from raysys.commands.deployment import Deployer
from raysys.commands.holding import HeldLease, held_lease
from raysys.commands.rollout import campaigns_now, roll_out
from raysys.commands.submission import check_output, submission_id
from raysys.config import (
    CampaignsConfig,
    LearningConfig,
    ServingConfig,
    VariantConfig,
    check_dataset_group_name,
    parse_config,
)
from raysys.errors import ConfigError, ServingError
from raysys.placement import only_on_nodes
from raysys.precedence import let_other_sessions_go_first, let_others_go_first
from raysys.release import Release
from raysys.serving.learning_schedule import why_held
from raysys.state.campaigns import CampaignTable
from raysys.state.learning import LearningTable
from raysys.state.learning_rounds import Round
from raysys.state.store import StateStore

_SHOWN_ROUNDS = 50
_IN_USE = ("wanted", "preparing", "serving")


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Learn, or list; see `raysys.commands.declarations.database.declare_learn`."""
    return _list(arguments, console) if arguments.action == "list" else _now(arguments, console)


def _now(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do one round on the running cluster, whether or not it is time."""
    if existing_cluster() is None:
        raise ConfigError(
            "raysys learn goes on from what is served on a Ray cluster, but RAY_ADDRESS names "
            "none. On a node of the cluster set RAY_ADDRESS=auto; from elsewhere use `ray job "
            "submit -- python jobs/learn.py now`."
        )
    niceness = arguments.niceness
    if not 0 <= niceness <= 19:
        raise ConfigError(f"--niceness must be from 0 to 19, but got {niceness}.")
    let_others_go_first(max(0, niceness - os.nice(0)))  # the schedule's job is so nice already
    if submission_id() is not None:  # Ray gives a submitted job a session of its own
        let_other_sessions_go_first(niceness)
    with ray_cluster(console, metadata={"command": "learn"}, niceness=niceness) as cluster:
        deployer = Deployer.of_running_serve(cluster)
        config, campaigns = _deployed(deployer)
        learning = _learning(arguments, campaigns)
        job_page.add({"campaign": learning.campaign, "dataset": learning.dataset})
        store = StateStore(config.database, config.dataset_group)
        with (
            contextlib.closing(store),
            held_lease(store.learning(config.application)) as held,
            only_on_nodes(learning.nodes),
        ):
            if held is None:
                console.say("  another process learns for this application now")
                return {"status": "busy"}
            if campaigns.is_rolled_back(learning.campaign):
                return _left_alone(store.learning(config.application), held, learning, console)
            # It imports torch, which is not worth the time to those who only ask.
            from raysys.commands.learning_round import LearningRound

            table = store.campaigns(config.application)
            serve = _Serving(deployer, table, learning.campaign, held.lease.number)
            round_ = LearningRound(store, config.application, learning, held, serve, console)
            result = round_.run()
            job_page.add({"status": result["status"]})
            return result


def _left_alone(
    table: LearningTable, held: HeldLease, learning: LearningConfig, console: Console
) -> dict[str, Any]:
    """Store a round that does nothing: the campaign was rolled back."""
    why = why_held(learning.campaign)
    table.begin(held.lease)
    table.end(held.lease, "held", why)
    console.say(f"  held: {why}")
    return {"status": "held", "reason": why}


@dataclass(frozen=True)
class _Serving:
    """Lets a campaign answer from what was learnt for it, and leaves all else as it is."""

    deployer: Deployer
    table: CampaignTable
    campaign: str
    lease_number: int

    def __call__(self, before: Release, release: Path) -> None:
        config, campaigns = _deployed(self.deployer)
        ours = [each for each in self.table.open() if each.campaign == self.campaign]
        now = {name for each in ours if each.status in _IN_USE for name in each.plan.releases}
        served = campaigns.campaigns.get(self.campaign)
        if served is None or served.is_rolled_back or now != {before.name}:
            raise ServingError(
                f"Campaign {self.campaign} was told what to answer from by somebody else, while "
                f"this round learnt from {before.name} for it, so it is left alone. What was "
                f"learnt is {release}; the next round goes on from what is served."
            )
        changed = {
            "variants": [VariantConfig(release=str(release))],
            "deployed_at": datetime.now(UTC).isoformat(),
            "lease_number": self.lease_number,
        }
        wanted = CampaignsConfig(campaigns={self.campaign: served.model_copy(update=changed)})
        roll_out(self.deployer, config, wanted, beside=campaigns, keep_others=True)


def _deployed(deployer: Deployer) -> tuple[ServingConfig, CampaignsConfig]:
    application = deployer.deployed()
    if application is None:
        raise ServingError(
            "raysys is not deployed on this cluster, so nobody answers from what would be learnt. "
            "Deploy a release first, with `raysys deploy`."
        )
    config = parse_config(application["args"], ServingConfig, source="what is deployed")
    return config, campaigns_now(application, config)


def _learning(arguments: argparse.Namespace, campaigns: CampaignsConfig) -> LearningConfig:
    """Return what is deployed, but for what the arguments say."""
    names = ("dataset", "releases", "campaign")
    given = {name: getattr(arguments, name) for name in names if getattr(arguments, name)}
    for name in {"dataset", "releases"} & {*given}:
        check_output(Path(given[name]), f"--{name}")
        given[name] = str(Path(given[name]).resolve())
    known = {} if campaigns.learning is None else campaigns.learning.model_dump()
    if not {"dataset", "releases"} <= {*given, *known}:
        raise ConfigError(
            "What is deployed does not say from which dataset to learn and where to put releases. "
            "Name both, with --dataset and --releases, or deploy with --learn DATASET."
        )
    return parse_config({**known, **given}, LearningConfig, source="the arguments of raysys learn")


def _list(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Show the newest rounds, the newest first."""
    check_dataset_group_name(arguments.dataset_group)
    store = StateStore(arguments.database, arguments.dataset_group, must_exist=True)
    with contextlib.closing(store):
        rounds = store.learning(arguments.application).now(_SHOWN_ROUNDS).rounds
    if not rounds:
        console.say("Nothing was learnt yet: `raysys deploy --learn DATASET` begins it.")
        return {"rounds": []}
    table = Table(header_style="bold")
    for column in ("began", "status", "step", "mode", "from", "made", "why"):
        table.add_column(column)
    told = [_row(each) for each in rounds]
    for each in told:
        shown = (each[name] or "" for name in ("status", "step", "mode", "release", "published"))
        table.add_row(each["began_at"][:19].replace("T", " "), *shown, each["reason"])
    console.say(table)
    return {"rounds": told}


def _row(round_: Round) -> dict[str, Any]:
    ended = round_.ended_at_us
    return {
        "round": round_.round_num,
        "status": round_.status,
        "began_at": _time(round_.began_at_us).isoformat(),
        "ended_at": None if ended is None else _time(ended).isoformat(),
        "step": round_.step,
        "mode": round_.mode or None,
        "release": round_.release or None,
        "published": round_.published or None,
        "owner": round_.owner or None,
        "reason": round_.reason,
    }


def _time(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1e6, UTC)
