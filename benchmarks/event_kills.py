"""Parts are killed while clients send each event until it is acknowledged: none lost, none twice.

Two gateways on PostgreSQL, eight clients that send calls of one to ten events, each again with the
same ids until it is answered with 200. At a moment that the seed chooses SIGKILL meets a gateway,
the Serve controller or the database's server, which is started again a moment later. Afterwards
every acknowledged event must be stored, each stored once, and the state of every user must hold
each of their events once. `make soak` does it 20 times, tests/wiring/test_failures.py once for each
victim. The last line is JSON.
"""

import argparse
import json
import os
import random
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from event_clients import (
    NUM_ITEMS,
    Clients,
    is_clean,
    kill_postgresql,
    kill_process,
    run_through,
)
from private_postgresql import private_postgresql
from random_release import publish_random_release
from serve_cluster import serving, wait_for

from raysys.config import CampaignsConfig, GruConfig, ServingConfig

VICTIMS = ("Gateway", "ServeController", "PostgreSQL")


def main() -> None:
    """Kill so many times, and end with one JSON line; exit 1 if anything was lost."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="raysys-", dir="/tmp") as name:
        outcomes = _outcomes(Path(name), arguments.runs, chance)
    totals = {
        what: sum(outcome[what] for outcome in outcomes)
        for what in ("acknowledged", "retries", "lost", "twice", "wrong_states")
    }
    is_all_well = all(map(is_clean, outcomes))
    told = {"seed": arguments.seed, "runs": len(outcomes), **totals, "holds": is_all_well}
    print(json.dumps(told), flush=True)
    sys.exit(not is_all_well)


def _outcomes(directory: Path, num_runs: int, chance: random.Random) -> list[dict[str, Any]]:
    from raysys.api.build import build_application

    release = publish_random_release(
        directory / "releases",
        num_items=NUM_ITEMS,
        num_users=100,
        mean_length=20,
        model=GruConfig(hidden_dimension=16),
    )
    campaigns = CampaignsConfig.of_release(str(release.path.resolve()))
    outcomes = []
    with private_postgresql() as server, serving(directory) as url:
        from ray import serve

        server.psql("CREATE DATABASE shop")
        config = ServingConfig(database=server.get_uri("shop"), num_gateways=2)
        serve.run(build_application(config, campaigns), name="raysys", route_prefix="/")
        root = psutil.Process(os.getpid())

        def kill(victim: str) -> None:
            if victim == "PostgreSQL":
                kill_postgresql(server, chance.uniform(0, 2))
            else:
                kill_process(root, victim)

        for number in range(num_runs):
            wait_for(f"{url}/readyz")
            victim = VICTIMS[number % len(VICTIMS)]
            clients = Clients(url, f"run-{number}", chance.randrange(10**9))
            outcome = run_through(clients, config.database, partial(kill, victim), chance)
            outcomes.append(outcome)
            print(json.dumps({"run": number, "victim": victim, **outcome}), flush=True)
    return outcomes


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
