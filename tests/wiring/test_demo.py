"""The whole chain as a newcomer runs it, and as an impatient one stops it."""

import json
import signal
import time
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from benchmarks.random_release import publish_random_release
from raysys.release import open_release
from raysys.serving.cluster import free_port, is_port_free
from tests.wiring.running_command import RunningCommand, running_command

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.ray


def demo(directory: Path, port: int, *arguments: str) -> AbstractContextManager[RunningCommand]:
    cache = str(ROOT / ".cache")
    return running_command(
        "demo", "--port", str(port), "--cache", cache, *arguments, directory=directory
    )


def test_the_demo_ends_with_a_list_that_moved_and_leaves_nothing_running(tmp_path: Path) -> None:
    port = free_port()
    with demo(tmp_path, port, "--exit") as command:
        line = command.result()
        assert len(command.output.splitlines()) == 1
        assert command.left_running() == []
    parity = line["parity"]
    assert parity["num_equal"] == parity["num_users"] == line["import"]["users"]
    assert line["items_new_in_list"] > 0
    before, after = line["new_item"]["before"], line["new_item"]["after"]
    assert before["seed"] == after["seed"]
    assert (after["place"], -after["propensity"]) < (before["place"], -before["propensity"])
    assert line["deploy_seconds"] <= 3 * line["deploy_seconds_empty"]
    models = line["train"]["evaluation"]["models"]
    assert models["gru"]["means"]["ndcg_at_10"] > models["recency EASE"]["means"]["ndcg_at_10"]
    assert models["gru"]["means"]["ndcg_at_10"] > models["popularity"]["means"]["ndcg_at_10"]
    assert is_port_free(port)
    open_release(tmp_path / "runs/demo/releases").verify()


@pytest.mark.parametrize(("headline", "seconds_later"), [("Ray 2", 0), ("Train with", 15)])
def test_ctrl_c_at_any_moment_leaves_no_process_and_no_half_release(
    tmp_path: Path, headline: str, seconds_later: float
) -> None:
    with demo(tmp_path, port := free_port()) as command:
        command.wait_for(headline)
        time.sleep(seconds_later)  # into the step, where Ray's processes work; any place will do
        command.process.send_signal(signal.SIGINT)
        output, _ = command.process.communicate()
        assert command.process.returncode == 130
        assert output == ""
        assert command.left_running() == []
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
    port = free_port()
    asked = ("serve", "--release", "releases", "--port", str(port))
    with running_command(*asked, directory=tmp_path) as server:
        server.wait_for(moment)
        time.sleep(2)  # while it deploys, or while it serves: either way it must end
        server.process.send_signal(number)
        output, shown = server.process.communicate()
        assert server.process.returncode == (0 if moment == "OpenAPI" else 130), shown
        assert server.left_running() == []
    assert (json.loads(output)["releases"] == [release.name]) if output else moment != "OpenAPI"
    assert is_port_free(port)
    open_release(release.path).verify()
