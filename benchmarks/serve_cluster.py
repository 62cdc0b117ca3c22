"""A Ray with the fast settings, and an application on it, for as long as a benchmark takes."""

import os
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from raysys.serving.cluster import end_haproxy, fast_serve_environment, free_port


@contextmanager
def serving(directory: Path) -> Iterator[str]:
    """Run a Ray with the fast settings; give the address of Serve's HTTP."""
    os.environ.update(fast_serve_environment(directory))
    import ray
    from ray import serve

    port = free_port()
    ray.init(
        address="local",
        num_cpus=max(4, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=str(directory / "ray"),
    )
    try:
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        yield f"http://127.0.0.1:{port}"
    finally:
        serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()
        end_haproxy(directory)


def wait_for(url: str, timeout_s: float = 60.0) -> None:
    """Return when a GET is answered; raise what it raises after the time."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
