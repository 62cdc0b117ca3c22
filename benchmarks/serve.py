"""Requests per second of a served release, against an empty route of the same application.

Starts a Ray of its own with the fast settings, deploys a release with everything on that the demo
has on (database, exclusion of seen items, exploration, recorded lists), and drives these cases by
turns with wrk at 1, 16 and 64 connections:

    empty       POST /empty: reads and checks the same bodies, answers with as many bytes
    plain       POST /recommendations
    filtered    the same with a filter that keeps about a hundredth of the catalogue, once warm
    signed      the same as plain, signed with AWS Signature Version 4 by botocore beforehand
    unrecorded  the same as plain, by a second application with neither recording nor exploration
    search      no wrk: search through Serve against a loop over the same indexes (serve_search.py)

All but `unrecorded` run in the same replicas. Users are drawn by a Zipf law. Run with `make
bench-serve`; the last line is JSON. With `--items` the release is one of two towers that nobody
trained, with the vectors of clustered_vectors.py, 10,000 users and an index as `--index` says;
with several sizes each is measured by itself, and the last line has how the rates relate.

The machine is shared by the load generator, HAProxy and all replicas, so the ratio says more than
the rates. Load of the machine is printed beside them, and the processor time of a request by
process, which other work on the machine hardly changes.
"""

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from clustered_vectors import ClusteredVectors
from serve_cluster import serving, wait_for
from serve_processes import cpu_seconds, profile_route, toggle_profile
from serve_requests import (
    LIST_LENGTH,
    RECOMMENDATIONS,
    create_filter,
    create_key,
    run_wrk,
    write_requests,
)
from serve_search import APPLICATION, search_against_loop, search_route

from raysys.api.app import build_asgi
from raysys.api.asgi import Headers, Receive, Response, Route, Scope, Send
from raysys.api.wire import encode_answer, parse_recommendations
from raysys.config import CampaignsConfig, IndexConfig, ServingConfig
from raysys.errors import ReleaseNotFoundError
from raysys.release import Release, open_release
from raysys.serving.engine import Engine
from raysys.serving.key_ring import KeyRing
from raysys.serving.messages import Answer

CASES = {
    "empty": ("/empty", "plain"),
    "plain": (RECOMMENDATIONS, "plain"),
    "filtered": (RECOMMENDATIONS, "filtered"),
    "signed": (RECOMMENDATIONS, "signed"),
    "unrecorded": (f"/unrecorded{RECOMMENDATIONS}", "plain"),
}
"""The route of each case, and the requests that it is sent."""
AGAINST = {"plain": "empty", "filtered": "plain", "signed": "plain", "unrecorded": "empty"}
BARS_AT_64 = {"plain": 0.4, "filtered": 0.6, "signed": 0.85, "unrecorded": 0.6}
SEARCH_BAR, DEPLOY_BAR = 0.7, 3.0
WIDTH, NUM_USERS = 64, 10_000


def bench_asgi(engine: Engine, config: ServingConfig, keys: KeyRing | None = None) -> Any:
    """Return the application with a route that reads a request and answers with fixed bytes.

    Who shows a key has to show a good one; who shows none is let in, which no real application does
    that has keys.
    """
    ids = [f"item-{number}" for number in range(1000, 1000 + LIST_LENGTH)]
    scores = [0.0012345678901234567 for _ in ids]
    body = encode_answer(Answer(ids, scores, "0" * 32, "release", "model"))

    async def empty(request: bytes, _: Headers) -> Response:
        parse_recommendations(request)
        return Response(body)

    extra = [Route("POST", "/empty", empty, None), search_route(), profile_route()]
    is_open = build_asgi(engine, config, None, extra)
    is_guarded = build_asgi(engine, config, keys)

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        shows_a_key = any(name == b"authorization" for name, _ in scope.get("headers", ()))
        await (is_guarded if shows_a_key else is_open)(scope, receive, send)

    return either


def main() -> None:
    """Measure, print a table, and end with one JSON line."""
    arguments = _arguments()
    if shutil.which("wrk") is None:
        sys.exit("This benchmark needs the load generator wrk: apt-get install wrk")
    results = []
    for num_items in arguments.items or [None]:
        with tempfile.TemporaryDirectory(prefix="raysys-", dir="/tmp") as directory:
            release = _release(arguments, num_items, Path(directory))
            results.append(_measured(release, arguments, Path(directory)))
    if len(results) == 1:
        print(json.dumps(results[0]), flush=True)
        return
    sizes = dict(zip(map(str, arguments.items), results, strict=True))
    rates = [result["plain"][str(max(arguments.connections))]["rps"] for result in results]
    print(json.dumps({"sizes": sizes, "times_slower": round(rates[0] / rates[-1], 3)}), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )

    def numbers(text: str) -> list[int]:
        return [int(number) for number in text.split(",")]

    default = ServingConfig.model_fields
    parser.add_argument("--release", type=Path, default=Path("runs/demo/releases"))
    parser.add_argument(
        "--items", type=numbers, help="of random releases x 64, instead of the one at --release"
    )
    parser.add_argument("--index", default="auto", help="index.factory of those")
    parser.add_argument("--min-recall", type=float, default=0.95, help="of their index")
    parser.add_argument(
        "--max-fresh", type=int, default=1_000, help="items that they may explore, at most a tenth"
    )
    parser.add_argument(
        "--cases",
        default="filtered,signed",
        help=f"beside empty and plain: {', '.join([*CASES, 'search'][2:])} (default: %(default)s)",
    )
    parser.add_argument("--connections", type=numbers, default=[1, 16, 64])
    parser.add_argument("--seconds", type=int, default=5, help="of one run of wrk")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each route and connections")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--gateways", type=int, default=1)
    parser.add_argument(
        "--exploration-weight",
        type=float,
        default=default["exploration_weight"].default,
        help="0 turns exploration off (default: %(default)s)",
    )
    parser.add_argument("--profile", action="store_true", help="say what a gateway's loop does")
    parser.add_argument("--no-deploy-time", action="store_true", help="skip the empty application")
    return parser.parse_args()


