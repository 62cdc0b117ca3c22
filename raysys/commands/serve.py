"""`raysys serve`: answer over HTTP from a release, on a Ray of its own, until Ctrl-C."""

import argparse
import contextlib
import signal
from typing import Any

from raysys.commands.cluster import Cluster, ray_cluster
from raysys.commands.connection import existing_cluster
from raysys.commands.console import Console
from raysys.commands.deployment import Deployer
from raysys.commands.rollout import roll_out
from raysys.commands.serving_settings import campaigns_config, releases_of, serving_config
from raysys.config import ServingConfig
from raysys.errors import ConfigError
from raysys.serving.key_ring import open_key_ring
from raysys.serving.listen import check_listen_address
from raysys.state.store import StateStore


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Start a local Ray, deploy, wait until ready, and stay up."""
    config = serving_config(arguments)
    check_listen_address(arguments.host, config.authentication)
    if (address := existing_cluster()) is not None:
        raise ConfigError(
            f"raysys serve starts a Ray of its own and ends it, but RAY_ADDRESS names the cluster "
            f"{address}. Deploy to that one with `raysys deploy` and the same arguments, or unset "
            f"RAY_ADDRESS."
        )
    campaigns = campaigns_config(arguments, config)
    _check_keys(config, arguments.host)
    releases = releases_of(campaigns)
    shown = {"command": "serve", "release": ", ".join(releases)}
    with ray_cluster(console, metadata=shown, serving_port=arguments.port) as cluster:
        deployer = Deployer(cluster, host=arguments.host, port=arguments.port)
        seconds = roll_out(deployer, config, campaigns)
        console.say(
            f"  [bold]{deployer.url}[/bold] answers from release {', '.join(releases)}, "
            f"ready after {seconds:.1f} s; OpenAPI: {deployer.url}/openapi.json",
            markup=True,
        )
        stay_up(cluster, console)
    return {"url": deployer.url, "releases": releases, "deploy_seconds": round(seconds, 3)}


def _check_keys(config: ServingConfig, host: str) -> None:
    """Say before Ray starts what a gateway would say once it runs."""
    if config.authentication != "off":
        with contextlib.closing(StateStore(config.database, config.dataset_group)) as store:
            ring = open_key_ring(store.keys, config.authentication, [host])
            if ring is not None:
                ring.close()


def stay_up(cluster: Cluster, console: Console) -> None:
    """Wait for Ctrl-C or SIGTERM, either of which ends the waiting as a normal return."""
    console.say(f"\nRay dashboard: {cluster.dashboard_url}. Press Ctrl-C to end.")
    try:
        while True:
            signal.pause()
    except KeyboardInterrupt:
        console.say("\nEnding.")
