"""A cluster as an operator starts it, `ray start --head` with a token, and jobs submitted to it.

Ports, files, home directory and token are its own, so it runs beside any other Ray.
"""

import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from ray.job_submission import JobSubmissionClient

from raysys.serving.cluster import fast_serve_environment, free_port

ROOT = Path(__file__).parents[2]


@dataclass
class Job:
    """A submitted job that has ended."""

    status: str
    exit_code: int
    metadata: dict[str, str]
    log: str

    @property
    def own_lines(self) -> list[str]:
        """Its log without what Ray itself tells of the cluster."""
        return [line for line in self.log.splitlines() if "(raylet)" not in line]

    @property
    def result(self) -> dict[str, Any]:
        """Its last line, which is JSON."""
        found: dict[str, Any] = json.loads(self.log.splitlines()[-1])
        return found


@dataclass
class JobsCluster:
    """A running cluster: how to reach it, and the environment of who may."""

    address: str
    dashboard_url: str
    environment: dict[str, str]
    token: str

    def client(self) -> JobSubmissionClient:
        """Return a client of the job API that shows the token."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return JobSubmissionClient(self.dashboard_url, headers=headers)

    def submit(self, job: str, *arguments: str) -> Job:
        """Submit `python jobs/<job>.py` from the top of the repository, and wait for its end."""
        client = self.client()
        submission_id = client.submit_job(
            entrypoint=" ".join(["python", f"jobs/{job}.py", *arguments, "--json"]),
            runtime_env={"working_dir": str(ROOT)},
        )
        while not (info := client.get_job_info(submission_id)).status.is_terminal():
            time.sleep(0.1)
        return Job(
            info.status.value,
            -1 if info.driver_exit_code is None else info.driver_exit_code,
            info.metadata or {},
            client.get_job_logs(submission_id),
        )

    def run(self, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on a node of the cluster; an empty variable is not set."""
        merged = {**self.environment, "RAY_ADDRESS": self.address, **environment}
        return subprocess.run(
            command,
            cwd=ROOT,
            env={name: value for name, value in merged.items() if value},
            capture_output=True,
            text=True,
            timeout=300,
        )


@contextmanager
def jobs_cluster(num_cpus: int = 4) -> Iterator[JobsCluster]:
    """Start a cluster of one node for the block."""
    directory = Path(tempfile.mkdtemp(prefix="raysys-j-", dir="/tmp"))
    token = secrets.token_hex(32)
    home = directory / "home"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").write_text(token)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environment = inherited | {
        **fast_serve_environment(directory / "s"),
        "HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "RAY_AUTH_MODE": "token",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    try:
        address, dashboard_url = _started(environment, directory / "ray", num_cpus)
        yield JobsCluster(address, dashboard_url, environment, token)
    finally:
        _end(home)
        shutil.rmtree(directory, ignore_errors=True)


def _started(environment: dict[str, str], directory: Path, num_cpus: int) -> tuple[str, str]:
    """Run `ray start --head`; return the addresses of the cluster and of its dashboard."""
    for _ in range(3):  # Ray gives a raylet 30 s to start, too little on a busy machine
        port, dashboard_port, agent_port, client_port = (free_port() for _ in range(4))
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head"]
        command += ["--port", str(port), "--dashboard-port", str(dashboard_port)]
        command += ["--dashboard-agent-listen-port", str(agent_port)]
        command += ["--ray-client-server-port", str(client_port)]
        command += ["--node-ip-address", "127.0.0.1", "--num-cpus", str(num_cpus)]
        command += ["--temp-dir", str(directory)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
        if done.returncode == 0:
            return f"127.0.0.1:{port}", f"http://127.0.0.1:{dashboard_port}"
        _end(Path(environment["HOME"]))
    raise AssertionError(done.stdout + done.stderr)


def _end(home: Path) -> None:
    """End every process that was started with this home directory."""
    for signal_name in ("terminate", "kill"):
        found = [process for process in psutil.process_iter() if _home_of(process) == str(home)]
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                getattr(process, signal_name)()
        psutil.wait_procs(found, timeout=5)


def _home_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("HOME")
    except (psutil.Error, OSError):
        return None
