"""Parts killed under load, more load than is permitted, and slow clients: who is told of what.

One `raysys serve` with two gateways for all tests. Requests come at a fixed rate, whether or not
answers do (`benchmarks/open_loop.py`).
"""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from benchmarks.random_release import publish_random_release
from raysys.commands.api_client import ApiClient
from raysys.config import GruConfig
from tests.wiring.running_server import Server, is_ready, running_server, wait_until

pytestmark = pytest.mark.ray

NUM_USERS = 1_000
LIMIT = 60
"""Requests a second that the campaign may have, of both gateways together."""
RATE, CONNECTIONS = 25, 16
SECONDS, KILLED_AT_S = 4, 1
NUM_SLOW = 1_000
OPEN_LOOP = Path(__file__).parents[2] / "benchmarks" / "open_loop.py"

Outcomes = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("failures")
    release = publish_random_release(
        directory / "releases",
        num_items=300,
        num_users=NUM_USERS,
        mean_length=20,
        model=GruConfig(hidden_dimension=16, history_length=16),
    )
    config = directory / "serving.yaml"
    config.write_text(f"num_gateways: 2\nmax_requests_per_s: {LIMIT}\n")
    with running_server(directory, release, {}, "--config", str(config)) as server:
        yield server


def under_load(
    server: Server, rate: float, seconds: float, meanwhile: Callable[[], object] = lambda: None
) -> Outcomes:
    """Return what came of the requests of as many users; `meanwhile` comes soon after the first."""
    bodies = server.output.parent / "bodies"
    users = (f"user-{number}" for number in range(NUM_USERS))
    bodies.write_text("\n".join(json.dumps({"userId": user_id}) for user_id in users))
    command = [sys.executable, str(OPEN_LOOP), "127.0.0.1", str(server.port), "/recommendations"]
    command += [str(bodies), f"--rate={rate}", f"--seconds={seconds}"]
    command += [f"--connections={CONNECTIONS}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout is not None
        assert load.stdout.readline() == "begun\n"
        time.sleep(KILLED_AT_S)
        meanwhile()
        found: Outcomes = json.loads(load.stdout.read())
    return found


def count(found: Outcomes, *names: str) -> int:
    return sum(found[name]["count"] for name in names if name in found)


def kill_newest(server: Server, deployment: str) -> None:
    server.replicas(deployment)[-1].kill()


def test_without_the_encoder_known_queries_go_on_and_others_get_the_popular_list(
    server: Server,
) -> None:
    gateways = server.gateways()
    assert len(gateways) == 2
    for gateway in gateways:  # HAProxy need not ask both
        with closing(ApiClient(gateway)) as client:
            reply = client.recommend("user-999")
        assert reply.headers["x-raysys-source"] == "model"
    replies = []

    def kill_and_ask() -> None:
        kill_newest(server, "QueryEncoder")
        replies.extend(map(server.recommend, ("user-998", "user-999")))

    found = under_load(server, RATE, SECONDS, kill_and_ask)
    assert set(found) == {"200", "200 degraded"}
    new, cached = replies
    assert new.headers["x-raysys-reason"] == "encoder-unavailable"
    assert (new.headers["x-raysys-source"], new.headers["x-raysys-degraded"]) == ("popular", "true")
    assert cached.headers["x-raysys-source"] == "model"
    assert "x-raysys-degraded" not in cached.headers

    def is_back() -> bool:
        return server.recommend("user-998").headers["x-raysys-source"] == "model"

    wait_until(lambda: is_back() and is_back() and is_ready(server), 60, server)


def test_without_a_shard_lists_are_degraded_and_nobody_fails(server: Server) -> None:
    found = under_load(server, RATE, SECONDS, lambda: kill_newest(server, "IndexShard-1"))
    assert set(found) == {"200", "200 degraded"}

    def is_whole() -> bool:
        return "x-raysys-degraded" not in server.recommend("user-1").headers

    wait_until(lambda: is_whole() and is_whole() and is_ready(server), 60, server)


def test_with_a_gateway_only_requests_fail_that_it_was_answering(server: Server) -> None:
    found = under_load(server, RATE, SECONDS, lambda: kill_newest(server, "Gateway"))
    answered = count(found, "200", "200 degraded")
    assert set(found) <= {"200", "200 degraded", "broken"}
    assert answered >= RATE * SECONDS - CONNECTIONS
    wait_until(lambda: len(server.replicas("Gateway")) == 2 and is_ready(server), 60, server)


def test_more_load_than_is_permitted_is_refused_and_memory_stays_as_it_is(server: Server) -> None:
    under_load(server, 4 * LIMIT, 2)
    before = gateway_mib(server)
    found = under_load(server, 4 * LIMIT, SECONDS)
    assert set(found) == {"200", "429"}, found  # in the wire format, or the name says otherwise
    assert count(found, "200") >= 0.8 * LIMIT * SECONDS
    assert count(found, "429") >= LIMIT * SECONDS
    assert gateway_mib(server) - before < 20


def gateway_mib(server: Server) -> float:
    return sum(part.memory_full_info().uss for part in server.replicas("Gateway")) / 2**20


def test_slow_clients_are_given_up_and_others_are_served_meanwhile(server: Server) -> None:
    before = gateway_mib(server)
    head = b"POST /recommendations HTTP/1.1\r\nHost: raysys\r\nContent-Length: 1000\r\n"
    with ExitStack() as stack:
        slow = [
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=60))
            for _ in range(NUM_SLOW)
        ]
        for number, client in enumerate(slow):
            client.sendall(head + (b"\r\n{" if number % 4 == 0 else b"X-Slow: "))
        time.sleep(1)
        assert server.recommend("user-1").headers["x-raysys-source"] == "model"
        assert gateway_mib(server) - before < 40
        answers = [client.recv(65536).split(b" ")[1] for client in slow]
    assert answers == [b"408"] * NUM_SLOW
