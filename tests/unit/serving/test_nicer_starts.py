"""Processes that Ray starts for a round give way from their beginning on, and no others do."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raysys.precedence import nice_python
from raysys.serving.nicer_starts import NicerStarts

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are files on Linux")
OWN = os.nice(0)
NICENESS = min(19, OWN + 3)

Start = Callable[..., int]


@pytest.fixture
def start() -> Iterator[Start]:
    processes: list[subprocess.Popen[bytes]] = []

    def start(*arguments: str) -> int:
        sleep = [sys.executable, "-c", "import time; time.sleep(60)", *arguments]
        processes.append(subprocess.Popen(sleep))
        return processes[-1].pid

    yield start
    for process in processes:
        process.kill()
        process.wait()


def niceness(pid: int) -> int:
    return os.getpriority(os.PRIO_PROCESS, pid)


def test_of_what_is_started_only_what_is_for_a_round_is_made_nicer(start: Start) -> None:
    starts = NicerStarts(NICENESS)
    context = f'{{"py_executable": "{nice_python(NICENESS)}"}}'
    ours = start("/ray/setup_worker.py", context)
    of_serving = start("/ray/setup_worker.py", "{}")
    other = start("/ray/other.py", context)
    assert starts.look() == [ours]
    assert [niceness(pid) for pid in (ours, of_serving, other)] == [NICENESS, OWN, OWN]
    assert starts.look() == []


def test_a_process_is_known_by_what_it_becomes_soon_after_its_start(tmp_path: Path) -> None:
    starts = NicerStarts(NICENESS, proc=tmp_path)
    process = tmp_path / "999999999"  # there is none
    process.mkdir()
    (process / "cmdline").write_text("raylet")
    assert starts.look() == []
    (process / "cmdline").write_text(f"setup_worker.py\0{nice_python(NICENESS)}")
    assert starts.look() == [999999999]


def test_it_looks_for_as_long_as_the_round_runs(start: Start) -> None:
    before = start("/ray/setup_worker.py", nice_python(NICENESS))
    starts = NicerStarts(NICENESS)
    starts.start()
    ours = start("/ray/setup_worker.py", nice_python(NICENESS))
    deadline = time.monotonic() + 30
    while niceness(ours) != NICENESS:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    starts.stop()
    starts._thread.join(30)
    assert not starts._thread.is_alive()
    assert niceness(before) == OWN