def _release(arguments: argparse.Namespace, num_items: int | None, directory: Path) -> Release:
    """Return the newest release of the demo, or a random one."""
    from random_release import Vectors, publish_random_release

    releases = directory / "releases"
    if num_items is not None:
        world = ClusteredVectors(WIDTH)
        release = publish_random_release(
            releases,
            vectors=Vectors(world.items(num_items), world.queries(NUM_USERS)),
            index=IndexConfig(factory=arguments.index, min_recall=arguments.min_recall),
            max_fresh=arguments.max_fresh,
        )
    else:
        try:
            release = open_release(arguments.release)
        except ReleaseNotFoundError:
            release = publish_random_release(releases)
            print(
                f"There is no release at {arguments.release}; measuring a random one of its size."
            )
    manifest = release.manifest
    print(
        f"Release {release.name}: {manifest.model_kind}, {manifest.num_items:,} items x "
        f"{manifest.embedding_dim}, {manifest.num_users:,} users, index {manifest.index_factory}"
    )
    return release


def _measured(release: Release, arguments: argparse.Namespace, directory: Path) -> dict[str, Any]:
    config = ServingConfig(
        database=f"sqlite:///{directory}/state.db",
        num_shards=arguments.shards,
        num_gateways=arguments.gateways,
        exploration_weight=arguments.exploration_weight,
        authentication="required",
    )
    asked = [name for name in arguments.cases.split(",") if name]
    cases = ["empty", "plain", *(name for name in asked if name != "search")]
    kept, key = create_filter(release, config), create_key(config)
    with serving(directory) as url:
        requests = write_requests(release, directory, url, key)
        deploy = _deploy(config, release, url, with_empty=not arguments.no_deploy_time)
        if "unrecorded" in cases:
            _deploy_unrecorded(config, release, url)
        runs = _run_all(url, cases, requests, arguments, directory)
        _check_answer(url, requests["plain"])
        more: dict[str, Any] = {}
        if arguments.profile:
            more["profile"] = _profiled(url, requests["plain"], arguments)
        if "search" in asked:
            more["search"] = search_against_loop(
                url,
                release,
                ClusteredVectors(release.manifest.embedding_dim).queries(2 * NUM_USERS)[NUM_USERS:],
                directory,
                database=config.database,
                num_shards=arguments.shards,
                seconds=arguments.seconds,
                rounds=arguments.rounds,
            )
            more["search_bar"] = SEARCH_BAR
    return {
        "release": release.name,
        "items": release.manifest.num_items,
        "index": _index_note(release),
        "exploration_weight": config.exploration_weight,
        "kept_by_filter": kept,
        **_summaries(runs, cases, arguments.connections),
        **more,
        **deploy,
        "bars_at_64": {name: BARS_AT_64[name] for name in cases if name in BARS_AT_64},
        "deploy_bar": DEPLOY_BAR,
        "cpus": os.cpu_count(),
        "calibration_s": round(_calibration_s(), 3),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _index_note(release: Release) -> dict[str, Any]:
    note = release.read_json("index/index.json")
    return {name: note[name] for name in ("factory", "effort", "index_recall_at_100")}


def _calibration_s() -> float:
    """Return the processor seconds of a fixed loop: machines differ, one of them by the hour."""
    started, total = time.process_time(), 0
    for number in range(3_000_000):
        total += number
    return time.process_time() - started


def _deploy(
    config: ServingConfig, release: Release, url: str, *, with_empty: bool
) -> dict[str, float]:
    """Deploy the application and return the seconds until it is ready, beside an empty one's."""
    from ray import serve

    from raysys.api.build import build_application
    from raysys.commands.empty_app import build_app as build_empty

    num_replicas = 1 + config.num_gateways + config.num_encoders + config.num_shards
    seconds = {}
    if with_empty:
        args = {"num_replicas": num_replicas, "cpus_per_replica": config.cpus_per_shard}
        started = time.monotonic()
        serve.run(build_empty(args), name="empty", route_prefix="/nothing")
        wait_for(f"{url}/nothing")
        seconds["deploy_empty_s"] = round(time.monotonic() - started, 2)
        serve.delete("empty")
    started = time.monotonic()
    serve.run(
        build_application(config, _campaigns(release), bench_asgi),
        name=APPLICATION,
        route_prefix="/",
    )
    wait_for(f"{url}/readyz")
    seconds["deploy_s"] = round(time.monotonic() - started, 2)
    print(f"{num_replicas} replicas, seconds until ready: {seconds}")
    return seconds


def _deploy_unrecorded(config: ServingConfig, release: Release, url: str) -> None:
    from ray import serve

    from raysys.api.build import build_application

    changed = {"record": False, "exploration_weight": 0.0, "application": "unrecorded"}
    bare = config.model_copy(update=changed)
    serve.run(
        build_application(bare, _campaigns(release), bench_asgi),
        name="unrecorded",
        route_prefix="/unrecorded",
    )
    wait_for(f"{url}/unrecorded/readyz")


def _campaigns(release: Release) -> CampaignsConfig:
    return CampaignsConfig.of_release(str(release.path.resolve()))


def _run_all(
    url: str,
    cases: list[str],
    requests: dict[str, Path],
    arguments: argparse.Namespace,
    directory: Path,
) -> dict[tuple[str, int], list[dict[str, float]]]:
    """Alternate the cases, so that what else the machine does meets all alike."""
    for name in cases:  # caches fill, processors wake up
        route, kind = CASES[name]
        run_wrk(url, route, requests[kind], connections=16, seconds=2)
    runs: dict[tuple[str, int], list[dict[str, float]]] = {}
    for connections in arguments.connections:
        for _ in range(arguments.rounds):
            for name in cases:
                route, kind = CASES[name]
                before = cpu_seconds(directory)
                run = run_wrk(
                    url,
                    route,
                    requests[kind],
                    connections=connections,
                    seconds=arguments.seconds,
                )
                for process, seconds in cpu_seconds(directory).items():
                    spent_s = seconds - before.get(process, 0.0)
                    run[f"{process}_cpu_us"] = 1e6 * spent_s / max(1.0, run["requests"])
                runs.setdefault((name, connections), []).append(run)
                print(
                    f"{name:10} {connections:3} connections: {run['rps']:8.1f} requests/s, "
                    f"p50 {run['p50_ms']:6.2f} ms, p99 {run['p99_ms']:6.2f} ms, "
                    f"{run['errors']:.0f} errors, load {os.getloadavg()[0]:.2f}",
                    flush=True,
                )
    return runs


def _profiled(url: str, requests: Path, arguments: argparse.Namespace) -> dict[str, float]:
    connections = max(arguments.connections)
    toggle_profile(url)
    run_wrk(url, RECOMMENDATIONS, requests, connections=connections, seconds=arguments.seconds)
    shares = toggle_profile(url)
    for area, share in shares.items():
        print(f"{share:6.1%} of the loop's time at {connections} connections: {area}")
    return shares


def _summaries(
    runs: dict[tuple[str, int], list[dict[str, float]]], cases: list[str], connections: list[int]
) -> dict[str, Any]:
    """Return the medians of all cases, and how they relate."""
    table = {name: {str(c): _summary(runs[name, c]) for c in connections} for name in cases}
    related: dict[str, dict[str, dict[str, float]]] = {"ratio": {}, "p50_times": {}}
    for name, against in AGAINST.items():
        if name not in cases:
            continue
        for c in map(str, connections):
            one, other = table[name][c], table[against][c]
            ratio = round(one["rps"] / other["rps"], 3)
            related["ratio"].setdefault(name, {})[c] = ratio
            times = round(one["p50_ms"] / other["p50_ms"], 1)
            related["p50_times"].setdefault(name, {})[c] = times
            print(f"{name} against {against} at {c:>2} connections: {ratio:.3f}, p50 {times} times")
    errors = sum(run["errors"] for each in runs.values() for run in each)
    return {**table, **related, "errors": errors}


def _summary(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each number, and all errors."""
    medians = {key: round(statistics.median(run[key] for run in runs), 2) for key in runs[0]}
    return {**medians, "errors": sum(run["errors"] for run in runs)}


def _check_answer(url: str, bodies: Path) -> None:
    """Refuse to report the speed of an answer that is not the real one."""
    with bodies.open("rb") as lines:
        body = next(lines).strip()
    headers = {"Content-Type": "text/json"}
    request = urllib.request.Request(f"{url}{RECOMMENDATIONS}", body, headers)
    with urllib.request.urlopen(request, timeout=10) as response:
        answer, headers = json.load(response), response.headers
    if headers["x-raysys-source"] != "model" or headers["x-raysys-degraded"]:
        raise RuntimeError(f"The answers are not the model's: {dict(headers)}")
    if len(answer["itemList"]) != LIST_LENGTH:
        raise RuntimeError(f"{len(answer['itemList'])} items were answered, not {LIST_LENGTH}.")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
