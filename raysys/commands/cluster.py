"""The Ray that a command runs on: an existing cluster, or a local one that ends with it."""

import contextlib
import logging
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import ray
from ray._private import ray_constants
from ray.job_config import JobConfig

from raysys import storage
from raysys.commands import job_page
from raysys.commands.connection import connect, existing_cluster
from raysys.commands.console import Console
from raysys.errors import ServingError
from raysys.serving.cluster import (
    end_haproxy,
    fast_serve_environment,
    is_port_free,
    process_files,
)


@dataclass(frozen=True)
class Cluster:
    """What a command has to know of the Ray it runs on."""

    dashboard_url: str
    is_local: bool
    """Whether the command started it, and ends it."""


@contextmanager
def ray_cluster(
    console: Console,
    *,
    metadata: Mapping[str, Any] | None = None,
    serving_port: int | None = None,
    niceness: int = 0,
) -> Iterator[Cluster]:
    """Connect to the cluster that RAY_ADDRESS names, or start a local one for the block.

    A local one listens on loopback only, makes its own access token, and leaves no process behind,
    whether the block ends, fails, or is stopped by Ctrl-C or SIGTERM.

    Args:
        metadata: what the command works on, for the dashboard's job page.
        serving_port: the block will serve on this port; a local Ray then gets the settings that
            make Serve fast, which count only when they are set before its processes start.
        niceness: of the workers of the block, on a cluster that runs already.

    Raises:
        ClusterError: the cluster that RAY_ADDRESS names cannot be used.
        ServingError: the port is taken.
    """
    shown = job_page.as_text(metadata or {})
    if (address := existing_cluster()) is not None:
        context = connect(address, shown, niceness=niceness)
        try:
            job_page.add(shown)
            with _ended_by_signals():  # `ray job stop` sends SIGTERM
                yield Cluster(f"http://{context.dashboard_url}", is_local=False)
        finally:
            ray.shutdown()
        return
    if serving_port is not None and not is_port_free(serving_port):
        raise ServingError(
            f"Port {serving_port} of 127.0.0.1 is taken by another program, so nothing could be "
            f"served there. End that program or choose another one with --port."
        )
    # Sockets lie deep below this directory, and their paths may have 107 bytes only.
    directory = Path(tempfile.mkdtemp(prefix="raysys-", dir="/tmp"))
    with _ended_by_signals(), _environment(directory):
        try:
            context = ray.init(
                address="local",
                num_cpus=max(2, os.cpu_count() or 1),
                include_dashboard=True,
                dashboard_host="127.0.0.1",
                logging_level=logging.ERROR,
                log_to_driver=False,
                job_config=JobConfig(metadata=shown),
                _temp_dir=str(directory / "ray"),
            )
            url = f"http://{context.dashboard_url}"
            console.say(f"  Ray {ray.__version__} started; dashboard: {url}")
            with _ended_by_signals():  # once more: ray.init put its own handler in place
                yield Cluster(url, is_local=True)
        finally:
            with _undisturbed():
                _end_local(directory, served=serving_port is not None)


def _end_local(directory: Path, *, served: bool) -> None:
    if served and ray.is_initialized():
        from ray import serve  # more than a second of imports, which most commands do without

        logging.getLogger("ray.serve").setLevel(logging.ERROR)  # it reports on what never ran
        with contextlib.suppress(Exception):  # a half-started Serve: what is left ends below
            serve.shutdown()  # type: ignore[no-untyped-call]
    ray.shutdown()
    end_haproxy(directory)
    _wait_for_the_last_process(directory)
    storage.remove_tree(directory)


def _wait_for_the_last_process(directory: Path, timeout_s: float = 10.0) -> None:
    """Return when no process of this Ray runs any more; what still does in the end is killed.

    Ray's shutdown returns while its agents still end, and they would write the directory anew.
    """
    deadline = time.monotonic() + timeout_s
    while pids := _pids_started_for(directory):
        if time.monotonic() > deadline:
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            return
        time.sleep(0.1)


def _pids_started_for(directory: Path) -> list[int]:
    """Return the processes that were started with `_environment(directory)`."""
    files = f"={directory}/".encode()
    return [pid for pid, variables in process_files("environ") if files in variables]


@contextmanager
def _environment(directory: Path) -> Iterator[None]:
    """Set, for the processes of a local Ray, what makes Serve fast and keeps it on loopback."""
    before = dict(os.environ)
    os.environ.update(fast_serve_environment(directory))
    # This one of the variables counts when Ray is imported, which has happened: it puts every port
    # of Ray's own processes on loopback.
    is_cluster = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # silences a warning
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        ray_constants.ENABLE_RAY_CLUSTER = is_cluster


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that cleaning up happens for both."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Ignore Ctrl-C and SIGTERM in the block: an impatient second one must not leave processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
