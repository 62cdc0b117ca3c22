"""Processor time and memory of a served application, by process.

On a machine that others use too, the rate of one run says little. What a request costs each process
hardly depends on who else is at work.
"""

import os
import re
import resource
from pathlib import Path

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
