"""Leads the campaigns of an application from what they answer from to what they are to answer from.

One process does so. Replicas load by themselves what is being prepared, and say so; gateways switch
by themselves to what is served (`serving.release_keeper`). All of it goes through the database, so
nothing that is in service depends on this process: without it, nothing changes.
"""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raysys.config import CampaignConfig, CampaignsConfig, ServingConfig, parse_config
from raysys.errors import ConfigError, RaysysError, ServingError
from raysys.release import Release, open_release
from raysys.state.campaigns import (
    CampaignTable,
    CampaignVersion,
    Move,
    Plan,
    Report,
    Status,
    Variant,
    Wish,
    is_changing,
)

_LOG = logging.getLogger("raysys.serving")

Running = Callable[[], Mapping[str, str]]
"""Returns the part of each replica that runs now, by its name."""


@dataclass(frozen=True, slots=True)
class _Live:
    """A replica that runs, and what it says; nothing while it has said nothing."""

    part: str
    report: Report

    def holds(self, plan: Plan) -> bool:
        return set(plan.releases) <= set(self.report.ready)

    def has_left(self, version: CampaignVersion | None) -> bool:
        """Say whether it is no gateway that still answers from a version."""
        if version is None:
            return True
        return self.report.in_service.get(version.campaign) != version.version


