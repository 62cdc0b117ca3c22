"""What a Ray cluster needs around it for fast serving that only this machine can reach.

Ray and Serve read all of this from the environment when their processes start, so it has to be set
before `ray.init` or `ray start`; docs/serving.md lists what each variable is for.
"""

import contextlib
import os
import random
import shlex
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from raysys.errors import ServingError
from raysys.serving.haproxy import CLIENT_TIMEOUT_S, max_connections, write_wrapper

_SEVERAL_NODES = "--several-nodes"
_HAPROXY_DIRECTORY = "ha"
# A socket's path has 107 bytes. Below the directory come the node's id, the socket's name, and what
# HAProxy appends while it takes a socket over: "/<56 digits>/admin.sock.<pid>.tmp".
_LONGEST_DIRECTORY = 107 - len("/" + 56 * "0" + "/admin.sock.4194304.tmp")
_NUM_REPLICA_PORTS = 200
# Not Python's own generator: programs that seed it alike would all try the same ports.
_random = random.SystemRandom()
_LOWEST_PORT, _HIGHEST_PORT = 20_000, 32_000  # below those that Linux gives to outgoing connections


def fast_serve_environment(directory: Path, *, on_several_nodes: bool = False) -> dict[str, str]:
    """Return the environment of one cluster of this machine, with files and ports of its own.

    Two clusters with different directories run side by side. Nothing of what raysys and Serve open
    can be reached from outside.

    Args:
        directory: made if missing; at most 24 characters, since sockets lie deep below it.
        on_several_nodes: of a cluster whose nodes are machines of their own instead. Then nodes
            reach each other at their addresses, and every node has Serve's default ports.

    Raises:
        ServingError: there is no HAProxy program, or the path is too long for sockets.
    """
    files = directory.resolve() / _HAPROXY_DIRECTORY
    if len(str(files)) > _LONGEST_DIRECTORY:
        raise ServingError(
            f"{directory.resolve()} is too long a path for HAProxy's sockets: "
            f"{len(str(directory.resolve()))} characters, at most "
            f"{_LONGEST_DIRECTORY - len(_HAPROXY_DIRECTORY) - 1}. Use a shorter one, such as "
            f"/tmp/raysys."
        )
    files.mkdir(parents=True, exist_ok=True)
    return {
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        # By default every worker lets whatever else the machine does go first; a gateway is one.
        # What computes lets others go first by itself (`raysys.precedence`).
        "RAY_worker_niceness": "0",
        # The lines of the access log are written when so many wait, by the gateway's only loop, and
        # everybody waits meanwhile: 15 ms for the 1,000 of the setting above.
        "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "50",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(write_wrapper(files)),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": str(files / "haproxy.cfg"),
        "RAY_SERVE_HAPROXY_SOCKET_PATH": str(files / "admin.sock"),
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": str(files / "metrics.sock"),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(files),
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": str(files / "server-state"),
        # A replica that goes waits this long for HAProxy to forget it. The default of 30 s is for
        # load balancers outside of the cluster, and every shutdown waits for it.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        "RAY_SERVE_HAPROXY_MAXCONN": str(max_connections()),
        # Of a client that has begun to send a body, or to take an answer, and stopped. The default
        # of an hour lets whoever likes hold a connection, with what the gateway has to send.
        "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": str(CLIENT_TIMEOUT_S),
        **({} if on_several_nodes else _single_machine()),
    }


def _single_machine() -> dict[str, str]:
    """Return what a cluster of one machine needs beside other clusters of that machine."""
    ports = _free_ports(6)
    first_replica_port = _random.randrange(_LOWEST_PORT, _HIGHEST_PORT - _NUM_REPLICA_PORTS)
    return {
        # Ray's own processes then listen on 127.0.0.1 instead of every interface. The name is about
        # the systems on which this is the default.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_SERVE_HAPROXY_STATS_PORT": str(ports[0]),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(ports[1]),
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(ports[2]),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(ports[3]),
        # Ray's own metrics, which Prometheus is told of: a cluster that finds them taken goes on
        # without, and names an address that another one answers, or nobody.
        "AUTOSCALER_METRIC_PORT": str(ports[4]),
        "DASHBOARD_METRIC_PORT": str(ports[5]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(first_replica_port),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(first_replica_port + _NUM_REPLICA_PORTS),
    }


def haproxy_pids(directory: Path) -> list[int]:
    """Return the HAProxy processes of the cluster that runs with this directory's environment."""
    files = str(directory.resolve() / _HAPROXY_DIRECTORY) + "/"
    pids = []
    for pid, text in process_files("cmdline"):
        arguments = text.decode(errors="replace").split("\0")
        is_haproxy = any(Path(argument).name == "haproxy" for argument in arguments[:1])
        if is_haproxy and any(argument.startswith(files) for argument in arguments[1:]):
            pids.append(pid)
    return pids


def process_files(name: str) -> Iterator[tuple[int, bytes]]:
    """Give the process id and `/proc/<id>/<name>` of every process that this one may look at."""
    for entry in Path("/proc").glob(f"[0-9]*/{name}"):
        with contextlib.suppress(OSError):  # it ended meanwhile, or is somebody else's
            yield int(entry.parent.name), entry.read_bytes()


def end_haproxy(directory: Path, *, timeout_s: float = 10.0) -> None:
    """Return when no HAProxy of this cluster runs any more, ending it where Serve did not.

    To be called after `serve.shutdown()` and `ray.shutdown()`. An HAProxy process survives the end
    of its cluster when Serve had no time to stop it, and goes on holding the port.

    Raises:
        ServingError: a process is still there after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    while pids := haproxy_pids(directory):
        if time.monotonic() > deadline:
            raise ServingError(
                f"HAProxy processes {pids} of {directory} do not end and still hold their ports. "
                f"End them with `kill -9 {' '.join(map(str, pids))}`."
            )
        for pid in pids:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue
        time.sleep(0.05)


def is_port_free(port: int, host: str = "127.0.0.1") -> bool:
    """Say whether a server could listen on the port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a port on which nobody listens now."""
    return _free_ports(1)[0]


def _free_ports(count: int) -> list[int]:
    ports: list[int] = []
    while len(ports) < count:
        port = _random.randrange(_LOWEST_PORT, _HIGHEST_PORT)
        if port not in ports and is_port_free(port):
            ports.append(port)
    return ports


def main() -> None:
    """Print the environment of one cluster for a shell: `eval "$(... DIRECTORY)"`."""
    several_nodes = sys.argv[1:-1] == [_SEVERAL_NODES]
    if len(sys.argv) != 2 + several_nodes or sys.argv[-1].startswith("-"):
        sys.exit(f"usage: python -m raysys.serving.cluster [{_SEVERAL_NODES}] DIRECTORY")
    try:
        environment = fast_serve_environment(Path(sys.argv[-1]), on_several_nodes=several_nodes)
    except ServingError as error:
        sys.exit(str(error))
    for name, value in environment.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    main()
