"""`raysys demo`: from MovieLens to a served answer that moves, on this machine, in one go."""

import argparse
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raysys import storage
from raysys.commands.api_client import ApiClient
from raysys.commands.cluster import Cluster, ray_cluster
from raysys.commands.connection import existing_cluster
from raysys.commands.console import Console
from raysys.commands.deployment import Deployer, application_config, empty_application_config
from raysys.commands.import_log import import_and_report
from raysys.commands.material import Material
from raysys.commands.new_item import show_a_new_item_that_rises
from raysys.commands.parity import compare_served_with_ranked
from raysys.commands.released_model import ReleasedModel
from raysys.commands.serve import stay_up
from raysys.commands.showcase import show_a_list_that_moves, show_how_to_go_on
from raysys.commands.train import train_and_report
from raysys.config import CampaignsConfig, PipelineConfig, ServingConfig
from raysys.errors import ConfigError, SourceError
from raysys.logs.movielens import LogFiles, fetch_movielens_100k
from raysys.logs.simulator import Simulator
from raysys.recipes import USER_PERSONALIZATION
from raysys.release import Release

_LIST_LENGTH = 25


def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Do it all, show each step, and leave nothing running."""
    if (address := existing_cluster()) is not None:
        raise ConfigError(
            f"raysys demo runs on a Ray of its own and ends it, but RAY_ADDRESS names the cluster "
            f"{address}. Unset RAY_ADDRESS; docs/jobs.md has the same steps for a cluster."
        )
    started = time.monotonic()
    files = _log_files(arguments.cache, arguments.workdir, console)
    with ray_cluster(console, serving_port=arguments.port) as cluster:
        console.step("Import with Ray Data")
        imported = import_and_report(
            [files.interactions],
            arguments.workdir / "dataset",
            console,
            items=files.items,
            users=files.users,
        )
        console.step("Train with Ray Train, evaluate, build the index, publish a release")
        config = USER_PERSONALIZATION.configure({})
        release, trained = train_and_report(
            Material.of(arguments.workdir / "dataset", config),
            arguments.workdir / "releases",
            config,
            console,
            recipe=USER_PERSONALIZATION.name,
        )
        served = _serve_and_ask(release, config, arguments, cluster, console)
        seconds = time.monotonic() - started
        console.say(f"\n[bold]Everything took {seconds:.0f} s.[/bold]", markup=True)
        if not arguments.exit:
            stay_up(cluster, console)
    return {
        "data": files.name,
        "import": imported,
        "train": trained,
        **served,
        "seconds": round(seconds, 1),
    }


def _log_files(cache: Path, workdir: Path, console: Console) -> LogFiles:
    console.step("Get a log")
    try:
        files = fetch_movielens_100k(cache)
        console.say(f"  MovieLens-100K, checked by hash, in {cache}")
    except SourceError as error:
        console.say(f"  {error}", style="yellow")
        console.say("  Going on with a simulated log of the same size instead.", style="yellow")
        files = Simulator(seed=0).write(workdir / "simulated")
    return files


def _serve_and_ask(
    release: Release,
    config: PipelineConfig,
    arguments: argparse.Namespace,
    cluster: Cluster,
    console: Console,
) -> dict[str, Any]:
    console.step("Deploy on Ray Serve")
    serving = ServingConfig(database=_fresh_database(arguments.workdir))
    campaigns = CampaignsConfig.of_release(str(release.path.resolve()))
    deployer = Deployer(cluster, host="127.0.0.1", port=arguments.port)
    num_replicas = 1 + serving.num_gateways + serving.num_encoders + serving.num_shards
    empty_s = deployer.deploy(
        empty_application_config(num_replicas, serving.cpus_per_shard), ready_path="/empty"
    )
    ready_s = deployer.deploy(application_config(serving, campaigns), ready_path="/readyz")
    console.say(
        f"  ready {ready_s:.1f} s after `serve deploy`; an empty application with as many replicas "
        f"({num_replicas}): {empty_s:.1f} s"
    )
    model = ReleasedModel(release)
    parity = compare_served_with_ranked(
        deployer.url,
        model,
        model.histories.user_ids.to_pylist(),
        k=_LIST_LENGTH,
        max_seen_items=serving.max_seen_items,
    )
    console.say(
        f"  parity: {parity.num_equal:,} of {parity.num_users:,} users are served exactly the list "
        f"that evaluation ranks for them"
    )
    client = ApiClient(deployer.url)
    moved = show_a_list_that_moves(client, model, serving.tracking_id, console)
    risen = show_a_new_item_that_rises(client, model, serving, moved.user_id, console)
    client.close()
    show_how_to_go_on(deployer.url, moved.user_id, serving, cluster.dashboard_url, console)
    return {
        "deploy_seconds": round(ready_s, 2),
        "deploy_seconds_empty": round(empty_s, 2),
        "parity": asdict(parity),
        "before_ms": round(moved.before_ms, 2),
        "events_ms": round(moved.events_ms, 2),
        "after_ms": round(moved.after_ms, 2),
        "items_new_in_list": moved.num_new,
        "new_item": asdict(risen),
    }


def _fresh_database(workdir: Path) -> str:
    """Return the URL of an empty database: every demo starts from the log alone."""
    path = (workdir / "state.db").resolve()
    for suffix in ("", "-wal", "-shm"):
        storage.remove_file(path.with_name(path.name + suffix))
    return f"sqlite:///{path}"
