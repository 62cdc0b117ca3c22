"""`raysys deploy`: put a release on the running cluster, and return when it answers."""

import argparse
import os
from typing import Any

import ray

from raysys.commands import job_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.connection import existing_cluster
from raysys.commands.console import Console
from raysys.commands.deployment import Deployer
from raysys.commands.rollout import campaigns_now, roll_out
from raysys.commands.serving_settings import campaigns_config, releases_of, serving_config
from raysys.config import ServingConfig, parse_config
from raysys.errors import ConfigError
from raysys.serving.listen import check_listen_address
from raysys.serving.nodes import check_database

_FAST_SETTINGS = ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED")


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Deploy and wait until ready; other Serve applications of the cluster stay as they are.

    Where raysys is deployed already, its other campaigns stay as they are too, and so do settings
    of which nothing is said.
    """
    config = serving_config(arguments)
    check_listen_address(arguments.host, config.authentication)
    if existing_cluster() is None:
        raise ConfigError(
            "raysys deploy puts a release on a Ray cluster that runs already, but RAY_ADDRESS "
            "names none. On a node of the cluster set RAY_ADDRESS=auto; from elsewhere use `ray "
            "job submit --working-dir . -- python jobs/deploy.py ...`. To serve on this machine "
            "without a cluster there is `raysys serve`."
        )
    campaigns = campaigns_config(arguments, config)
    releases = releases_of(campaigns)
    shown = {"release": ", ".join(releases), "dataset_group": config.dataset_group}
    with ray_cluster(console, metadata={"command": "deploy", **shown}) as cluster:
        deployer = Deployer(cluster, host=arguments.host, port=arguments.port)
        application = deployer.deployed()
        if application is not None:
            config = serving_config(arguments, deployed=application["args"])
            campaigns_config(arguments, config)  # of its dataset group, too
            _tell_of_restart(application["args"], config, console)
        check_database(config.database)
        _warn_of_slow_settings(console)
        beside = None if application is None else campaigns_now(application, config)
        if beside is not None and arguments.no_learn:
            beside = beside.model_copy(update={"learning": None})
        seconds = roll_out(deployer, config, campaigns, beside=beside, keep_others=True)
        job_page.add({"url": deployer.url, "deploy_seconds": seconds})
        console.say(
            f"  [bold]{deployer.url}[/bold] on the head node answers from release "
            f"{', '.join(releases)}, ready after {seconds:.1f} s; OpenAPI: "
            f"{deployer.url}/openapi.json",
            markup=True,
        )
    return {
        "url": deployer.url,
        "campaigns": sorted(campaigns.campaigns),
        "releases": releases,
        "deploy_seconds": round(seconds, 3),
    }


def _tell_of_restart(deployed: dict[str, Any], config: ServingConfig, console: Console) -> None:
    before, now = parse_config(deployed, ServingConfig, source="what is deployed"), config
    changed = [
        name for name in ServingConfig.model_fields if getattr(before, name) != getattr(now, name)
    ]
    if changed:
        console.say(
            f"{', '.join(changed)} {'is' if len(changed) == 1 else 'are'} other than what is "
            f"deployed, so Serve starts every part anew: expect a gap. A release alone is switched "
            f"without one.",
            style="yellow",
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
