"""The settings of serving, from a config file and the arguments that `deploy` and `serve` share."""

import argparse
from pathlib import Path

from raysys import storage
from raysys.commands.submission import check_output
from raysys.config import ServingConfig, load_yaml, parse_config
from raysys.errors import ConfigError

_ARGUMENTS = {
    "database": "database",
    "num_shards": "shards",
    "dataset_group": "dataset_group",
    "exploration_weight": "exploration_weight",
    "exploration_item_age_cut_off": "exploration_item_age_cut_off",
}
"""Settings, each with the argument that overrides what the config file says."""


def serving_config(arguments: argparse.Namespace) -> ServingConfig:
    """Return the settings, with paths that mean the same in every process of this machine.

    Raises:
        ConfigError: no release is named, a setting is wrong, or, in a submitted job, a path would
            not outlive it.
    """
    given = {name: getattr(arguments, argument) for name, argument in _ARGUMENTS.items()}
    if arguments.release is not None:
        given["release"] = str(arguments.release)
    written = {} if arguments.config is None else load_yaml(arguments.config)
    if isinstance(written, dict):
        written = written | {name: value for name, value in given.items() if value is not None}
        if "release" not in written:
            raise ConfigError(
                f"raysys {arguments.command} needs --release PATH, or --config with a `release` "
                f"in it."
            )
    source = arguments.config or f"the arguments of raysys {arguments.command}"
    config = parse_config(written, ServingConfig, source=str(source))
    check_output(Path(config.release), "--release")
    check_output(config.database, "--database")
    return config.model_copy(
        update={
            "release": str(Path(config.release).resolve()),
            "database": storage.absolute_database(config.database),
        }
    )
