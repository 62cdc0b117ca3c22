"""Who goes first where cores are short: what talks to clients and parts before what computes."""

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path

SEARCHING, LEARNING = 5, 15
"""Steps of niceness: of what encoders and shards compute, and of trainings and imports."""


def let_others_go_first(steps: int) -> None:
    """Make this thread, and those that it starts from now on, nicer than others of its process.

    On one machine gateways share the cores with encoders and shards, and with trainings. A gateway
    has little to do for a request, most of all for one that it refuses, and should not wait for a
    search to do it, still less for a step of a training. Where cores are free this changes nothing.
    In a Ray whose workers are as nice as by default (`RAY_worker_niceness` 15) 4 steps are left.
    """
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.nice(steps)


def nice_python(steps: int) -> str:
    """Return the command of a Python that is so much nicer from its first instruction on: it takes
    seconds of a processor before it could say so itself, for it imports Ray meanwhile."""
    return f"nice -n {steps} {shlex.quote(sys.executable)}"


def let_other_sessions_go_first(steps: int) -> None:
    """Make the session of this process nicer than others: to be called by one that has its own.

    Where Linux shares the cores among sessions first (`sched_autogroup_enabled`), the niceness of a
    process counts within its session alone.
    """
    with suppress(OSError):  # there is none of it
        Path("/proc/self/autogroup").write_text(str(steps))
