"""The whole chain as a newcomer runs it, and as an impatient one stops it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from benchmarks.random_release import publish_random_release
from raysys.release import open_release
from raysys.serving.cluster import free_port, is_port_free

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.ray


def start(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start a raysys command in a directory, with relative paths, as a person does."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.Popen(
        [sys.executable, "-m", "raysys", *arguments, "--json"],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def start_demo(directory: Path, port: int, *arguments: str) -> subprocess.Popen[str]:
    cache = str(ROOT / ".cache")
    return start(directory, "demo", "--port", str(port), "--cache", cache, *arguments)


def wait_for(command: subprocess.Popen[str], moment: str) -> None:
    """Return when the command has printed `moment`."""
    assert command.stderr is not None
    shown = ""
    while moment not in shown:
        text = command.stderr.readline()
        assert text, shown
        shown += text


def processes_of(command: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return what the command has started and what those have started."""
    try:
        return psutil.Process(command.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def wait_until_gone(processes: list[psutil.Process]) -> list[str]:
    _, alive = psutil.wait_procs(processes, timeout=30)
    return [" ".join(process.cmdline()) for process in alive if process.is_running()]


def test_the_demo_ends_with_a_list_that_moved_and_leaves_nothing_running(tmp_path: Path) -> None:
    port = free_port()
    demo = start_demo(tmp_path, port, "--exit")
    seen: set[psutil.Process] = set()
    while demo.poll() is None:
        seen.update(processes_of(demo))
        time.sleep(0.5)
    output, shown = demo.communicate()
    assert demo.returncode == 0, shown
    line = json.loads(output.splitlines()[-1])
    assert len(output.splitlines()) == 1
    parity = line["parity"]
    assert parity["num_equal"] == parity["num_users"] == line["import"]["users"]
    assert line["items_new_in_list"] > 0
    before, after = line["new_item"]["before"], line["new_item"]["after"]
    assert before["seed"] == after["seed"]
    assert (after["place"], -after["propensity"]) < (before["place"], -before["propensity"])
    assert line["deploy_seconds"] <= 3 * line["deploy_seconds_empty"]
    models = line["train"]["evaluation"]["models"]
    assert models["gru"]["means"]["ndcg_at_10"] > models["ease"]["means"]["ndcg_at_10"]
    assert models["gru"]["means"]["ndcg_at_10"] > models["popularity"]["means"]["ndcg_at_10"]
    assert wait_until_gone(list(seen)) == []
    assert is_port_free(port)
    open_release(tmp_path / "runs/demo/releases").verify()


@pytest.mark.parametrize(("headline", "seconds_later"), [("Ray 2", 0), ("Train with", 15)])
def test_ctrl_c_at_any_moment_leaves_no_process_and_no_half_release(
    tmp_path: Path, headline: str, seconds_later: float
) -> None:
    demo = start_demo(tmp_path, port := free_port())
    wait_for(demo, headline)
    time.sleep(seconds_later)  # into the step, where Ray's processes work; any place in it will do
    seen = processes_of(demo)
    demo.send_signal(signal.SIGINT)
    output, _ = demo.communicate()
    assert demo.returncode == 130
    assert output == ""
    assert wait_until_gone(seen) == []
    assert is_port_free(port)
    releases = tmp_path / "runs/demo/releases"
    assert not releases.exists() or list(releases.iterdir()) == []


@pytest.mark.parametrize(
    ("moment", "number"), [("Ray 2", signal.SIGINT), ("OpenAPI", signal.SIGTERM)]
)
def test_a_server_that_is_stopped_leaves_no_process_and_a_whole_release(
    tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    release = publish_random_release(tmp_path / "releases")
    server = start(tmp_path, "serve", "--release", "releases", "--port", str(port := free_port()))
    wait_for(server, moment)
    time.sleep(2)  # while it deploys, or while it serves: either way it must end
    seen = processes_of(server)
    server.send_signal(number)
    output, shown = server.communicate()
    assert server.returncode == (0 if moment == "OpenAPI" else 130), shown
    assert (json.loads(output)["release"] == release.name) if output else moment != "OpenAPI"
    assert wait_until_gone(seen) == []
    assert is_port_free(port)
    open_release(release.path).verify()
