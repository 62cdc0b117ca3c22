"""Threads that compute, and those that they start, go after others; nobody else does."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from raysys.precedence import let_other_sessions_go_first, let_others_go_first


def niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def niceness_of_a_new_thread() -> int:
    with ThreadPoolExecutor(1) as threads:
        return threads.submit(niceness).result()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has threads of different niceness")
def test_a_thread_and_those_that_it_starts_go_after_others() -> None:
    before = niceness()
    with ThreadPoolExecutor(1, initializer=let_others_go_first, initargs=(3,)) as threads:
        own = threads.submit(niceness).result()
        started = threads.submit(niceness_of_a_new_thread).result()
    expected = min(19, before + 3)
    assert (own, started) == (expected, expected)
    assert (niceness(), niceness_of_a_new_thread()) == (before, before)


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="sessions are not told apart")
def test_a_session_goes_after_others_and_no_other_does() -> None:
    told = "import raysys.precedence as p; p.let_other_sessions_go_first(7);"
    told += "print(open('/proc/self/autogroup').read())"
    before = Path("/proc/self/autogroup").read_text()
    done = subprocess.run(
        [sys.executable, "-c", told],
        start_new_session=True,
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip().endswith(" nice 7")
    assert Path("/proc/self/autogroup").read_text() == before


def test_where_sessions_are_not_told_apart_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(self: Path, _: str) -> None:
        raise FileNotFoundError(self)

    monkeypatch.setattr(Path, "write_text", missing)
    let_other_sessions_go_first(7)