class Director:
    """Moves the versions of campaigns on, one `step` after the other.

    A version is served once every replica that runs holds its releases. One that a replica cannot
    load is given up, and what was served before goes on.

    Args:
        running: asked only while a campaign changes.
        max_loading_s: a version that takes longer is given up.
        clock: seconds that never go back.
    """

    def __init__(
        self,
        table: CampaignTable,
        running: Running,
        parts: Iterable[str],
        *,
        max_loading_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._running = running
        self._parts = frozenset(parts)
        self._max_loading_s = max_loading_s
        self._clock = clock
        self._since: dict[tuple[str, int, Status], float] = {}
        """When a version was first seen in a status."""

    def step(self) -> bool:
        """Look at everything once, move on what can be moved, and say whether anything moves."""
        versions = self._table.open()
        self._since = {
            key: self._since.get(key, self._clock())
            for key in ((each.campaign, each.version, each.status) for each in versions)
        }
        if not is_changing(versions):
            return False
        running = self._running()
        said = self._table.replicas()
        reports = {replica.name: replica.report for replica in said}
        live = [_Live(part, reports.get(name, Report())) for name, part in running.items()]
        moves: list[Move] = []
        for campaign in dict.fromkeys(version.campaign for version in versions):
            ours = {each.status: each for each in versions if each.campaign == campaign}
            moves += self._moves(ours, live)
        self._table.move(moves)
        if any(move.becomes == "serving" for move in moves):
            # Those that only start say it again when they are asked the next time.
            self._table.forget([each.name for each in said if each.name not in running])
        for move in moves:
            _tell(move)
        return True

    def _moves(self, ours: Mapping[Status, CampaignVersion], live: list[_Live]) -> Iterable[Move]:
        serving, kept = ours.get("serving"), ours.get("kept")
        preparing, wanted = ours.get("preparing"), ours.get("wanted")
        if preparing is not None:
            behind = self._behind(live, lambda each: each.holds(preparing.plan))
            problem = _problem(preparing, live) or self._took_too_long(preparing, behind)
            if problem is not None:
                yield Move(preparing, "failed", problem)
            elif not behind:
                if kept is not None:
                    yield Move(kept, "replaced")
                if serving is not None:
                    yield Move(serving, "kept")
                yield Move(preparing, "serving")
        elif wanted is not None:
            behind = self._behind(live, lambda each: each.has_left(kept))
            problem = self._took_too_long(wanted, behind)
            if problem is not None:
                yield Move(wanted, "failed", problem)
            elif not behind:
                yield Move(wanted, "preparing")

    def _behind(self, live: list[_Live], is_there: Callable[[_Live], bool]) -> list[str]:
        """Return the parts that have no replica, or one of which something is not true yet."""
        found = {each.part for each in live if not is_there(each)}
        return sorted(found | (self._parts - {each.part for each in live}))

    def _took_too_long(self, version: CampaignVersion, behind: list[str]) -> str | None:
        since_s = self._since[version.campaign, version.version, version.status]
        if not behind or self._clock() - since_s <= self._max_loading_s:
            return None
        return (
            f"After {self._max_loading_s:g} s there was no word of {', '.join(behind)} that it was "
            f"ready. Look at the log of that part, or raise max_loading_s."
        )


def take_over(
    user_config: Mapping[str, Any], config: ServingConfig, table: CampaignTable
) -> CampaignsConfig | None:
    """Make campaigns what an operator says in `user_config` of the deployment Campaigns, and return
    that; None: it cannot be followed.

    What says nothing sensible changes nothing, and `CampaignTable.director` tells why: who raises
    here is ended by Serve, time and again, and nobody would lead the campaigns that are served.

    Raises:
        ConfigError: it says nothing sensible, and there is nothing yet that it could leave alone.
        StateError: the database cannot be used.
    """
    try:
        source = "user_config of the deployment Campaigns"
        wanted = parse_config(user_config, CampaignsConfig, source=source)
    except ConfigError as error:
        if not table.open():
            raise
        _LOG.error("What was deployed is refused, and everything goes on as it was: %s", error)
        table.refuse(str(error))
        return None
    table.want({name: wish_of(asked, config) for name, asked in wanted.campaigns.items()})
    table.follow(wanted.model_dump_json())
    return wanted


def last_followed(table: CampaignTable) -> CampaignsConfig | None:
    """Return the settings that are followed, whatever was deployed since and refused; None: none
    ever were, or those of another version of raysys, which this one does not understand."""
    with contextlib.suppress(ValueError):
        return CampaignsConfig.model_validate_json(table.director().followed)
    return None


def wish_of(asked: CampaignConfig, config: ServingConfig) -> Wish:
    """Return what a campaign's settings mean now. A release that cannot be used is a problem of the
    wish and no error: it must not take away what is served."""
    variants = []
    try:
        if asked.exploration_weight and not config.record:
            raise ServingError(
                f"The server records nothing (`record: false`), so exploration_weight has to be 0, "
                f"and it is {asked.exploration_weight:g}."
            )
        for variant in asked.variants:
            release = open_release(Path(variant.release).resolve())
            check_servable(release, config)
            variants.append(Variant(str(release.path), release.name, variant.share))
        if len({variant.release for variant in variants}) < len(variants):
            names = ", ".join(variant.release for variant in variants)
            raise ServingError(f"Each release may be named once, but these are {names}.")
    except (RaysysError, OSError, ValueError) as error:  # the latter of names that no file has
        given = [
            Variant(each.release, Path(each.release).name, each.share) for each in asked.variants
        ]
        return Wish(asked.words, _plan(asked, given), str(error))
    return Wish(asked.words, _plan(asked, variants), lease_number=asked.lease_number)


def _plan(asked: CampaignConfig, variants: Sequence[Variant]) -> Plan:
    return Plan(tuple(variants), asked.exploration_weight, asked.exploration_policy)


def check_servable(release: Release, config: ServingConfig) -> None:
    """Refuse a release that does not fit the application.

    Raises:
        ReleaseMismatchError: it belongs to another dataset group.
        ServingError: there are more shards than it has partitions.
    """
    release.check_dataset_group(config.dataset_group)
    num_partitions = release.manifest.num_partitions
    if config.num_shards > num_partitions:
        raise ServingError(
            f"Release {release.name} has {num_partitions} partitions, too few for "
            f"{config.num_shards} shards: some would hold nothing. Serve it with num_shards "
            f"{num_partitions} or less, or build it with a larger index.num_partitions."
        )


def _problem(preparing: CampaignVersion, live: Iterable[_Live]) -> str | None:
    for release in preparing.plan.releases:
        for each in live:
            if release in each.report.failed:
                return f"{each.part}: {each.report.failed[release]}"
    return None


def _tell(move: Move) -> None:
    version = move.version
    level = logging.ERROR if move.becomes == "failed" else logging.INFO
    told = f": {move.reason}" if move.reason else ""
    _LOG.log(
        level,
        "Version %d of campaign %s (%s) is %s%s",
        version.version,
        version.campaign,
        ", ".join(version.plan.releases),
        move.becomes,
        told,
    )
