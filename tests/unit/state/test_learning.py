"""Leases and rounds of learning on SQLite; test_state_postgresql.py tries them on PostgreSQL."""

from pathlib import Path

import pytest

from raysys.state.store import StateStore
from tests.unit.state.builders import sqlite_url
from tests.unit.state.learning_laws import LAWS, Law


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_of_learning(law: Law, tmp_path: Path) -> None:
    store = StateStore(sqlite_url(tmp_path), "films")
    law(store)
    store.close()
