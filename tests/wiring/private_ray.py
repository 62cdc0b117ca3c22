"""A Ray of a test's own, on ports and in a directory of its own."""

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import ray


@contextmanager
def private_ray(*, workers_lack: ModuleType | None = None, **settings: Any) -> Iterator[None]:
    """Start a Ray of 4 logical CPUs for the block.

    Args:
        workers_lack: a module whose functions travel to the workers by value, since it is none
            that they could import.
        settings: more of `ray.init`. Ray Train needs the dashboard (`include_dashboard=True`): it
            asks it for states, and complains without end where there is none.
    """
    if workers_lack is not None:
        ray.cloudpickle.register_pickle_by_value(workers_lack)
    given: dict[str, Any] = {"include_dashboard": False, "dashboard_host": "127.0.0.1", **settings}
    # Sockets need short paths, and Ray's processes may still write when they are told to end.
    with TemporaryDirectory(prefix="rt-", dir="/tmp", ignore_cleanup_errors=True) as directory:
        ray.init(address="local", num_cpus=4, log_to_driver=False, _temp_dir=directory, **given)
        try:
            yield
        finally:
            ray.shutdown()
    if workers_lack is not None:
        ray.cloudpickle.unregister_pickle_by_value(workers_lack)
