"""Who goes first where cores are short: what talks to clients and parts before what computes."""

import os
import sys

_STEPS = 5


def let_others_go_first() -> None:
    """Make this thread, and those that it starts from now on, nicer than others of its process.

    On one machine gateways share the cores with encoders and shards. A gateway has little to do for
    a request, most of all for one that it refuses, and should not wait for a search to do it. Where
    cores are free this changes nothing. Ray makes the main thread of every worker 15 steps nicer
    than its own processes (`RAY_worker_niceness`), so that 4 of the 5 steps are left.
    """
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.nice(_STEPS)
