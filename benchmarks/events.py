"""Events a second that are acknowledged over HTTP, and whether the next answer knows them.

Real Serve with the fast settings. 32 connections of wrk send calls of ten new events to a gateway;
in turns with it one process makes the same inserts (`plain_inserts.py`): the same tables, indexes
and durability, ten events a transaction. Each has a database of its own. Then, with one event at a
time, a second gateway (an application of its own, so that it is surely another process) is asked
at once after the first has acknowledged it. Run with `make bench-events`; the last line is JSON.

    acknowledged      events/s against one process's inserts, SQLite and PostgreSQL    at least 0.3
    stored            every acknowledged event, once
    next_answer       answers that use the event, of all trials                        all

An answer uses the event when the item that stood on top of that user's list on the second gateway a
moment ago, which the event names, is gone from it: it counts as seen.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from plain_inserts import NUM_ITEMS, NUM_USERS, PER_CALL
from private_postgresql import private_postgresql
from random_release import publish_random_release
from serve_cluster import serving, wait_for
from serve_processes import cpu_seconds
from serve_requests import run_script

from raysys.commands.api_client import ApiClient
from raysys.config import CampaignsConfig, GruConfig, ServingConfig
from raysys.release import Release
from raysys.state.store import StateStore

BAR, CONNECTIONS = 0.3, 32
DATABASES = ("sqlite", "postgresql")
OTHER = "other"
"""The second application."""


def main() -> None:
    """Measure, and end with one JSON line; exit 1 if anything did not hold."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--databases", default=",".join(DATABASES))
    parser.add_argument("--seconds", type=int, default=5, help="of one round of each")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--trials", type=int, default=1_000, help="of the next answer")
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("This benchmark needs the load generator wrk: apt-get install wrk")
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="raysys-", dir="/tmp") as name:
        directory = Path(name)
        release = publish_random_release(
            directory / "releases",
            num_items=NUM_ITEMS,
            num_users=NUM_USERS,
            mean_length=20,
            model=GruConfig(hidden_dimension=64),
        )
        fsync_ms = _fsync_ms(directory / "fsync")
        with serving(directory) as url:
            for kind in arguments.databases.split(","):
                with _databases(kind, directory) as (served, plain):
                    _deploy(served, release, url)
                    results[kind] = _measured(url, served, plain, arguments, directory)
    is_all_well = all(
        row["ratio"] >= BAR
        and not row["errors"]
        and not row["lost"]
        and row["next_answer"]["used"] == row["next_answer"]["trials"]
        for row in results.values()
    )
    more = {"bar": BAR, "fsync_ms": fsync_ms, "cpus": os.cpu_count()}
    load = [round(load, 2) for load in os.getloadavg()]
    print(json.dumps({**results, **more, "load_average": load}), flush=True)
    sys.exit(not is_all_well)


@contextmanager
def _databases(kind: str, directory: Path) -> Iterator[tuple[str, str]]:
    """Give two empty databases: one to serve with, one for the plain process."""
    if kind == "sqlite":
        yield f"sqlite:///{directory}/served.db", f"sqlite:///{directory}/plain.db"
        return
    with private_postgresql() as server:
        for name in ("served", "plain"):
            server.psql(f"CREATE DATABASE {name}")
        yield server.get_uri("served"), server.get_uri("plain")


def _fsync_ms(path: Path, count: int = 100) -> float:
    """Return what it costs here to have 4 KiB on the disk."""
    took_ms = []
    with path.open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fsync(file.fileno())
            took_ms.append(1e3 * (time.perf_counter() - began))
    return round(statistics.median(took_ms), 3)


def _deploy(database: str, release: Release, url: str) -> None:
    from ray import serve

    from raysys.api.build import build_application

    campaigns = CampaignsConfig.of_release(str(release.path.resolve()))
    for name, prefix in (("raysys", "/"), (OTHER, f"/{OTHER}")):
        config = ServingConfig(database=database, application=name, exploration_weight=0.0)
        serve.run(build_application(config, campaigns), name=name, route_prefix=prefix)
        wait_for(f"{url}{prefix.rstrip('/')}/readyz")


