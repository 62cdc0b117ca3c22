"""Requests per second of a served release, against an empty route of the same application.

Starts a Ray of its own with the fast settings, deploys a release with everything on that the demo
has on (database, exclusion of seen items, exploration, recorded slates), and drives four cases by
turns with wrk at 1, 16 and 64 connections:

    empty      POST /empty: reads and checks the same bodies, answers with as many bytes
    plain      POST /recommendations
    filtered   the same with a filter that keeps about a hundredth of the catalogue, once warm
    signed     the same as plain, signed with AWS Signature Version 4 by botocore beforehand

All of them run in the same replicas. Users are drawn by a Zipf law. Run with `make bench-serve`;
the last line is JSON.

The machine is shared by the load generator, HAProxy and all replicas, so the ratio says more than
the rates. Load of the machine is printed beside them.
"""

import argparse
import base64
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from raysys.api.app import build_asgi
from raysys.api.asgi import Headers, Receive, Response, Route, Scope, Send
from raysys.api.wire import encode_answer, parse_recommendations
from raysys.config import GruConfig, ServingConfig
from raysys.dataset.histories import Histories
from raysys.dataset.item_table import open_item_table
from raysys.errors import ReleaseNotFoundError
from raysys.release import HISTORIES, ITEM_TABLE, Release, open_release
from raysys.serving.cluster import end_haproxy, fast_serve_environment, free_port
from raysys.serving.engine import Engine
from raysys.serving.key_ring import KeyRing
from raysys.serving.messages import Answer

CONNECTIONS = (1, 16, 64)
CASES = {
    "empty": "/empty",
    "plain": "/recommendations",
    "filtered": "/recommendations",
    "signed": "/recommendations",
}
AGAINST = {"plain": "empty", "filtered": "plain", "signed": "plain"}
BARS_AT_64 = {"plain": 0.4, "filtered": 0.6, "signed": 0.85}
DEPLOY_BAR = 3.0
LIST_LENGTH = 25
KEPT_SHARE = 0.01
FILTER = "a-hundredth"
REGION = "us-east-1"

