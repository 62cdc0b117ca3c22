"""What every test may rely on: fixed seeds, no disk to wait for, no Ray unless it is marked."""

import os
import random

import numpy as np
import pytest
import ray
from hypothesis import settings

# A busy machine is no failure; derandomized, a failure here is a failure everywhere.
settings.register_profile("raysys", deadline=None, derandomize=True)
settings.load_profile("raysys")


@pytest.fixture(autouse=True)
def _fixed_seeds() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _no_ray_by_accident(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.get_closest_marker("ray") is None:

        def refuse(*_: object, **__: object) -> None:
            raise AssertionError("A unit test tried to start Ray; mark it with pytest.mark.ray.")

        monkeypatch.setattr(ray, "init", refuse)


@pytest.fixture(autouse=True)
def _no_waiting_for_disks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what is written reach the disk whenever it does: no test outlives a loss of power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests that start Ray first: the many short ones then fill up whatever is left."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)
