"""A campaign that is asked for four times what it may answer: what gets through, and what it costs.

Measures the empty route of an application with everything on, deploys it again with
`max_requests_per_s` at a tenth of that, and sends four times as much at a fixed rate, whether or
not answers come (`open_loop.py`, a process of its own). Run with `make bench-overload`; the last
line is JSON. The bars:

    goodput            answers 200 in a second against the limit              at least 0.9
    the rest           429 in the wire format with Retry-After, nothing else
    refused, p99       from when the request was due to its refusal           under 50 ms
    memory             of the gateway's own, the last third of the time
                       against the second one                                 1.05 times at most
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from statistics import mean
from typing import Any
from urllib.parse import urlsplit

from random_release import publish_random_release
from serve import bench_asgi
from serve_cluster import serving, wait_for
from serve_processes import memory_mib
from serve_requests import RECOMMENDATIONS, run_wrk, write_bodies

from raysys.config import CampaignsConfig, ServingConfig
from raysys.release import Release

SHARE_OF_EMPTY, TIMES_TOO_MANY = 0.1, 4
GOODPUT_BAR, REFUSAL_BAR_MS, MEMORY_BAR = 0.9, 50, 1.05
_WARM_UP_S = 10
_SAMPLE_EVERY_S = 3


def main() -> None:
    """Measure, and end with one JSON line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--items", type=int, default=10_000, help="of a random release")
    parser.add_argument("--seconds", type=int, default=60)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("This benchmark needs the load generator wrk: apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="raysys-", dir="/tmp") as directory:
        release = publish_random_release(Path(directory) / "releases", num_items=arguments.items)
        result = _measured(release, Path(directory), arguments.seconds)
    print(json.dumps(result), flush=True)


def _measured(release: Release, directory: Path, seconds: int) -> dict[str, Any]:
    config = ServingConfig(database=f"sqlite:///{directory}/state.db")
    bodies = write_bodies(release, directory)
    with serving(directory) as url:
        _deploy(config, release, url)
        run_wrk(url, "/empty", bodies, connections=16, seconds=2)
        empty = run_wrk(url, "/empty", bodies, connections=64, seconds=10)["rps"]
        limit = round(SHARE_OF_EMPTY * empty, 1)
        print(f"The empty route answers {empty:.0f} requests/s; the campaign may {limit}.")
        _deploy(config.model_copy(update={"max_requests_per_s": limit}), release, url)
        warm_up, _ = _send(url, bodies, TIMES_TOO_MANY * limit, _WARM_UP_S, directory)
        found, memory = _send(url, bodies, TIMES_TOO_MANY * limit, seconds, directory)
        waiting = _num_unrecorded(directory, warm_up, found)
    answered, refused = found.get("200", {}), found.get("429", {})
    return {
        "empty_rps": empty,
        "limit_rps": limit,
        "sent_rps": TIMES_TOO_MANY * limit,
        "goodput": round(answered.get("count", 0) / seconds / limit, 3),
        "goodput_bar": GOODPUT_BAR,
        "refused_p99_ms": refused.get("p99_ms"),
        "refused_bar_ms": REFUSAL_BAR_MS,
        "neither": sum(row["count"] for name, row in found.items() if name not in ("200", "429")),
        "memory": round(_growth([each["Gateway"] for each in memory]), 3),
        "memory_bar": MEMORY_BAR,
        "lists_not_yet_recorded": waiting,
        "outcomes": found,
        "memory_mib": {kind: [each.get(kind) for each in memory] for kind in memory[0]},
        "cpus": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _num_unrecorded(directory: Path, *found: dict[str, dict[str, Any]]) -> int:
    """Return how many of the lists that were answered wait in the gateway for the database."""
    num_answered = sum(
        row["count"] for each in found for name, row in each.items() if "200" in name
    )
    with closing(sqlite3.connect(directory / "state.db")) as database:
        [(num_recorded,)] = database.execute("select count(*) from slates").fetchall()
    return int(num_answered - num_recorded)


def _deploy(config: ServingConfig, release: Release, url: str) -> None:
    from ray import serve

    from raysys.api.build import build_application

    campaigns = CampaignsConfig.of_release(str(release.path))
    application = build_application(config, campaigns, bench_asgi)
    serve.run(application, name="raysys", route_prefix="/")
    wait_for(f"{url}/readyz")


def _growth(samples: Sequence[float]) -> float:
    third = max(1, len(samples) // 3)
    return mean(samples[-third:]) / mean(samples[-2 * third : -third] or samples)


def _send(
    url: str, bodies: Path, rate: float, seconds: int, directory: Path
) -> tuple[dict[str, dict[str, Any]], list[dict[str, float]]]:
    """Return what came of the requests, and the memory of each part every few seconds."""
    address = urlsplit(url)
    script = Path(__file__).with_name("open_loop.py")
    command = [sys.executable, str(script), str(address.hostname), str(address.port)]
    command += [RECOMMENDATIONS, str(bodies), f"--rate={rate}", f"--seconds={seconds}"]
    memory = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        load.stdout.readline()  # it begins
        while load.poll() is None:
            memory.append(memory_mib(directory))
            time.sleep(_SAMPLE_EVERY_S)
        found: dict[str, dict[str, Any]] = json.loads(load.stdout.read())
    for outcome, row in found.items():
        print(f"{rate:.0f}/s for {seconds} s: {outcome:14} {row}", flush=True)
    return found, memory


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
