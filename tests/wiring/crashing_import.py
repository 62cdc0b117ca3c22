"""An import that kills itself, or one of its workers, at a moment of its progress."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import ray

from raysys import storage
from raysys.logs.call import Call
from raysys.logs.calls import run_calls
from raysys.logs.importing import import_log
from raysys.logs.manifest import DatasetManifest, ImportMode

_CHANGES = (
    "staging_directory",
    "move_directory",
    "write_text",
    "remove_file",
    "remove_leftovers",
    "remove_tree",
)
_NUM_SHARDS = 3

Step = tuple[int, int]
"""A call, by its number, and which of its reports."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A call whose worker is killed once, before one of its reports leaves it."""

    call: Call
    number: int
    dies_before: Step | None
    mark: Path
    """Made by whoever dies, so that the next try lives."""

    def run(self) -> Iterator[tuple[Step, object]]:
        for place, report in enumerate(self.call.run()):
            step = (self.number, place)
            if step == self.dies_before and not self.mark.exists():
                self.mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            yield step, report


class CrashingImport:
    """Imports, and counts the moments: reports that reach the driver, and its changes of files.

    Args:
        mark: a file that does not exist.
        moment: when the driver is killed; 0 for never.
        dies_before: the step at which a worker is killed; None for never.
    """

    def __init__(self, mark: Path, *, moment: int = 0, dies_before: Step | None = None) -> None:
        self.steps: list[Step] = []
        self.num_moments = 0
        self._mark = mark
        self._moment = moment
        self._dies_before = dies_before
        self._num_calls = 0

    def run(self, log: Path, to: Path, mode: ImportMode) -> DatasetManifest:
        changes = {name: self._counted(getattr(storage, name)) for name in _CHANGES}
        with mock.patch.multiple(storage, **changes):
            num_shards = _NUM_SHARDS
            return import_log([log], to, mode=mode, num_shards=num_shards, run=self._run)

    def _run(self, calls: Sequence[Call]) -> Iterator[Any]:
        watched = [
            Watched(call, self._num_calls + place, self._dies_before, self._mark)
            for place, call in enumerate(calls)
        ]
        self._num_calls += len(calls)
        for step, report in run_calls(watched):
            self.steps.append(step)
            self._pass_a_moment()
            yield report

    def _counted(self, change: Callable[..., Any]) -> Callable[..., Any]:
        def perform(*given: Any, **more: Any) -> Any:
            self._pass_a_moment()
            return change(*given, **more)

        return perform

    def _pass_a_moment(self) -> None:
        self.num_moments += 1
        if self.num_moments == self._moment:
            os.kill(os.getpid(), signal.SIGKILL)


PROGRAM = f"import sys; from {__name__} import main; main(*sys.argv[1:])"
"""What a driver of its own runs. (A module that is run itself has another name in the workers.)"""


def main(address: str, log: str, to: str, mode: str, moment: str) -> None:
    """Import on a running Ray and be killed."""
    ray.init(address=address, log_to_driver=False)
    crashing = CrashingImport(Path(f"{to}.mark"), moment=int(moment))
    crashing.run(Path(log), Path(to), ImportMode(mode))
