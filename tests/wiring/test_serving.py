"""The application on a real Ray Serve with the fast settings, as `raysys serve` starts it."""

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
import numpy as np
import psutil
import pytest
from botocore.config import Config

from benchmarks.random_release import publish_random_release
from raysys.commands.api_client import ApiClient, Reply
from raysys.config import GruConfig
from raysys.dataset.histories import Histories, concatenated
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import ServingError
from raysys.evaluation.topk import exact_top_k
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.models.weights import load_model
from raysys.release import Release
from raysys.serving.cluster import free_port, is_port_free
from raysys.serving.listen import is_loopback

pytestmark = pytest.mark.ray

NUM_ITEMS, NUM_USERS, LENGTH = 300, 60, 25


@dataclass
class Server:
    """A running `raysys serve` and the release that it serves."""

    release: Release
    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def recommend(self, user_id: str, num_results: int = LENGTH) -> Reply:
        with contextlib.closing(ApiClient(self.url)) as client:
            return client.recommend(user_id, num_results=num_results)

    def parts(self) -> list[psutil.Process]:
        """Return every process that belongs to it."""
        return psutil.Process(self.process.pid).children(recursive=True)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    directory = tmp_path_factory.mktemp("serving")
    release = publish_random_release(
        directory / "releases",
        num_items=NUM_ITEMS,
        num_users=NUM_USERS,
        mean_length=30,
        model=GruConfig(hidden_dimension=24, history_length=16),
    )
    port = free_port()
    command = [sys.executable, "-m", "raysys", "serve", "--port", str(port)]
    command += ["--release", str(release.path), "--database", f"sqlite:///{directory}/state.db"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    server = Server(release, port, process)
    parts: list[psutil.Process] = []
    try:
        wait_until(lambda: is_ready(server), 180, server)
        yield server
    finally:
        parts = server.parts()
        process.send_signal(signal.SIGINT)  # as Ctrl-C does
        try:
            output, _ = process.communicate(timeout=120)
        finally:
            _, alive = psutil.wait_procs(parts, timeout=20)
            names = [part.name() for part in alive]
            for part in alive:
                part.kill()
    assert names == [], output
    assert process.returncode == 0, output
    assert is_port_free(port)


def wait_until(condition: Any, timeout_s: float, server: Server) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if server.process.poll() is not None:
            output, _ = server.process.communicate()
            raise AssertionError(f"raysys serve ended with {server.process.returncode}:\n{output}")
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def is_ready(server: Server) -> bool:
    with contextlib.closing(ApiClient(server.url, timeout_s=5)) as client:
        try:
            return client.get("/readyz").status == 200
        except ServingError:  # nothing listens yet
            return False


def item_ids(reply: Reply) -> list[str]:
    return [item["itemId"] for item in reply.body["itemList"]]


def ranked_by_evaluation(release: Release, histories: Histories) -> dict[str, list[str]]:
    items = Vocabulary.open(release.file("vocabulary/items.arrow"))
    model = load_model(release.path / "model", vocabulary=items.hash)
    top = exact_top_k(
        encode_histories(model, histories),
        encode_catalogue(model),
        np.arange(1, NUM_ITEMS + 1, dtype=np.int32),
        LENGTH,
        histories,
    )
    return {
        user_id: items.ids_of(nums[nums > 0])
        for user_id, nums in zip(histories.user_ids.to_pylist(), top.item_nums, strict=True)
    }


def test_it_says_what_it_serves(server: Server) -> None:
    with contextlib.closing(ApiClient(server.url)) as client:
        reply = client.get("/readyz")
    expected = {"release": server.release.name, "shards": 2, "items": 300, "users": 60}
    assert expected.items() <= reply.body.items()


def test_every_users_list_is_the_one_that_evaluation_ranks(server: Server) -> None:
    histories = Histories.open(server.release.file("histories.arrow"))
    expected = ranked_by_evaluation(server.release, histories)
    # Alone and in batches of any make-up: the answer must not depend on the company.
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(server.recommend, expected))
    for reply, ids in zip(together, expected.values(), strict=True):
        assert item_ids(reply) == ids
        assert reply.headers["x-raysys-source"] == "model"
        assert reply.headers["x-raysys-release"] == server.release.name
    alone = [item_ids(server.recommend(user_id)) for user_id in list(expected)[:5]]
    assert alone == list(expected.values())[:5]