WRK_SCRIPT = """
local requests, at = {}, 0
function init(arguments)
    local path = arguments[1]
    for line in io.lines(arguments[2]) do
        local headers, name = {["Content-Type"] = "application/json"}, nil
        local body = line:match("[^\\t]*$")
        for part in line:sub(1, #line - #body):gmatch("[^\\t]+") do
            if name then headers[name], name = part, nil else name = part end
        end
        requests[#requests + 1] = wrk.format("POST", path, headers, body)
    end
end
function request()
    at = at % #requests + 1
    return requests[at]
end
function done(summary, latency, requests)
    local e = summary.errors
    print(string.format('RESULT {"rps": %.1f, "p50_ms": %.2f, "p99_ms": %.2f, "errors": %d}',
        summary.requests / summary.duration * 1e6, latency:percentile(50) / 1e3,
        latency:percentile(99) / 1e3, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


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

    is_open = build_asgi(engine, config, None, [Route("POST", "/empty", empty, None)])
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
    with tempfile.TemporaryDirectory(prefix="raysys-", dir="/tmp") as directory:
        release = _release(arguments, Path(directory))
        result = _measured(release, arguments, Path(directory))
    print(json.dumps(result), flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--release", type=Path, default=Path("runs/demo/releases"))
    parser.add_argument(
        "--items", type=int, help="of a random release x 64, instead of the one at --release"
    )
    parser.add_argument(
        "--cases", default=",".join(CASES), help="beside empty and plain (default: %(default)s)"
    )
    parser.add_argument("--seconds", type=int, default=5, help="of one run of wrk")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each route and connections")
    parser.add_argument("--shards", type=int, default=2)
    parser.add_argument("--gateways", type=int, default=1)
    parser.add_argument(
        "--exploration-weight",
        type=float,
        default=ServingConfig.model_fields["exploration_weight"].default,
        help="0 turns exploration off (default: %(default)s)",
    )
    parser.add_argument("--no-deploy-time", action="store_true", help="skip the empty application")
    return parser.parse_args()


def _release(arguments: argparse.Namespace, directory: Path) -> Release:
    """Return the newest release of the demo, or a random one."""
    from benchmarks.random_release import publish_random_release

    releases = directory / "releases"
    if arguments.items is not None:
        model = GruConfig(hidden_dimension=64)
        release = publish_random_release(releases, num_items=arguments.items, model=model)
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
        release=str(release.path.resolve()),
        database=f"sqlite:///{directory}/state.db",
        num_shards=arguments.shards,
        num_gateways=arguments.gateways,
        exploration_weight=arguments.exploration_weight,
        authentication="required",
    )
    cases = {name: CASES[name] for name in ("empty", "plain", *arguments.cases.split(","))}
    kept = _create_filter(release, config)
    key = _create_key(config)
    with _serving(directory) as url:
        requests = _write_requests(release, directory, url, key)
        deploy = _deploy(config, url, with_empty=not arguments.no_deploy_time)
        runs = _run_all(url, cases, requests, arguments, directory)
        _check_answer(url, requests["plain"])
    table = {name: {str(c): _summary(runs[name, c]) for c in CONNECTIONS} for name in cases}
    ratios = {
        name: {
            str(c): round(table[name][str(c)]["rps"] / table[AGAINST[name]][str(c)]["rps"], 3)
            for c in CONNECTIONS
        }
        for name in cases
        if name in AGAINST
    }
    for name, found in ratios.items():
        for c, ratio in found.items():
            print(f"{name} against {AGAINST[name]} at {c:>2} connections: {ratio:.3f}")
    errors = sum(run["errors"] for each in runs.values() for run in each)
    return {
        "release": release.name,
        "exploration_weight": config.exploration_weight,
        "kept_by_filter": kept,
        **table,
        "ratio": ratios,
        "errors": errors,
        **deploy,
        "bars_at_64": BARS_AT_64,
        "deploy_bar": DEPLOY_BAR,
        "cpus": os.cpu_count(),
        "calibration_s": round(_calibration_s(), 3),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _calibration_s() -> float:
    """Return the processor seconds of a fixed loop: machines differ, one of them by the hour."""
    started, total = time.process_time(), 0
    for number in range(3_000_000):
        total += number
    return time.process_time() - started


@contextmanager
def _serving(directory: Path) -> Iterator[str]:
    """Run a Ray with the fast settings; give the address of Serve's HTTP."""
    os.environ.update(fast_serve_environment(directory))
    import ray
    from ray import serve

    port = free_port()
    ray.init(
        address="local",
        num_cpus=max(4, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=str(directory / "ray"),
    )
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()
        ray.shutdown()
        end_haproxy(directory)


def _deploy(config: ServingConfig, url: str, *, with_empty: bool) -> dict[str, float]:
    """Deploy the application and return the seconds until it is ready, beside an empty one's."""
    from ray import serve

    from raysys.api.build import build_application
    from raysys.commands.empty_app import build_app as build_empty

    num_replicas = config.num_gateways + config.num_encoders + config.num_shards
    seconds = {}
    if with_empty:
        args = {"num_replicas": num_replicas, "cpus_per_replica": config.cpus_per_shard}
        started = time.monotonic()
        serve.run(build_empty(args), name="empty", route_prefix="/nothing")
        _wait_for(f"{url}/nothing")
        seconds["deploy_empty_s"] = round(time.monotonic() - started, 2)
        serve.delete("empty")
    started = time.monotonic()
    serve.run(build_application(config, bench_asgi), name="raysys", route_prefix="/")
    _wait_for(f"{url}/readyz")
    seconds["deploy_s"] = round(time.monotonic() - started, 2)
    print(f"{num_replicas} replicas, seconds until ready: {seconds}")
    return seconds


def _wait_for(url: str, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _create_filter(release: Release, config: ServingConfig) -> float:
    """Name a filter that keeps about a hundredth of the items; return the share that it keeps."""
    table = open_item_table(release.file(ITEM_TABLE))
    counts = [
        (abs(row["counts"] / len(table) - KEPT_SHARE), column, row["values"], row["counts"])
        for column in table.column_names
        if pa.types.is_string(table.schema.field(column).type)
        and column not in ("item_id", "title")
        for row in table.column(column).value_counts().to_pylist()
        if row["values"] and "|" not in row["values"]
    ]
    _, column, value, count = min(counts)
    expression = f'INCLUDE ItemID WHERE Items.{column.upper()} IN ("{value}")'
    _raysys("filter", "create", FILTER, expression, config)
    return float(round(count / len(table), 4))


def _create_key(config: ServingConfig) -> dict[str, str]:
    """Make a signing key, as an operator does."""
    os.environ["RAYSYS_MASTER_KEY"] = base64.b64encode(os.urandom(32)).decode()
    return _raysys("keys", "create", "--scopes", "read", config)


def _raysys(*words: str | ServingConfig) -> Any:
    *command, config = words
    arguments = [*map(str, command), "--database", config.database, "--json"]
    output = subprocess.run(
        [sys.executable, "-m", "raysys", *arguments], check=True, capture_output=True, text=True
    ).stdout
    return json.loads(output.splitlines()[-1])


def _write_requests(
    release: Release, directory: Path, url: str, key: dict[str, str], count: int = 20_000
) -> dict[str, Path]:
    """Write the requests of each case, one a line: headers and body. Users follow a Zipf law."""
    user_ids = Histories.open(release.file(HISTORIES)).user_ids.to_pylist()
    rng = np.random.default_rng(0)
    share = 1 / np.arange(1, len(user_ids) + 1)
    drawn = rng.choice(rng.permutation(user_ids), count, p=share / share.sum())
    members = [{"userId": str(user), "numResults": LIST_LENGTH} for user in drawn]
    plain = [json.dumps(each) for each in members]
    lines = {
        "empty": plain,
        "plain": plain,
        "filtered": [json.dumps({**each, "filterArn": FILTER}) for each in members],
        "signed": [_signed(f"{url}{CASES['signed']}", body, key) + body for body in plain],
    }
    paths = {name: directory / f"{name}.txt" for name in lines}
    for name, path in paths.items():
        path.write_text("\n".join(lines[name]) + "\n", encoding="utf-8")
    return paths


def _signed(url: str, body: str, key: dict[str, str]) -> str:
    """Return the headers of a signature, each name and value with a tab behind it."""
    request = AWSRequest("POST", url, data=body)
    credentials = Credentials(key["key_id"], key["secret"])
    SigV4Auth(credentials, "personalize", REGION).add_auth(request)
    names = ("Authorization", "X-Amz-Date")
    return "".join(f"{name}\t{request.headers[name]}\t" for name in names)


def _run_all(
    url: str,
    cases: dict[str, str],
    requests: dict[str, Path],
    arguments: argparse.Namespace,
    directory: Path,
) -> dict[tuple[str, int], list[dict[str, float]]]:
    """Alternate the cases, so that what else the machine does meets all alike."""
    script = directory / "post.lua"
    script.write_text(WRK_SCRIPT, encoding="utf-8")
    for name, route in cases.items():  # caches fill, processors wake up
        _wrk(url, route, requests[name], script, connections=16, seconds=2)
    runs: dict[tuple[str, int], list[dict[str, float]]] = {}
    for connections in CONNECTIONS:
        for _ in range(arguments.rounds):
            for name, route in cases.items():
                run = _wrk(url, route, requests[name], script, connections, arguments.seconds)
                runs.setdefault((name, connections), []).append(run)
                print(
                    f"{name:8} {connections:3} connections: {run['rps']:8.1f} requests/s, "
                    f"p50 {run['p50_ms']:6.2f} ms, p99 {run['p99_ms']:6.2f} ms, "
                    f"{run['errors']:.0f} errors, load {os.getloadavg()[0]:.2f}",
                    flush=True,
                )
    return runs


def _wrk(
    url: str, route: str, bodies: Path, script: Path, connections: int, seconds: int
) -> dict[str, float]:
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(script), url, "--", route, str(bodies)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"RESULT (\{.*\})", output)
    if found is None:
        raise RuntimeError(f"wrk printed no result:\n{output}")
    result: dict[str, float] = json.loads(found[1])
    return result


def _summary(runs: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each number, and all errors."""
    medians = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
    return {**medians, "errors": sum(run["errors"] for run in runs)}


def _check_answer(url: str, bodies: Path) -> None:
    """Refuse to report the speed of an answer that is not the real one."""
    with bodies.open("rb") as lines:
        body = next(lines).strip()
    request = urllib.request.Request(f"{url}/recommendations", body, {"Content-Type": "text/json"})
    with urllib.request.urlopen(request, timeout=10) as response:
        answer, headers = json.load(response), response.headers
    if headers["x-raysys-source"] != "model" or headers["x-raysys-degraded"]:
        raise RuntimeError(f"The answers are not the model's: {dict(headers)}")
    if len(answer["itemList"]) != LIST_LENGTH:
        raise RuntimeError(f"{len(answer['itemList'])} items were answered, not {LIST_LENGTH}.")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    main()
