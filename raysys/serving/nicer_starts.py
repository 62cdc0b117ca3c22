"""Makes the processes nicer that Ray starts for a round of learning, from their beginning on.

A worker that is to run `nice -n 15 python` is first another Python, which imports all of Ray to
find that out: half a second of a core at the urgency of what serves, ten times in a round. Ray has
no setting for it, but that process carries the command in its arguments.
"""

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from raysys.precedence import nice_python

_SETUP = b"setup_worker.py"
_LOOK_EVERY_S = 0.05
_YOUNG = 10
"""Looks at a process until it is taken for another one: first it is a copy of Ray's own."""


class NicerStarts:
    """Looks for such processes on this machine for as long as a round runs.

    Args:
        niceness: of the round, as `nice_python` writes it into their arguments. The command there
            adds as much once more, up to 19.
    """

    def __init__(self, niceness: int, *, proc: Path = Path("/proc")) -> None:
        self._niceness = niceness
        self._told = nice_python(niceness).encode()
        self._proc = proc
        self._looked: dict[str, int] = {}
        """How often at each process."""
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="raysys-nicer", daemon=True)

    def start(self) -> None:
        """Look from now on; nothing happens where processes are not seen as files."""
        if sys.platform == "linux" and self._niceness:
            self._looked = dict.fromkeys(self._processes(), _YOUNG)
            self._thread.start()

    def stop(self) -> None:
        self._is_over.set()

    def look(self) -> list[int]:
        """Make those nicer that were started not long ago, and return them."""
        looked = {pid: 1 + self._looked.get(pid, 0) for pid in self._processes()}
        found = [pid for pid, times in looked.items() if times <= _YOUNG and self._is_ours(pid)]
        for pid in found:
            looked[pid] = _YOUNG
            with suppress(OSError):  # it has ended, or is another user's
                os.setpriority(os.PRIO_PROCESS, int(pid), self._niceness)
        self._looked = looked
        return [int(pid) for pid in found]

    def _watch(self) -> None:
        while not self._is_over.wait(_LOOK_EVERY_S):
            self.look()

    def _processes(self) -> list[str]:
        return [name for name in os.listdir(self._proc) if name.isdigit()]

    def _is_ours(self, pid: str) -> bool:
        try:
            arguments = (self._proc / pid / "cmdline").read_bytes()
        except OSError:
            return False
        return _SETUP in arguments and self._told in arguments
