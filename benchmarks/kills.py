"""Each kind of replica is killed while 32 connections ask: who fails, who is told of what.

Two gateways, a query encoder and two shards, everything on. For each victim requests come at a
fixed rate (`open_loop.py`); at a moment that the seed chooses, a replica gets SIGKILL. Run with
`make bench-kills`; the last line is JSON. What has to hold:

    encoder, shard    every request is answered with 200, some of them degraded
    gateway           what was in flight on it fails, at most one request for each connection, and
                      all of it at once; nobody fails later

A client has to keep to HTTP: when gateways come or go, HAProxy starts anew and lets each connection
end with an answer that says `connection: close`. Who sends more over it is not answered.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from random_release import publish_random_release
from serve import bench_asgi
from serve_cluster import serving, wait_for
from serve_processes import replicas
from serve_requests import RECOMMENDATIONS, write_bodies

from raysys.config import CampaignsConfig, GruConfig, ServingConfig
from raysys.release import Release

VICTIMS = ("QueryEncoder", "IndexShard", "Gateway")
CONNECTIONS = 32
GONE_WITHIN_S = 1.0


def main() -> None:
    """Kill, print what happened, and end with one JSON line; exit 1 if anything did not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--seconds", type=int, default=30, help="of load for each victim")
    parser.add_argument("--victims", default=",".join(VICTIMS))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="raysys-", dir="/tmp") as directory:
        release = publish_random_release(
            Path(directory) / "releases",
            num_items=2_000,
            num_users=20_000,  # so many that most queries have to be encoded
            mean_length=15,
            model=GruConfig(hidden_dimension=64),
        )
        results = _results(release, arguments, Path(directory))
    print(
        json.dumps({"seed": arguments.seed, "rate": arguments.rate, "kills": results}), flush=True
    )
    sys.exit(not all(row["holds"] for row in results))


def _results(
    release: Release, arguments: argparse.Namespace, directory: Path
) -> list[dict[str, Any]]:
    config = ServingConfig(
        database=f"sqlite:///{directory}/state.db",
        num_gateways=2,
    )
    bodies = write_bodies(release, directory)
    chance = random.Random(arguments.seed)
    results = []
    with serving(directory) as url:
        from ray import serve

        from raysys.api.build import build_application

        campaigns = CampaignsConfig.of_release(str(release.path))
        application = build_application(config, campaigns, bench_asgi)
        serve.run(application, name="raysys", route_prefix="/")
        for victim in arguments.victims.split(","):
            wait_for(f"{url}/readyz")
            kill_at_s = chance.uniform(0.3, 0.5) * arguments.seconds
            found = _under_load(url, bodies, arguments, victim, kill_at_s, chance)
            results.append(_row(victim, kill_at_s, found))
            print(json.dumps(results[-1]), flush=True)
    return results


def _under_load(
    url: str,
    bodies: Path,
    arguments: argparse.Namespace,
    victim: str,
    kill_at_s: float,
    chance: random.Random,
) -> dict[str, dict[str, Any]]:
    """Return what came of the requests before, while and after a replica was killed."""
    address = urlsplit(url)
    script = Path(__file__).with_name("open_loop.py")
    command = [sys.executable, str(script), str(address.hostname), str(address.port)]
    command += [RECOMMENDATIONS, str(bodies), f"--connections={CONNECTIONS}"]
    command += [f"--rate={arguments.rate}", f"--seconds={arguments.seconds}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        load.stdout.readline()  # it begins
        time.sleep(kill_at_s)
        os.kill(chance.choice([pid for pid, kind in replicas() if kind == victim]), signal.SIGKILL)
        found: dict[str, dict[str, Any]] = json.loads(load.stdout.read())
    return found


def _row(victim: str, kill_at_s: float, found: dict[str, dict[str, Any]]) -> dict[str, Any]:
    failed = {name: row for name, row in found.items() if not name.startswith("200")}
    degraded = found.get("200 degraded", {})
    num_failed = sum(row["count"] for row in failed.values())
    # By when it was due: a request may have waited for a connection since.
    is_at_once = all(row["last_s"] <= kill_at_s + GONE_WITHIN_S for row in failed.values())
    most = CONNECTIONS if victim == "Gateway" else 0
    return {
        "victim": victim,
        "killed_at_s": round(kill_at_s, 2),
        "answered": sum(row["count"] for name, row in found.items() if name.startswith("200")),
        "degraded": degraded.get("count", 0),
        "degraded_until_s": round(degraded.get("last_s", kill_at_s) - kill_at_s, 2),
        "failed": num_failed,
        "failed_how": {name: row["by_second"] for name, row in failed.items()},
        "failed_until_s": round(max((row["last_s"] for row in failed.values()), default=0), 2),
        "p99_ms": found.get("200", {}).get("p99_ms"),
        "max_ms": max(row["max_ms"] for row in found.values()),
        "holds": num_failed <= most and is_at_once,
    }


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
