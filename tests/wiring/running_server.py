"""`raysys serve`, as an operator starts and ends it."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from raysys.commands.api_client import ApiClient, Reply
from raysys.errors import ServingError
from raysys.release import Release
from raysys.serving.cluster import free_port, is_port_free
from tests.wiring.running_command import hear_ctrl_c


@dataclass
class Server:
    """A running `raysys serve` and the release that it serves."""

    release: Release
    port: int
    process: subprocess.Popen[bytes]
    output: Path
    replies: list[Reply] = field(default_factory=list)
    """To every request for recommendations that it was sent."""
    num_events: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def recommend(self, user_id: str, num_results: int = 25, weight: float = 0) -> Reply:
        with contextlib.closing(ApiClient(self.url)) as client:
            reply = client.recommend(user_id, num_results=num_results, exploration_weight=weight)
        self.replies.append(reply)
        return reply

    def parts(self) -> list[psutil.Process]:
        """Return every process that belongs to it; none once it has ended."""
        if self.process.poll() is not None:
            return []
        return psutil.Process(self.process.pid).children(recursive=True)

    def replicas(self, deployment: str) -> list[psutil.Process]:
        """Return the processes of a deployment, the newest last."""
        named = [
            part
            for part in self.parts()
            if any(f"ServeReplica:raysys:{deployment}" in word for word in _words(part))
        ]
        return sorted(named, key=lambda part: part.create_time())

    def gateways(self) -> list[str]:
        """Return the URL of each gateway itself, without HAProxy before it."""
        found = []
        for replica in self.replicas("Gateway"):
            settings = replica.environ()
            first, last = (
                int(settings[f"RAY_SERVE_DIRECT_INGRESS_{end}_HTTP_PORT"]) for end in ("MIN", "MAX")
            )
            found += [
                f"http://127.0.0.1:{each.laddr.port}"
                for each in replica.net_connections("tcp")
                if each.status == psutil.CONN_LISTEN and first <= each.laddr.port <= last
            ]
        return found


@contextmanager
def running_server(
    directory: Path,
    release: Release,
    environment: Mapping[str, str],
    *arguments: str,
    database: str | None = None,
) -> Iterator[Server]:
    """Serve a release for the block; nothing of it may be left after it.

    Args:
        directory: where its output goes, and its database.
        environment: of the server, beside what this process has.
        arguments: more of `raysys serve`.
        database: the URL of another database.
    """
    port = free_port()
    command = [sys.executable, "-m", "raysys", "serve", "--port", str(port), *arguments]
    command += ["--release", str(release.path), "--database"]
    command += [database or f"sqlite:///{directory}/state.db"]
    output = directory / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            preexec_fn=hear_ctrl_c,
        )
    server = Server(release, port, process, output)
    parts: list[psutil.Process] = []
    try:
        wait_until(lambda: is_ready(server), 180, server)
        yield server
    finally:
        parts = server.parts()
        process.send_signal(signal.SIGINT)  # as Ctrl-C does
        try:
            process.wait(timeout=120)
        finally:
            _, alive = psutil.wait_procs(parts, timeout=20)
            names = [part.name() for part in alive]
            for part in alive:
                part.kill()
    assert names == [], output.read_text()
    assert process.returncode == 0, output.read_text()
    assert is_port_free(port)


def wait_until(condition: Any, timeout_s: float, server: Server) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if server.process.poll() is not None:
            code, output = server.process.returncode, server.output.read_text()
            raise AssertionError(f"raysys serve ended with {code}:\n{output}")
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def is_ready(server: Server) -> bool:
    with contextlib.closing(ApiClient(server.url, timeout_s=5)) as client:
        try:
            # Of several gateways each switches for itself, and HAProxy asks them by turns.
            return all(client.get("/readyz").status == 200 for _ in range(4))
        except ServingError:  # nothing listens yet
            return False


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended
        return []
