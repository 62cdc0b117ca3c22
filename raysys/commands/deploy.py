"""`raysys deploy`: put a release on the running cluster, and return when it answers."""

import argparse
import os
from pathlib import Path
from typing import Any

import ray

from raysys.commands import job_page
from raysys.commands.cluster import ray_cluster
from raysys.commands.connection import existing_cluster
from raysys.commands.console import Console
from raysys.commands.deployment import Deployer, application_config
from raysys.commands.serving_settings import serving_config
from raysys.errors import ConfigError
from raysys.release import open_release
from raysys.serving.listen import check_listen_address
from raysys.serving.nodes import check_database

_FAST_SETTINGS = ("RAY_SERVE_ENABLE_HA_PROXY", "RAY_SERVE_THROUGHPUT_OPTIMIZED")


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Deploy and wait until ready; other Serve applications of the cluster stay as they are."""
    config = serving_config(arguments)
    check_listen_address(arguments.host, config.authentication)
    if existing_cluster() is None:
        raise ConfigError(
            "raysys deploy puts a release on a Ray cluster that runs already, but RAY_ADDRESS "
            "names none. On a node of the cluster set RAY_ADDRESS=auto; from elsewhere use `ray "
            "job submit --working-dir . -- python jobs/deploy.py ...`. To serve on this machine "
            "without a cluster there is `raysys serve`."
        )
    release = open_release(Path(config.release))
    release.check_dataset_group(config.dataset_group)
    # The release itself and not the directory that it is the newest of: Serve replaces nothing
    # where the same arguments are deployed again.
    config = config.model_copy(update={"release": str(release.path)})
    shown = {"release": release.name, "dataset_group": release.dataset_group}
    with ray_cluster(console, metadata={"command": "deploy", **shown}) as cluster:
        check_database(config.database)
        _warn_of_slow_settings(console)
        deployer = Deployer(cluster, host=arguments.host, port=arguments.port)
        seconds = deployer.deploy(
            application_config(config),
            ready_path="/readyz",
            expect={"release": release.name},
            keep_others=True,
        )
        job_page.add({"url": deployer.url, "deploy_seconds": seconds})
        console.say(
            f"  [bold]{deployer.url}[/bold] on the head node answers from release {release.name}, "
            f"ready after {seconds:.1f} s; OpenAPI: {deployer.url}/openapi.json",
            markup=True,
        )
    return {"url": deployer.url, "release": release.name, "deploy_seconds": round(seconds, 3)}


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