def _measured(
    url: str, served: str, plain: str, arguments: argparse.Namespace, directory: Path
) -> dict[str, Any]:
    rounds, acknowledged, in_flight = [], 0, 0
    for number in range(-1, arguments.rounds):  # the first is to warm up
        first = 10**8 * (number + 2)
        one_process = _plain_round(plain, arguments.seconds, first)
        http = _http_round(url, f"round-{number}", arguments.seconds, directory)
        acknowledged += PER_CALL * int(http["requests"])
        in_flight += PER_CALL * CONNECTIONS
        if number < 0:
            continue
        rounds.append({"http": http, "plain": one_process})
        print(
            f"{served.partition(':')[0]}: {http['per_s']:.0f} events/s acknowledged, p99 "
            f"{http['p99_ms']:.1f} ms; one process {one_process['per_s']:.0f}; "
            f"load {os.getloadavg()[0]:.2f}",
            flush=True,
        )
    with closing(StateStore(served, "default", must_exist=True)) as store:
        stored = sum(len(block) for block in store.log.events(store.log.end()))
    next_answer = _next_answers(url, arguments.trials)
    return {
        "ratio": round(
            statistics.median(r["http"]["per_s"] / r["plain"]["per_s"] for r in rounds), 3
        ),
        "events_per_s": _median(rounds, "http", "per_s"),
        "one_process_per_s": _median(rounds, "plain", "per_s"),
        "p50_ms": _median(rounds, "http", "p50_ms"),
        "p99_ms": _median(rounds, "http", "p99_ms"),
        "gateway_cpu_us": _median(rounds, "http", "gateway_cpu_us"),
        "one_process_cpu_us": _median(rounds, "plain", "cpu_us"),
        "errors": sum(r["http"]["errors"] for r in rounds),
        # When wrk ends, calls are under way that it counts no more.
        "lost": max(0, acknowledged - stored, stored - acknowledged - in_flight),
        "next_answer": next_answer,
    }


def _median(rounds: list[dict[str, Any]], which: str, what: str) -> float:
    values: list[float] = [each[which][what] for each in rounds]
    return round(statistics.median(values), 2)


def _plain_round(database: str, seconds: int, first: int) -> dict[str, float]:
    script = Path(__file__).with_name("plain_inserts.py")
    command = [sys.executable, str(script), database, str(seconds), str(first)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    told: dict[str, float] = json.loads(output)
    return told


def _http_round(url: str, name: str, seconds: int, directory: Path) -> dict[str, float]:
    script = directory / "events.lua"
    script.write_text(Path(__file__).with_name("events.lua").read_text())
    before = cpu_seconds(directory)
    run = run_script(
        script,
        url,
        *("/events", name, str(NUM_USERS), str(NUM_ITEMS)),
        connections=CONNECTIONS,
        seconds=seconds,
    )
    spent_s = cpu_seconds(directory)["Gateway"] - before["Gateway"]
    run["per_s"] = PER_CALL * run["rps"]
    run["gateway_cpu_us"] = 1e6 * spent_s / max(1.0, PER_CALL * run["requests"])
    return run


def _next_answers(url: str, trials: int) -> dict[str, float]:
    """Return how many answers of the second gateway used what the first had acknowledged."""
    used, took_ms, now_s = 0, [], int(time.time())
    with closing(ApiClient(url)) as one, closing(ApiClient(url)) as other:
        for number in range(trials):
            user = f"user-{number % NUM_USERS}"
            top = _list(other, user)[0]
            event = {"eventId": f"next-{number}", "eventType": "click", "itemId": top}
            one.put_events("default", user, [{**event, "sentAt": now_s}])
            began = time.perf_counter()
            used += top not in _list(other, user)
            took_ms.append(1e3 * (time.perf_counter() - began))
    p50_ms = round(statistics.median(took_ms), 2)
    return {"trials": trials, "used": used, "answered_after_p50_ms": p50_ms}


def _list(client: ApiClient, user: str) -> list[str]:
    reply = client.post(f"/{OTHER}/recommendations", {"userId": user, "numResults": 10})
    if reply.headers.get("x-raysys-source") != "model":
        raise RuntimeError(f"That is no answer of the model's: {reply.headers}")
    return [item["itemId"] for item in reply.body["itemList"]]


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