def test_events_sent_with_boto3_change_the_next_answer(server: Server) -> None:
    client = boto3.client(
        "personalize-events",
        endpoint_url=server.url,
        region_name="eu-central-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(proxies={}),
    )
    histories = Histories.open(server.release.file("histories.arrow"))
    items = Vocabulary.open(server.release.file("vocabulary/items.arrow"))
    user_id = histories.user_ids[7].as_py()
    before = item_ids(server.recommend(user_id))
    clicked = before[:3]
    sent_at = datetime(2026, 1, 1, tzinfo=UTC)
    client.put_events(
        trackingId="default",
        userId=user_id,
        sessionId="a session",
        eventList=[
            {"eventType": "click", "itemId": item_id, "sentAt": sent_at} for item_id in clicked
        ],
    )
    old_nums, old_times = histories.of(7)
    times = [*old_times.tolist(), *[int(sent_at.timestamp() * 1e6)] * 3]
    nums = [*old_nums.tolist(), *items.numbers(clicked).tolist()]
    history = concatenated([Histories.from_lists([user_id], [nums], [times])])
    after = item_ids(server.recommend(user_id))
    assert after == ranked_by_evaluation(server.release, history)[user_id]
    assert not set(after) & set(clicked)


def test_an_unknown_user_gets_the_popular_list(server: Server) -> None:
    reply = server.recommend("a stranger", 3)
    counts = np.load(server.release.file("popularity.npy"))[1:]
    items = Vocabulary.open(server.release.file("vocabulary/items.arrow"))
    assert item_ids(reply) == items.ids_of(np.argsort(-counts, kind="stable")[:3] + 1)
    assert reply.headers["x-raysys-source"] == "popular"
    assert reply.headers["x-raysys-reason"] == "unknown-user"


def test_nothing_can_be_reached_from_outside(server: Server) -> None:
    open_ports = {
        f"{part.name()} {connection.laddr.ip}:{connection.laddr.port}"
        for part in server.parts()
        for connection in part.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
        and not is_loopback(connection.laddr.ip.removeprefix("::ffff:"))
    }
    assert open_ports == set()


def test_gateways_and_shards_run_without_torch(server: Server) -> None:
    libraries = {
        part.cmdline()[0].split(":")[-1]: part.memory_maps()
        for part in server.parts()
        if part.cmdline() and "ServeReplica" in part.cmdline()[0]
    }
    with_torch = {
        name for name, maps in libraries.items() if any("libtorch" in each.path for each in maps)
    }
    assert sorted(libraries) == ["Gateway", "IndexShard-0", "IndexShard-1", "QueryEncoder"]
    assert with_torch == {"QueryEncoder"}


def test_a_killed_shard_degrades_the_answers_until_it_is_back(server: Server) -> None:
    whole = item_ids(server.recommend("user-1"))
    shards = [part for part in server.parts() if "IndexShard-1" in json.dumps(part.cmdline())]
    assert len(shards) == 1
    shards[0].kill()
    replies: list[Reply] = []

    def is_degraded() -> bool:
        replies.append(server.recommend("user-1"))
        return "x-raysys-degraded" in replies[-1].headers

    wait_until(is_degraded, 30, server)
    left = item_ids(replies[-1])
    assert replies[-1].headers["x-raysys-source"] == "model"
    assert left
    assert [item_id for item_id in whole if item_id in left] == left[: len(set(whole) & set(left))]
    wait_until(lambda: not is_degraded(), 60, server)
    assert item_ids(replies[-1]) == whole
