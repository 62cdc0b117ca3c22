"""Holding the lease of learning for as long as a block takes."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raysys.commands import holding
from raysys.commands.holding import held_lease
from raysys.errors import LeaseLostError, StateUnavailableError
from raysys.state.learning import LearningTable, Lease, runs_in
from raysys.state.store import StateStore
from tests.unit.state.builders import sqlite_url
from tests.unit.state.learning_laws import run_out


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StateStore]:
    monkeypatch.setattr(holding, "_RENEW_EVERY_S", 0.001)
    store = StateStore(sqlite_url(tmp_path), "films")
    yield store
    store.close()


def wait_until_held(table: LearningTable) -> None:
    deadline = time.monotonic() + 30
    while not table.now().is_held:
        assert time.monotonic() < deadline
        time.sleep(0.001)


def test_the_owner_is_named_after_the_job_that_it_runs_in(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = {"metadata": {"job_submission_id": "raysubmit_1"}}
    monkeypatch.setenv("RAY_JOB_CONFIG_JSON_ENV_VAR", json.dumps(told))
    with held_lease(store.learning("shop")) as held:
        assert held is not None
        assert runs_in(held.lease.owner, "raysubmit_1")
        assert not runs_in(held.lease.owner, "raysubmit_")


def test_it_is_renewed_while_the_block_works_and_let_go_at_the_end(store: StateStore) -> None:
    table = store.learning("shop")
    with held_lease(table) as held:
        assert held is not None
        run_out(store)
        wait_until_held(table)
        held.check()
    assert not table.now().is_held


def test_a_database_that_is_away_for_a_while_loses_nothing(
    store: StateStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = store.learning("shop")
    renew, num_failed = LearningTable.renew, 0

    def away(self: LearningTable, lease: Lease, seconds: float) -> bool:
        nonlocal num_failed
        num_failed += 1
        if num_failed < 4:
            raise StateUnavailableError("it is away")
        return renew(self, lease, seconds)

    monkeypatch.setattr(LearningTable, "renew", away)
    with held_lease(table) as held:
        assert held is not None
        run_out(store)
        wait_until_held(table)
        held.check()


def test_who_lost_it_is_told_at_the_next_step_and_never_has_it_again(store: StateStore) -> None:
    table = store.learning("shop")
    with held_lease(table) as held:
        assert held is not None
        other = None
        while other is None:
            run_out(store)
            other = table.acquire("another", 3_600)
        table.release(other)  # nobody has it now
        with pytest.raises(LeaseLostError):
            held.check()
