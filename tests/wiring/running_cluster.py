"""A cluster of several nodes on this machine, from a test: see `cluster_process`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class RunningCluster:
    """`address` is what RAY_ADDRESS names."""

    process: "subprocess.Popen[str]"
    address: str

    def kill(self, node: int) -> None:
        """Kill a node by its number; that of the head node is 0."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{node}\n")
        self.process.stdin.flush()


def cluster_environment(token: str, **more: str) -> dict[str, str]:
    """Return what the processes of a cluster and its clients need beside what this one has."""
    return {**more, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token, "PYTHONPATH": str(ROOT)}


@contextmanager
def running_cluster(
    directory: Path, nodes: list[dict[str, Any]], environment: dict[str, str], *, port: int
) -> Iterator[RunningCluster]:
    """Run a cluster for the time of the block.

    Args:
        directory: short, since Ray's sockets lie below it.
        port: of the dashboard.
    """
    arguments = [str(directory), str(port), json.dumps(nodes)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.wiring.cluster_process", *arguments],
        env=environment,
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield RunningCluster(process, json.loads(process.stdout.readline())["address"])
    finally:
        process.communicate(timeout=120)  # closes its input
