"""Processor time of a served application: by process, and of a gateway's loop by what it does.

On a machine that others use too, the rate of one run says little. What a request costs each process
hardly depends on who else is at work.
"""

import cProfile
import json
import os
import pstats
import re
import resource
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from raysys.api.asgi import Headers, Response, Route
from raysys.serving.cluster import haproxy_pids, process_files

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_REPLICA = re.compile(rb"ServeReplica:\w+:([A-Za-z]+)")


def cpu_seconds(directory: Path) -> dict[str, float]:
    """Return the processor seconds so far of each kind of replica of our Ray, HAProxy, and wrk.

    Args:
        directory: that of the cluster's environment.
    """
    seconds = {"HAProxy": 0.0, "wrk": _of_children()}
    for pid in haproxy_pids(directory):
        seconds["HAProxy"] += _of_process(pid)
    for pid, kind in replicas():
        seconds[kind] = seconds.get(kind, 0.0) + _of_process(pid)
    return seconds


def memory_mib(directory: Path) -> dict[str, float]:
    """Return what memory each kind of replica of our Ray, and HAProxy, hold of their own."""
    mib = {"HAProxy": sum(_own_mib(pid) for pid in haproxy_pids(directory))}
    for pid, kind in replicas():
        mib[kind] = mib.get(kind, 0.0) + _own_mib(pid)
    return {kind: round(each, 1) for kind, each in mib.items()}


def replicas() -> list[tuple[int, str]]:
    """Return the process id and the kind, such as "Gateway", of each replica of our Ray."""
    parents = {pid: _stat(text)[0] for pid, text in process_files("stat")}
    found = [(pid, _REPLICA.search(command)) for pid, command in process_files("cmdline")]
    return [(pid, match[1].decode()) for pid, match in found if match and _is_ours(pid, parents)]


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    while pid in parents:
        if pid == os.getpid():
            return True
        pid = parents[pid]
    return False


def _of_process(pid: int) -> float:
    try:
        return _stat(Path(f"/proc/{pid}/stat").read_bytes())[1]
    except OSError:  # it ended
        return 0.0


def _own_mib(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:  # it ended
        return 0.0
    return sum(map(int, re.findall(r"^Private_\w+: +(\d+) kB", text, re.MULTILINE))) / 1024


def _stat(text: bytes) -> tuple[int, float]:
    """Return the parent and the processor seconds that a `/proc/<pid>/stat` tells of."""
    fields = text.rpartition(b")")[2].split()
    return int(fields[1]), (int(fields[11]) + int(fields[12])) * _TICK_S


def _of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # those that ended: runs of wrk
    return usage.ru_utime + usage.ru_stime


_PROFILE = "/profile"
_AREAS = (
    ("the API: parsing, answers into bytes", ("raysys/api/",)),
    ("slots of lists that explore", ("raysys/policy/", "raysys/serving/exploring.py")),
    ("lists into answers and slates", ("raysys/serving/answering.py", "raysys/state/")),
    ("queries, batches, merging", ("raysys/",)),
    ("numpy, pyarrow", ("/numpy/", "/pyarrow/")),
    ("calls to other replicas: gRPC", ("/grpc/",)),
    ("Serve and its HTTP server", ("/ray/", "/uvicorn/", "/starlette/", "/fastapi/", "/httptools")),
    ("the loop itself", ("/asyncio/",)),
)
"""Of a profile: what a place in a file belongs to, the first that fits."""


def profile_route() -> Route:
    """Return the route that starts a profile of the gateway's loop, and next time ends it."""
    running: list[cProfile.Profile] = []

    async def toggle(_: bytes, __: Headers) -> Response:
        if not running:
            running.append(cProfile.Profile())
            running[0].enable()
            return Response(b"{}")
        running[0].disable()
        return Response(json.dumps(_shares(running.pop())).encode())

    return Route("POST", _PROFILE, toggle, None)


def toggle_profile(url: str) -> dict[str, float]:
    """Start a profile; or end it, and return the share of the loop's time by what it was spent on.

    A profile makes small functions look more expensive than they are.
    """
    with urllib.request.urlopen(f"{url}{_PROFILE}", b"{}") as response:
        shares: dict[str, float] = json.load(response)
    return shares


def _shares(profile: cProfile.Profile) -> dict[str, float]:
    seconds: Counter[str] = Counter()
    found: dict[Any, Any] = pstats.Stats(profile).stats  # type: ignore[attr-defined]
    for (path, _, name), (_, _, own_s, _, callers) in found.items():
        if name.startswith("<method 'poll'"):
            continue  # nothing to do
        if path == "~":  # what is written in C is its callers'
            for (caller, _, _), (_, _, shared_s, _) in callers.items():
                seconds[_area(caller)] += shared_s
        else:
            seconds[_area(path)] += own_s
    total_s = sum(seconds.values())
    return {area: round(spent_s / total_s, 3) for area, spent_s in seconds.most_common()}


def _area(path: str) -> str:
    fitting = (area for area, parts in _AREAS if any(part in path for part in parts))
    return next(fitting, "other")
