"""A raysys command as a program of its own, together with every process that comes of it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import psutil

from raysys import storage
from raysys.serving.cluster import process_files

_MARK = "RAYSYS_TEST_COMMAND"


def hear_ctrl_c() -> None:
    """Undo what a shell does to programs that it runs in the background: they ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class RunningCommand:
    """Runs from the moment it is made. What it starts inherits a mark, so that it can be found.

    Args:
        arguments: of `raysys`, to which `--json` is added.
        directory: where it runs.
    """

    def __init__(self, *arguments: str, directory: Path) -> None:
        self.output = ""
        self._mark = uuid4().hex
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "raysys", *arguments, "--json"],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environment, _MARK: self._mark},
            start_new_session=True,
            preexec_fn=hear_ctrl_c,
        )

    def wait_for(self, moment: str) -> None:
        """Return when the command has shown `moment`."""
        assert self.process.stderr is not None
        shown = ""
        while moment not in shown:
            text = self.process.stderr.readline()
            assert text, shown
            shown += text

    def result(self) -> dict[str, Any]:
        """Wait for a good end; return the last line that was written, which is JSON."""
        self.output, shown = self.process.communicate()
        assert self.process.returncode == 0, shown
        found: dict[str, Any] = json.loads(self.output.splitlines()[-1])
        return found

    def left_running(self, timeout_s: float = 30.0) -> list[str]:
        """Return the command lines of what still runs after that time; to be called at the end."""
        _, alive = psutil.wait_procs(self._started(), timeout=timeout_s)
        return [_command_line(process) for process in alive]

    def kill(self) -> None:
        """Kill the command alone, as a crash would, then what it left, and remove Ray's files."""
        self.process.kill()
        self.process.communicate()
        left = self._started()
        directories = set(re.findall(r"/tmp/raysys-\w+", " ".join(map(_command_line, left))))
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, timeout=10)
        for directory in directories:
            storage.remove_tree(Path(directory))

    def _started(self) -> list[psutil.Process]:
        mark = f"{_MARK}={self._mark}".encode()
        found = []
        for pid, environment in process_files("environ"):
            if mark in environment and pid != self.process.pid:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append(psutil.Process(pid))
        return found


@contextmanager
def running_command(*arguments: str, directory: Path) -> Iterator[RunningCommand]:
    """Run a command for the block; nothing of it survives the block, however that ends."""
    command = RunningCommand(*arguments, directory=directory)
    try:
        yield command
    finally:
        command.kill()


def _command_line(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""
