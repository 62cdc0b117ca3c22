"""What is acknowledged stays and is used, whatever is killed: two gateways on PostgreSQL."""

import contextlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psutil
import pytest

from benchmarks.event_clients import (
    NUM_ITEMS,
    Clients,
    is_clean,
    kill_postgresql,
    kill_process,
    run_through,
)
from benchmarks.private_postgresql import private_postgresql
from benchmarks.random_release import publish_random_release
from raysys.commands.api_client import ApiClient, Reply
from raysys.config import GruConfig
from tests.wiring.running_server import Server, is_ready, running_server, wait_until

pytestmark = pytest.mark.ray

NUM_TRIALS = 50


@dataclass
class Shop:
    """A server, and the database that it serves with."""

    server: Server
    postgresql: Any
    database: str

    def send(self, user_id: str, item_id: str, event_id: str) -> Reply:
        """Send one event, and return the answer whatever it is."""
        event = {"eventId": event_id, "eventType": "click", "itemId": item_id}
        body = {
            "trackingId": "default",
            "userId": user_id,
            "sessionId": "one",
            "eventList": [{**event, "sentAt": int(time.time())}],
        }
        with contextlib.closing(ApiClient(self.server.url, timeout_s=60)) as client:
            return client.post("/events", body)

    def items_of(self, user_id: str) -> list[str]:
        return [each["itemId"] for each in self.server.recommend(user_id, 10).body["itemList"]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    directory = tmp_path_factory.mktemp("durability")
    release = publish_random_release(
        directory / "releases",
        num_items=NUM_ITEMS,
        num_users=100,
        mean_length=20,
        model=GruConfig(hidden_dimension=16, history_length=16),
    )
    config = directory / "serving.yaml"
    config.write_text("num_gateways: 2\nexploration_weight: 0.0\n")
    with private_postgresql() as postgresql:
        postgresql.psql("CREATE DATABASE shop")
        database = postgresql.get_uri("shop")
        with running_server(
            directory, release, {}, "--config", str(config), database=database
        ) as server:
            yield Shop(server, postgresql, database)


def test_the_next_answer_of_every_gateway_uses_an_acknowledged_event(shop: Shop) -> None:
    for number in range(NUM_TRIALS):
        user = f"user-{number}"
        for _ in range(2):  # HAProxy asks the gateways by turns: both know the user now
            top = shop.items_of(user)[0]
        assert shop.send(user, top, f"next-{number}").status == 200
        assert [top in shop.items_of(user) for _ in range(2)] == [False, False]


@pytest.mark.parametrize("victim", ["Gateway", "ServeController", "PostgreSQL"])
def test_no_acknowledged_event_is_lost_or_stored_twice_when_a_part_is_killed(
    shop: Shop, victim: str
) -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)

    def kill() -> None:
        if victim == "PostgreSQL":
            kill_postgresql(shop.postgresql, chance.uniform(0, 2))
        else:
            kill_process(psutil.Process(shop.server.process.pid), victim)

    clients = Clients(shop.server.url, f"through-{victim}", seed)
    outcome = run_through(clients, shop.database, kill, chance)
    assert is_clean(outcome), (seed, outcome)

    def is_whole() -> bool:
        return len(shop.server.replicas("Gateway")) == 2 and is_ready(shop.server)

    wait_until(is_whole, 60, shop.server)


def test_a_stopped_database_refuses_events_in_time_and_lists_fall_back(shop: Shop) -> None:
    main = psutil.Process(shop.postgresql.get_pid())
    stopped = [main, *main.children()]
    for process in stopped:
        process.suspend()
    try:
        began = time.monotonic()
        refused = shop.send("user-1", "item-1", "refused")
        assert time.monotonic() - began < 20
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        for _ in range(4):  # each gateway waits once
            shop.server.recommend("user-1")
        began = time.monotonic()
        reply = shop.server.recommend("user-1")
        assert time.monotonic() - began < 2
        assert (reply.headers["x-raysys-source"], reply.headers["x-raysys-degraded"]) == (
            "model",
            "true",
        )
    finally:
        for process in stopped:
            process.resume()

    def is_back() -> bool:
        return shop.send("user-1", "item-1", "refused").status == 200 and not any(
            "x-raysys-degraded" in shop.server.recommend("user-1").headers for _ in range(4)
        )

    wait_until(is_back, 60, shop.server)
