"""`raysys serve`: answer over HTTP from a release, until Ctrl-C."""

import argparse
import os
import signal
from pathlib import Path
from typing import Any

import ray

from raysys.api.build import absolute_database
from raysys.commands.cluster import Cluster, ray_cluster
from raysys.commands.console import Console
from raysys.commands.deployment import Deployer, application_config
from raysys.config import ServingConfig, load_config, parse_config
from raysys.errors import ConfigError
from raysys.release import open_release
from raysys.serving.listen import check_listen_address

_FAST_SETTINGS = ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED")


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Deploy, wait until ready, and stay up; on an existing cluster, deploy and return."""
    config = _settings(arguments)
    check_listen_address(arguments.host)
    release = open_release(Path(config.release))
    with ray_cluster(console, serving_port=arguments.port) as cluster:
        if not cluster.is_local:
            _warn_of_slow_settings(console)
        deployer = Deployer(cluster.dashboard_url, host=arguments.host, port=arguments.port)
        seconds = deployer.deploy(application_config(config), ready_path="/readyz")
        console.say(
            f"  [bold]{deployer.url}[/bold] answers from release {release.name}, "
            f"ready after {seconds:.1f} s; OpenAPI: {deployer.url}/openapi.json"
        )
        if cluster.is_local:
            stay_up(cluster, console)
    return {"url": deployer.url, "release": release.name, "deploy_seconds": round(seconds, 3)}


def stay_up(cluster: Cluster, console: Console) -> None:
    """Wait for Ctrl-C or SIGTERM, either of which ends the waiting as a normal return."""
    console.say(f"\nRay dashboard: {cluster.dashboard_url}. Press Ctrl-C to end.")
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        console.say("\nEnding.")


def _settings(arguments: argparse.Namespace) -> ServingConfig:
    given = {
        "release": None if arguments.release is None else str(arguments.release.resolve()),
        "database": arguments.database,
    }
    changes = {name: value for name, value in given.items() if value is not None}
    if arguments.config is not None:
        config = load_config(arguments.config, ServingConfig).model_copy(update=changes)
    elif "release" not in changes:
        raise ConfigError("raysys serve needs --release PATH, or --config with a `release` in it.")
    else:
        config = parse_config(changes, ServingConfig, source="The arguments of raysys serve")
    return config.model_copy(
        update={
            "release": str(Path(config.release).resolve()),
            "database": absolute_database(config.database),
        }
    )


def _warn_of_slow_settings(console: Console) -> None:
    """Say how to start Ray, where the running one lacks what makes Serve fast."""

    @ray.remote(num_cpus=0)
    def missing() -> list[str]:
        return [name for name in _FAST_SETTINGS if os.environ.get(name) != "1"]

    names: list[str] = ray.get(missing.remote())
    if names:
        settings = " ".join(f"{name}=1" for name in _FAST_SETTINGS)
        console.say(
            f"This cluster was started without {' and '.join(names)}, so Serve handles about a "
            f"tenth of the requests that it could. Start Ray again with:\n"
            f"  {settings} RAY_AUTH_MODE=token ray start --head",
            style="yellow",
        )
