"""The environment of a cluster, and the end of its HAProxy."""

import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from raysys.errors import ServingError
from raysys.serving.cluster import (
    end_haproxy,
    fast_serve_environment,
    free_port,
    haproxy_pids,
    is_port_free,
)

HAPROXY_CONFIG = """frontend prometheus
    bind :9101
frontend http_frontend
    bind HOST:8000
backend app
    server one 127.0.0.1:30000
frontend grpc_frontend
    bind *:9000
listen stats
  bind *:8404
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory whose path is as short as sockets want it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("raysys.serving.cluster._LONGEST_DIRECTORY", 1000)
    return tmp_path


def test_two_clusters_share_no_port_and_no_file(tmp_path: Path, directory: Path) -> None:
    one = fast_serve_environment(directory / "one")
    two = fast_serve_environment(directory / "two")
    private = [name for name in one if name.endswith(("_PORT", "_LOC", "_PATH", "_BASE", "_FILE"))]
    assert len(private) >= 10
    assert [name for name in private if one[name] == two[name]] == []


def test_machines_of_one_cluster_reach_each_other_at_the_same_ports(directory: Path) -> None:
    one = fast_serve_environment(directory, on_several_nodes=True)
    assert one == fast_serve_environment(directory, on_several_nodes=True)
    assert one["RAY_SERVE_ENABLE_HA_PROXY"] == one["RAY_SERVE_THROUGHPUT_OPTIMIZED"] == "1"
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in one
    assert [name for name in one if name.endswith("_PORT")] == []


def test_a_shell_gets_the_environment_of_a_machine_or_of_a_node() -> None:
    program = [sys.executable, "-m", "raysys.serving.cluster"]
    with tempfile.TemporaryDirectory(prefix="e-", dir="/tmp") as short:
        for arguments in ([short], ["--several-nodes", short]):
            shown = subprocess.run(
                [*program, *arguments], check=True, capture_output=True, text=True
            )
            is_single = "export RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER=0\n" in shown.stdout
            assert is_single == (len(arguments) == 1)
            assert "export RAY_SERVE_ENABLE_HA_PROXY=1\n" in shown.stdout
        for arguments in ([], ["--several-nodes"], ["--several", short], [short, short]):
            refused = subprocess.run([*program, *arguments], capture_output=True, text=True)
            assert refused.returncode != 0
            assert "usage:" in refused.stderr


def test_a_directory_that_is_too_long_for_sockets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServingError, match="too long a path for HAProxy's sockets"):
        fast_serve_environment(tmp_path / ("x" * 60))


@pytest.mark.parametrize("host", ["127.0.0.1", "*", "10.0.0.7"])
def test_haproxy_is_started_with_every_page_on_loopback_and_takes_requests_where_it_is_told(
    host: str, directory: Path
) -> None:
    environment = fast_serve_environment(directory)
    wrapper = Path(environment["RAY_SERVE_HAPROXY_BINARY_PATH"])
    wrapper.write_text(
        "".join(
            "exec cat haproxy.cfg\n" if line.startswith("exec ") else line
            for line in wrapper.read_text().splitlines(keepends=True)
        )
    )
    Path("haproxy.cfg").write_text(HAPROXY_CONFIG.replace("HOST", host))
    command = [str(wrapper), "-db", "-f", "haproxy.cfg", "-dR"]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    binds = [line.split()[1] for line in shown.splitlines() if " bind " in line]
    assert binds == ["127.0.0.1:9101", f"{host}:8000", "127.0.0.1:9000", "127.0.0.1:8404"]
    assert "    server one 127.0.0.1:30000" in shown.splitlines()


def test_only_this_clusters_haproxy_is_ended(directory: Path) -> None:
    program = directory / "haproxy"
    os.symlink(sys.executable, program)
    sleep = "import time; time.sleep(60)"
    processes = {}
    for name in ("mine", "other"):
        config = directory / name / "ha" / "node" / "haproxy.cfg"
        processes[name] = subprocess.Popen([str(program), "-c", sleep, "-f", str(config)])
    try:
        assert haproxy_pids(directory / "mine") == [processes["mine"].pid]
        # A child is gone only once its parent has waited for it.
        threading.Thread(target=processes["mine"].wait).start()
        end_haproxy(directory / "mine")
        assert haproxy_pids(directory / "mine") == []
        assert haproxy_pids(directory / "other") == [processes["other"].pid]
    finally:
        for process in processes.values():
            process.kill()
            process.wait()


def test_a_port_on_which_somebody_listens_is_not_free() -> None:
    port = free_port()
    assert is_port_free(port)
    with socket.socket() as server:
        server.bind(("127.0.0.1", port))
        server.listen()
        assert not is_port_free(port)


def test_programs_with_one_seed_do_not_try_the_same_ports() -> None:
    ports = set()
    for _ in range(5):
        random.seed(0)
        ports.add(free_port())
    assert len(ports) > 1
