"""cluster.yaml's nodes, started for real by the launcher's fake multi-node provider.

The provider starts each node as a raylet on this machine and runs no commands. What is tested is
what the autoscaler reads: node types, resources, labels, and how many of which there are.
"""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from ray.autoscaler._private.util import validate_config

from raysys.serving.cluster import free_port

pytestmark = pytest.mark.ray

CLUSTER = Path(__file__).parents[2] / "cluster.yaml"
COMMANDS = [
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
]

# Waits until as many nodes are there as should be, asks for a GPU, and tells what it saw.
DRIVER = """
import json, sys, time
import ray

address, expected = sys.argv[1], int(sys.argv[2])
for attempt in range(100):
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR")
        break
    except (ConnectionError, RuntimeError):
        time.sleep(0.5)

def nodes():
    alive = [node for node in ray.nodes() if node["Alive"]]
    return sorted(
        (node["Labels"].get("raysys-nodes"), node["Resources"].get("CPU", 0),
         node["Resources"].get("GPU", 0))
        for node in alive
    )

while len(nodes()) < expected:
    time.sleep(0.2)
at_first = nodes()

@ray.remote(num_cpus=0, num_gpus=1)
def where():
    here = ray.get_runtime_context().get_node_id()
    return [node["Labels"]["raysys-nodes"] for node in ray.nodes() if node["NodeID"] == here]

with_gpu = ray.get(where.remote())
print(json.dumps({"at_first": at_first, "asked_for_gpu": with_gpu, "then": nodes()}))
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="cy-", dir="/tmp"))
    yield directory
    # The fake provider leaves its nodes behind: every process that was started for this directory.
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if any(f"{directory}/" in argument for argument in process.cmdline()):
                process.kill()
    shutil.rmtree(directory, ignore_errors=True)


def with_fake_provider(gcs_address: str) -> Any:
    """Return cluster.yaml with another provider, and without what only machines need."""
    config = yaml.safe_load(CLUSTER.read_text())
    for node_type in config["available_node_types"].values():
        node_type["node_config"] = {}
    config |= {name: [] for name in COMMANDS}
    config |= {"file_mounts": {}, "cluster_synced_files": [], "auth": {}, "docker": {}}
    config |= {"upscaling_speed": 1.0, "file_mounts_sync_continuously": False}
    config["provider"] = {
        "type": "fake_multinode",
        "gcs_address": gcs_address,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
    }
    return config


def said_by_ray(directory: Path) -> str:
    logs = [directory / "head.log", *directory.glob("ray/session_2*/logs/monitor*")]
    return "\n".join(f"{log.name}:\n{log.read_text()[-3000:]}" for log in logs)


def test_workers_come_with_their_labels_and_gpus_when_something_asks(directory: Path) -> None:
    port = free_port()
    config = with_fake_provider(f"127.0.0.1:{port}")
    validate_config(config)
    (directory / "cluster.yaml").write_text(yaml.safe_dump(config))
    environment = {
        **os.environ,
        "RAY_FAKE_CLUSTER": "1",
        "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": "a-token-of-this-test-alone-0123456789",
    }
    with (directory / "head.log").open("w") as log:
        head = subprocess.Popen(
            [
                str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
                f"--port={port}", "--num-cpus=0", "--labels=raysys-nodes=head",
                "--include-dashboard=false", f"--temp-dir={directory}/ray",
                f"--autoscaling-config={directory}/cluster.yaml",
            ],
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        done = subprocess.run(
            [sys.executable, "-c", DRIVER, f"127.0.0.1:{port}", "3"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
        )
    except subprocess.TimeoutExpired as error:
        raise AssertionError(f"{error.stderr}\n{said_by_ray(directory)}") from error
    finally:
        head.send_signal(signal.SIGTERM)
        head.wait(timeout=60)
    assert done.returncode == 0, f"{done.stderr}\n{said_by_ray(directory)}"
    # What the autoscaler has to say may stand before and after it.
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("{"))
    seen = json.loads(line)
    at_first = [["cpu", 8, 0], ["cpu", 8, 0], ["head", 0, 0]]
    assert seen["at_first"] == at_first
    assert seen["asked_for_gpu"] == ["gpu"]
    assert seen["then"] == sorted([*at_first, ["gpu", 8, 1]])
