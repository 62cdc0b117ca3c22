"""What every test may rely on: fixed seeds, no disk to wait for, no Ray unless it is marked."""

import gc
import os
import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import settings

# Ray starts itself wherever one of its functions is called without it. In the middle of a test run
# that is never meant, and the process dies with a Ray that somebody else then ends.
os.environ["RAY_ENABLE_AUTO_CONNECT"] = "0"

# A busy machine is no failure; derandomized, a failure here is a failure everywhere.
settings.register_profile("raysys", deadline=None, derandomize=True, max_examples=50)
# Of `make soak`: examples that no run has tried before, and how to see again those that fail.
settings.register_profile("soak", deadline=None, max_examples=1000, print_blob=True)
settings.load_profile("raysys")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Keep the garbage collector from what collecting leaves behind, all of which lives on.

    Looking through libraries and tests again and again would be a twentieth of all CPU seconds.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.set_threshold(10_000)
        gc.enable()


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _no_ray_by_accident(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("ray") is None:
        # Here and not at the top: the process that hands out the tests runs none.
        import ray

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("A unit test tried to start Ray; mark it with pytest.mark.ray.")

        monkeypatch.setattr(ray, "init", refuse)


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is written reach the disk whenever it does: no test outlives a loss of power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the long files, which start Ray or databases, first: many short ones fill up the rest."""
    items.sort(key=lambda item: "wiring" not in item.path.parts)
