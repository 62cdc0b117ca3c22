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

from raysys.release import list_releases, open_release
from raysys.serving.cluster import free_port, is_port_free

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.ray


def start_demo(directory: Path, port: int, *arguments: str) -> subprocess.Popen[str]:
    """Start the demo in a directory, with its own relative paths, as a person does."""
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    command = [sys.executable, "-m", "raysys", "demo", "--json", "--port", str(port)]
    return subprocess.Popen(
        [*command, "--cache", str(ROOT / ".cache"), *arguments],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
    )


def processes_of(demo: subprocess.Popen[str]) -> list[psutil.Process]:
    """Return what the demo started: its session's processes, and those that left it for their own.

    Ray's daemons make sessions of their own, so children are followed while the demo lives.
    """
    try:
        return psutil.Process(demo.pid).children(recursive=True)
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
    assert line["deploy_seconds"] <= 3 * line["deploy_seconds_empty"]
    models = line["train"]["evaluation"]["models"]
    assert models["gru"]["means"]["ndcg_at_10"] > models["ease"]["means"]["ndcg_at_10"]
    assert models["gru"]["means"]["ndcg_at_10"] > models["popularity"]["means"]["ndcg_at_10"]
    assert wait_until_gone(list(seen)) == []
    assert is_port_free(port)
    open_release(tmp_path / "runs/demo/releases").verify()


@pytest.mark.parametrize("moment", ["Ray", "importing", "training", "Deploy", "Your turn"])
def test_ctrl_c_at_any_moment_leaves_no_process_and_no_half_release(
    tmp_path: Path, moment: str
) -> None:
    port = free_port()
    demo = start_demo(tmp_path, port)
    assert demo.stderr is not None
    shown = ""
    while moment not in shown:
        text = demo.stderr.readline()
        assert text, shown
        shown += text
    seen = processes_of(demo)
    demo.send_signal(signal.SIGINT)
    demo.communicate()
    assert demo.returncode in (0, 130)
    assert wait_until_gone(seen) == []
    assert is_port_free(port)
    releases = tmp_path / "runs/demo/releases"
    for name in list_releases(releases):
        open_release(releases / name).verify()
    if releases.exists():
        assert [entry.name for entry in releases.iterdir()] == list_releases(releases)
