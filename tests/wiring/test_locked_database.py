"""Another process keeps SQLite's write lock for a while: what is sent is refused, events whole and
stored once when they come again, and lists, which go on, are all remembered afterwards."""

import contextlib
import sqlite3
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from benchmarks.random_release import publish_random_release
from raysys.commands.api_client import ApiClient, Reply
from raysys.config import GruConfig
from raysys.state.store import StateStore
from tests.wiring.running_server import Server, running_server, wait_until

pytestmark = pytest.mark.ray

NUM_ANSWERS = 60


def post(server: Server, path: str, body: dict[str, object]) -> Reply:
    with contextlib.closing(ApiClient(server.url, timeout_s=60)) as client:
        return client.post(path, body)


def puts_of(name: str) -> list[tuple[str, dict[str, object]]]:
    """Return one call of each kind, whose ids begin with a name."""
    event = {"eventType": "click", "itemId": "item-1", "sentAt": int(time.time())}
    events = [{**event, "eventId": f"{name}-{number}"} for number in range(3)]
    who = {"trackingId": "default", "userId": name, "sessionId": f"of-{name}"}
    arn = "arn:raysys:personalize:::dataset/default"
    return [
        ("/events", {**who, "eventList": events}),
        ("/users", {"datasetArn": f"{arn}/USERS", "users": [{"userId": name}]}),
        ("/items", {"datasetArn": f"{arn}/ITEMS", "items": [{"itemId": f"new-{name}"}]}),
    ]


def event_ids(store: StateStore) -> Counter[str | None]:
    log = store.log.events(store.log.end())
    return Counter(each.event.event_id for block in log for each in block)


def test_a_locked_sqlite_refuses_what_is_put_and_takes_it_once_it_is_free(
    tmp_path: Path,
) -> None:
    release = publish_random_release(
        tmp_path / "releases",
        num_items=100,
        num_users=20,
        mean_length=10,
        model=GruConfig(hidden_dimension=16, history_length=16),
    )
    with running_server(tmp_path, release, {}) as server:
        assert [post(server, *put).status for put in puts_of("before")] == [200, 200, 200]
        locker = sqlite3.connect(tmp_path / "state.db", isolation_level=None)
        locker.execute("BEGIN EXCLUSIVE")
        try:
            began = time.monotonic()
            with ThreadPoolExecutor(3) as threads:
                waiting = [threads.submit(post, server, *put) for put in puts_of("during")]
                for _ in range(NUM_ANSWERS):  # nobody who asks waits for the lock
                    reply = server.recommend("user-1")
                    assert reply.status == 200
                    assert reply.headers["x-raysys-source"] == "model"
                assert not any(each.done() for each in waiting)
                refused = [each.result() for each in waiting]
            assert time.monotonic() - began < 20
            assert [reply.status for reply in refused] == [503, 503, 503]
            assert {reply.headers["retry-after"] for reply in refused} == {"1"}
        finally:
            locker.execute("ROLLBACK")
            locker.close()
        with contextlib.closing(StateStore(f"sqlite:///{tmp_path}/state.db", "default")) as store:
            once = {f"{name}-{number}" for name in ("before", "during") for number in range(3)}
            assert event_ids(store) == Counter(name for name in once if "before" in name)
            assert [post(server, *put).status for put in puts_of("during")] == [200, 200, 200]
            assert event_ids(store) == Counter(once)
            items = [item.item_id for item in store.changes(0).items]
            assert sorted(items) == ["new-before", "new-during"]

            def num_slates() -> int:
                return sum(len(block) for block in store.log.slates(store.log.end()))

            wait_until(lambda: num_slates() >= NUM_ANSWERS, 30, server)
            assert num_slates() == NUM_ANSWERS
