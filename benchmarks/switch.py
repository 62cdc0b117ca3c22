"""Another release is switched to, and back, while 32 connections ask and check every answer.

Two releases of the same size, flat, without exploration; a query encoder, two shards, a gateway.
Each answer is compared with what brute force ranks by the release that the answer names. Run with
`make bench-switch`; the last line is JSON, and the command fails if an answer was wrong.

    switch      from the wish until all parts hold the new release and gateways are told to switch
    rollback    the same on the way back, where all parts hold it already
    p99         of the answers in that time and in the second and a half in which gateways switch,
                against the time before
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from random_release import publish_random_release
from serve_cluster import serving, wait_for
from steady_load import Seen, steady_load

from raysys.commands.released_model import ReleasedModel
from raysys.commands.rollout import campaign_table
from raysys.config import CampaignConfig, CampaignsConfig, GruConfig, ServingConfig
from raysys.config.base import DEFAULT_CAMPAIGN
from raysys.release import Release
from raysys.serving.director import wish_of

LENGTH = 25
P99_BAR, ROLLBACK_BAR_S = 3.0, 5.0


def main() -> None:
    """Switch, print what the clients saw, and end with one JSON line; exit 1 if any was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--users", type=int, default=2_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=10, help="of load before each switch")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raysys-", dir="/tmp") as directory:
        releases = [
            publish_random_release(
                Path(directory) / "releases",
                num_items=arguments.items,
                num_users=arguments.users,
                mean_length=30,
                model=GruConfig(hidden_dimension=64),
                seed=seed,
            )
            for seed in (1, 2)
        ]
        result = _measured(releases, arguments, Path(directory))
    print(json.dumps(result), flush=True)
    sys.exit(result["num_wrong"] > 0)


def _measured(
    releases: Sequence[Release], arguments: argparse.Namespace, directory: Path
) -> dict[str, Any]:
    old, new = releases
    lists = {release.name: _ranked(release) for release in releases}
    config = ServingConfig(database=f"sqlite:///{directory}/state.db", exploration_weight=0)
    with serving(directory) as url:
        _deploy(config, old, url)
        with (
            campaign_table(config) as table,
            steady_load(url, lists, num_clients=arguments.connections) as seen,
        ):

            def switch(release: Release) -> dict[str, Any]:
                time.sleep(arguments.seconds)
                began = time.monotonic()
                table.want({DEFAULT_CAMPAIGN: wish_of(_asked(release, began), config)})
                _wait(lambda: table.open()[-1].status == "serving")
                time.sleep(1.5)  # gateways look every half second
                return _row(seen, began - arguments.seconds, began, time.monotonic())

            rows = {"switch": switch(new), "rollback": switch(old)}
    return {
        **rows,
        "num_answers": len(seen.answers),
        "num_wrong": len(seen.wrong),
        "wrong": seen.wrong[:3],
        "order": sorted({" -> ".join(met) for met in seen.releases}),
        "p99_bar": P99_BAR,
        "rollback_bar_s": ROLLBACK_BAR_S,
        "items": arguments.items,
        "connections": arguments.connections,
        "cpus": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _ranked(release: Release) -> dict[str, list[str]]:
    model = ReleasedModel(release)
    lists = model.ranked(model.histories, LENGTH, max_seen_items=2_000)
    return dict(zip(model.histories.user_ids.to_pylist(), lists, strict=True))


def _asked(release: Release, now: float) -> CampaignConfig:
    variants = [{"release": str(release.path)}]
    return CampaignConfig.model_validate({"variants": variants, "deployed_at": str(now)})


def _deploy(config: ServingConfig, release: Release, url: str) -> None:
    from ray import serve

    from raysys.api.build import build_application

    campaigns = CampaignsConfig.of_release(str(release.path))
    serve.run(build_application(config, campaigns), name="raysys", route_prefix="/")
    wait_for(f"{url}/readyz")


def _wait(is_done: Callable[[], bool], timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"nothing was switched to within {timeout_s:.0f} s")
        time.sleep(0.02)


def _row(seen: Seen, before: float, began: float, ended: float) -> dict[str, Any]:
    """Return the latencies before a switch and during it, and how long it took."""
    answers = np.array(seen.answers)
    is_before = (answers[:, 0] >= before) & (answers[:, 0] < began)
    p99_before, p99_during = (
        float(np.percentile(answers[chosen, 1], 99))
        for chosen in (is_before, (answers[:, 0] >= began) & (answers[:, 0] < ended))
    )
    return {
        "served_after_s": round(ended - 1.5 - began, 2),
        "answers_per_s_before": round(float(is_before.sum()) / (began - before), 1),
        "p99_ms_before": round(p99_before, 1),
        "p99_ms_during": round(p99_during, 1),
        "p99_ratio": round(p99_during / p99_before, 2),
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
