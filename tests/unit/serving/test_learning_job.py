"""How a round of learning is submitted as a job, and what its row says where that ends."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray.job_submission
from ray.job_submission import JobInfo, JobStatus

from raysys.config import LearningConfig
from raysys.serving import learning_job
from raysys.serving.learning_job import LearningJob, entrypoint_of, shortened


class Client:
    """Takes jobs and runs none."""

    submitted: dict[str, Any]
    status = JobStatus.PENDING

    def __init__(self, address: str) -> None:
        assert address == "http://dashboard"

    def submit_job(self, **told: Any) -> str:
        Client.submitted = told
        return "raysubmit_1"

    def get_job_info(self, job: str) -> JobInfo:
        return JobInfo(status=Client.status, entrypoint="", message="exit code -9")


class Starts:
    """Looks at no process."""

    looking: list[int] = []

    def __init__(self, niceness: int) -> None:
        self.niceness = niceness

    def start(self) -> None:
        Starts.looking.append(self.niceness)

    def stop(self) -> None:
        Starts.looking.clear()


@pytest.fixture(autouse=True)
def _dashboard(monkeypatch: pytest.MonkeyPatch) -> None:
    Starts.looking.clear()
    monkeypatch.setattr(learning_job, "NicerStarts", Starts)
    monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", Client)
    monkeypatch.setattr(learning_job, "_dashboard_url", lambda: "http://dashboard")


@pytest.mark.parametrize("niceness", [0, 7])
def test_all_of_a_job_is_as_nice_as_its_round_is_to_be(niceness: int) -> None:
    learning = LearningConfig(dataset="/d", releases="/r", niceness=niceness)
    assert LearningJob().start(learning) == "raysubmit_1"
    assert Starts.looking == [niceness]
    assert Client.submitted["entrypoint_label_selector"] is None
    environment = Client.submitted["runtime_env"]
    if niceness:  # of the process that Ray starts for the job, before the entrypoint
        assert environment == {"py_executable": f"nice -n 7 {sys.executable}"}
    else:
        assert environment is None


def test_processes_are_looked_at_until_the_job_has_ended() -> None:
    job = LearningJob()
    job.start(LearningConfig(dataset="/d", releases="/r"))
    Client.status = JobStatus.RUNNING
    assert job.ended() is None
    assert Starts.looking == [15]
    Client.status = JobStatus.FAILED
    assert job.ended() == "job raysubmit_1 of the dashboard is FAILED. exit code -9"
    assert Starts.looking == []


def test_a_round_is_led_on_the_nodes_that_are_for_learning() -> None:
    nodes = {"raysys-nodes": "learning"}
    LearningJob().start(LearningConfig(dataset="/d", releases="/r", nodes=nodes))
    assert Client.submitted["entrypoint_label_selector"] == nodes


@pytest.mark.parametrize(
    ("cores", "said", "threads"), [(16, None, "8"), (1, None, "1"), (8, "3", "3")]
)
def test_a_round_is_nice_and_leaves_half_of_the_cores_before_python_starts(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cores: int,
    said: str | None,
    threads: str,
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    python = tmp_path / "a python"
    python.write_text(
        '#!/bin/sh\npwd; echo "$@"; echo $OMP_NUM_THREADS; cat /proc/self/autogroup\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.chdir(tmp_path)
    done = subprocess.run(
        entrypoint_of(7), shell=True, start_new_session=True, capture_output=True, text=True
    )
    where, learn, told, *session = done.stdout.splitlines()
    assert (where, learn) == (str(tmp_path), "-m raysys learn now --niceness 7 --json")
    assert told == threads
    if Path("/proc/self/autogroup").exists():
        assert session[0].endswith(" nice 7")


def test_a_row_tells_how_a_job_ended_and_the_end_of_its_log() -> None:
    log = 300 * "line\n" + "Killed"
    assert shortened(f"exit code -9, last logs:\n{log}\n") == (
        f"exit code -9, last logs: … {log[-399:]}"
    )
    assert shortened("The job supervisor died.") == "The job supervisor died."
