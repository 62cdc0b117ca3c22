"""`build_app`: the import path of the Serve application in Serve config files."""

from typing import Any

from raysys import storage
from raysys.api.app import build_asgi
from raysys.config import CampaignsConfig, ServingConfig, parse_config
from raysys.serving.deployments import AsgiBuilder, application
from raysys.serving.nodes import check_database, check_proxy_address


def build_app(args: dict[str, Any]) -> Any:
    """Return the Serve application; starts nothing.

    Args:
        args: the fields of a ServingConfig. What it answers from is `user_config` of its deployment
            `Campaigns`, the fields of a CampaignsConfig. A relative SQLite path or path of a
            release is taken relative to the working directory of Ray's head node: where `ray start`
            was run.

    Raises:
        ConfigError: a field is wrong.
        ServingError: Serve listens on an address that others can reach while authentication is
            off, or the database is SQLite and the cluster has several nodes.
    """
    return build_application(parse_config(args, ServingConfig, source="the arguments of build_app"))


def build_application(
    config: ServingConfig,
    campaigns: CampaignsConfig | None = None,
    asgi: AsgiBuilder = build_asgi,
) -> Any:
    """Return the Serve application for settings that were read already; see `build_app`.

    Args:
        campaigns: what it answers from in the beginning.
        asgi: puts an engine on the wire; picklable.
    """
    check_proxy_address(config.authentication)
    check_database(config.database)
    database = storage.absolute_database(config.database)
    return application(config.model_copy(update={"database": database}), campaigns, asgi)
