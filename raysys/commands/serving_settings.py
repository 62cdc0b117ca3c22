"""The settings of serving, from a config file and the arguments that `deploy` and `serve` share."""

import argparse
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from raysys import storage
from raysys.commands.submission import check_output
from raysys.config import (
    DEFAULT_CAMPAIGN,
    CampaignConfig,
    CampaignsConfig,
    LearningConfig,
    ServingConfig,
    VariantConfig,
    load_yaml,
    parse_config,
)
from raysys.dataset.dataset import open_dataset
from raysys.errors import ConfigError
from raysys.release import Release, open_release

_ARGUMENTS = {
    "database": "database",
    "num_shards": "shards",
    "dataset_group": "dataset_group",
    "exploration_weight": "exploration_weight",
    "exploration_policy": "exploration_policy",
    "exploration_item_age_cut_off": "exploration_item_age_cut_off",
}
"""Settings, each with the argument that overrides what the config file says."""


def serving_config(
    arguments: argparse.Namespace, deployed: dict[str, Any] | None = None
) -> ServingConfig:
    """Return the settings, with a database that means the same in every process of this machine.

    Args:
        deployed: settings that hold where neither the file nor an argument says anything, and there
            is no file.

    Raises:
        ConfigError: nothing says what to answer from, a setting is wrong, or, in a submitted job, a
            path would not outlive it.
    """
    given = {name: getattr(arguments, argument) for name, argument in _ARGUMENTS.items()}
    told = written = _written(arguments)
    if arguments.config is None and deployed is not None:
        written = deployed
    if isinstance(written, dict):
        if not arguments.release and not _campaigns_in(told):
            raise ConfigError(
                f"raysys {arguments.command} needs --release PATH, or --config with `campaigns` in "
                f"it."
            )
        apart = CampaignsConfig.model_fields
        written = {name: value for name, value in written.items() if name not in apart}
        written |= {name: value for name, value in given.items() if value is not None}
    config = parse_config(written, ServingConfig, source=_source(arguments))
    check_output(config.database, "--database")
    for path in arguments.release or ():
        check_output(path, "--release")
    return config.model_copy(update={"database": storage.absolute_database(config.database)})


def campaigns_config(arguments: argparse.Namespace, config: ServingConfig) -> CampaignsConfig:
    """Return what the campaigns are to answer from, by releases and not by directories of them.

    They are those of the config file's `campaigns`, and the one that the arguments tell of.

    Raises:
        ConfigError: a setting is wrong.
        ReleaseError: a release cannot be used, or belongs to another dataset group.
    """
    written = _written(arguments)
    given = {"campaigns": _campaigns_in(written)}
    if isinstance(written, dict) and "learning" in written:
        given["learning"] = written["learning"]
    asked = parse_config(given, CampaignsConfig, source=_source(arguments))
    found = asked.campaigns
    if arguments.release:
        found = {**found, arguments.campaign: _told(arguments)}
    now = datetime.now(UTC).isoformat()
    resolved = {name: _resolved(each, config, now) for name, each in found.items()}
    return CampaignsConfig(
        campaigns=resolved, learning=_learning(arguments, asked.learning, resolved, config)
    )


def releases_of(campaigns: CampaignsConfig) -> list[str]:
    """Return the names of all releases that campaigns answer from."""
    paths = [each.release for named in campaigns.campaigns.values() for each in named.variants]
    return [Path(path).name for path in dict.fromkeys(paths)]


def _learning(
    arguments: argparse.Namespace,
    written: LearningConfig | None,
    campaigns: Mapping[str, CampaignConfig],
    config: ServingConfig,
) -> LearningConfig | None:
    """Return what the file and the arguments say, with paths that mean the same everywhere.

    Raises:
        ConfigError: it is told how to learn and not from what.
        DatasetError: there is no such dataset of the campaigns' group.
    """
    if arguments.no_learn:
        return None
    known = {} if written is None else written.model_dump()
    given: dict[str, Any] = {
        "dataset": arguments.learn,
        "releases": arguments.learn_releases,
        "every_minutes": arguments.learn_every,
    }
    given = {name: value for name, value in given.items() if value is not None}
    if not known and not given:
        return None
    if not known and "dataset" not in given:
        raise ConfigError("--learn-releases and --learn-every need --learn DATASET beside them.")
    found = {**known, **given}
    if "campaign" not in found and arguments.release:
        found["campaign"] = arguments.campaign
    if "releases" not in found:
        beside = campaigns[found.get("campaign", DEFAULT_CAMPAIGN)].variants[0].release
        found["releases"] = Path(beside).parent
    for name in ("dataset", "releases"):
        check_output(Path(found[name]), "--learn" if name == "dataset" else "--learn-releases")
        found[name] = str(Path(found[name]).resolve())
    open_dataset(Path(found["dataset"])).check_dataset_group(config.dataset_group)
    return parse_config(found, LearningConfig, source=_source(arguments))


def _told(arguments: argparse.Namespace) -> CampaignConfig:
    shares = arguments.shares or [1.0] * len(arguments.release)
    if len(shares) != len(arguments.release):
        raise ConfigError(
            f"--shares has {len(shares)} numbers for {len(arguments.release)} releases. Give one "
            f"for each release."
        )
    variants = [
        {"release": str(path), "share": share}
        for path, share in zip(arguments.release, shares, strict=True)
    ]
    return parse_config({"variants": variants}, CampaignConfig, source=_source(arguments))


def _resolved(campaign: CampaignConfig, config: ServingConfig, now: str) -> CampaignConfig:
    variants = []
    for variant in campaign.variants:
        release = _opened(variant.release, config)
        variants.append(VariantConfig(release=str(release.path), share=variant.share))
    changed = {"variants": variants, "deployed_at": campaign.deployed_at or now}
    return campaign.model_copy(update=changed)


def _opened(path: str, config: ServingConfig) -> Release:
    release = open_release(Path(path).resolve())
    release.check_dataset_group(config.dataset_group)
    return release


def _written(arguments: argparse.Namespace) -> Any:
    return {} if arguments.config is None else load_yaml(arguments.config)


def _campaigns_in(written: Any) -> Any:
    return written.get("campaigns", {}) if isinstance(written, dict) else {}


def _source(arguments: argparse.Namespace) -> str:
    return str(arguments.config or f"the arguments of raysys {arguments.command}")
