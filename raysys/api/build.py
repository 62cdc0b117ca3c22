"""`build_app`: the import path of the Serve application in Serve config files."""

from pathlib import Path
from typing import Any

from raysys import storage
from raysys.api.app import build_asgi
from raysys.config import ServingConfig, parse_config
from raysys.errors import ServingError
from raysys.release import Release, open_release
from raysys.serving.deployments import AsgiBuilder, application
from raysys.serving.nodes import check_database, check_proxy_address


def build_app(args: dict[str, Any]) -> Any:
    """Return the Serve application of one campaign; starts nothing.

    Args:
        args: the fields of a ServingConfig. A relative `release` or SQLite path is taken relative
            to the working directory of the process that builds the application: under
            `serve deploy` that is where `ray start` was run.

    Raises:
        ConfigError: a field is wrong.
        ReleaseError: the release cannot be used, or belongs to another dataset group.
        ServingError: there are more shards than partitions, Serve listens on an address that
            others can reach while authentication is off, or the database is SQLite and the cluster
            has several nodes.
    """
    return build_application(parse_config(args, ServingConfig, source="the arguments of build_app"))


def build_application(config: ServingConfig, asgi: AsgiBuilder = build_asgi) -> Any:
    """Return the Serve application for settings that were read already; see `build_app`.

    Args:
        asgi: puts an engine on the wire; picklable.
    """
    check_proxy_address(config.authentication)
    check_database(config.database)
    release = open_release(Path(config.release).resolve())
    release.check_dataset_group(config.dataset_group)
    _check_shards(config, release)
    # Every replica gets this very release, even if a newer one is published meanwhile.
    database = storage.absolute_database(config.database)
    resolved = config.model_copy(update={"release": str(release.path), "database": database})
    return application(resolved, release, asgi)


def _check_shards(config: ServingConfig, release: Release) -> None:
    num_partitions = release.manifest.num_partitions
    if config.num_shards > num_partitions:
        raise ServingError(
            f"Release {release.name} has {num_partitions} partitions, too few for "
            f"{config.num_shards} shards: some would hold nothing. Serve it with num_shards "
            f"{num_partitions} or less, or build it with a larger index.num_partitions."
        )
