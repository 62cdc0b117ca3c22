"""What tests that start no Ray may rely on: one thread of torch, whoever loaded it, and a store."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from raysys.state.store import StateStore
from tests.unit.state.builders import sqlite_url


@pytest.fixture(scope="module", autouse=True)
def _one_thread_of_torch() -> Iterator[None]:
    """Let small products wait for no other thread: one that waits burns CPU seconds all the same.

    For a module and what its tests share. A test of how threads change nothing sets their number
    itself, and puts it back.
    """
    torch = sys.modules.get("torch")  # not worth two seconds to tests that do without
    if torch is None:
        yield
        return
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    """Return the store of the dataset group "films" in a new SQLite file."""
    store = StateStore(sqlite_url(tmp_path), "films")
    yield store
    store.close()
