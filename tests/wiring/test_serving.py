"""The application on a real Ray Serve with the fast settings, as `raysys serve` starts it."""

import base64
import contextlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import boto3
import httpx
import numpy as np
import psutil
import pytest
from botocore.config import Config

from benchmarks.random_release import publish_random_release
from raysys.cli import main
from raysys.commands.api_client import ApiClient, Reply
from raysys.config import GruConfig
from raysys.dataset.histories import Histories
from raysys.dataset.item_table import open_item_table
from raysys.dataset.vocabulary import Vocabulary
from raysys.evaluation.topk import exact_top_k
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.models.weights import load_model
from raysys.release import Release
from raysys.serving.listen import is_loopback
from tests.wiring.running_server import Server, running_server, wait_until

pytestmark = pytest.mark.ray

NUM_ITEMS, NUM_USERS, LENGTH = 300, 60, 25
MASTER_KEY = base64.b64encode(b"m" * 32).decode()


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
    # Metrics reach Prometheus's endpoint every second instead of every ten.
    environment = {"RAY_metrics_report_interval_ms": "1000", "RAYSYS_MASTER_KEY": MASTER_KEY}
    with running_server(directory, release, environment) as server:
        yield server


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
    [(name, campaign)] = reply.body["campaigns"].items()
    found = campaign["releases"][server.release.name]
    assert (name, found["items"], found["users"], found["share"]) == ("default", 300, 60, 1)
    expected = {"status": "ready", "shards": 2}
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
    server.num_events += len(clicked)
    old_nums, old_times = histories.of(7)
    times = [*old_times.tolist(), *[int(sent_at.timestamp() * 1e6)] * 3]
    nums = [*old_nums.tolist(), *items.numbers(clicked).tolist()]
    history = Histories.from_lists([user_id], [nums], [times])
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


def test_a_filter_that_an_operator_makes_is_obeyed_at_once_and_forgotten_in_a_second(
    server: Server,
) -> None:
    database = ["--database", f"sqlite:///{server.output.parent}/state.db"]
    expression = "INCLUDE ItemID WHERE Items.GENRES IN ($GENRES)"
    asked = {
        "filterArn": "arn:aws:personalize:us-east-1:000000000000:filter/in-genre",
        "filterValues": {"GENRES": '"genre-3","genre-7"'},
        "numResults": 300,
    }
    table = open_item_table(server.release.file("items.arrow")).to_pylist()
    expected = {
        row["item_id"] for row in table if {"genre-3", "genre-7"} & set(row["genres"].split("|"))
    }

    def ask(user_id: str) -> Reply:
        with contextlib.closing(ApiClient(server.url)) as client:
            reply = client.post("/recommendations", {"userId": user_id, **asked})
        if reply.status == 200:
            server.replies.append(reply)
        return reply

    assert ask("a stranger").headers["x-amzn-errortype"] == "ResourceNotFoundException"
    assert main(["filter", "create", "in-genre", expression, *database]) == 0
    time.sleep(0.25)  # an unknown name is looked for again after 0.2 s
    assert set(item_ids(ask("a stranger"))) == expected
    user_id = Histories.open(server.release.file("histories.arrow")).user_ids[0].as_py()
    known = item_ids(ask(user_id))
    assert set(known) <= expected
    assert len(known) > 10
    assert main(["filter", "delete", "in-genre", *database]) == 0
    wait_until(lambda: ask(user_id).status == 404, 3, server)


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
    assert sorted(libraries) == [
        "Campaigns",
        "Gateway",
        "IndexShard-0",
        "IndexShard-1",
        "QueryEncoder",
    ]
    assert with_torch == {"QueryEncoder"}


def test_where_cores_are_short_gateways_go_before_what_computes(server: Server) -> None:
    server.recommend("user-5", weight=1)  # every part has worked
    computes = {"Gateway": False, "QueryEncoder": True, "IndexShard-0": True}
    for deployment, expected in computes.items():
        [part] = server.replicas(deployment)
        of_threads = [os.getpriority(os.PRIO_PROCESS, thread.id) for thread in part.threads()]
        usual = os.getpriority(os.PRIO_PROCESS, part.pid)
        assert (max(of_threads) > usual) == expected, deployment


def test_prometheus_finds_what_was_answered_shown_and_stored(server: Server) -> None:
    known, stranger = server.recommend("user-3", 5), server.recommend("a stranger", 2)
    assert [reply.headers["x-raysys-source"] for reply in (known, stranger)] == ["model", "popular"]
    server.recommend("user-4", 10, weight=1)
    with contextlib.closing(ApiClient(server.url)) as client:
        served = client.get("/readyz").body["campaigns"]["default"]["releases"]
    release = server.release.name
    num_fresh_items = served[release]["fresh_items"]
    expected = {
        **{
            f"requests_total {source} answered": count
            for source, count in Counter(
                reply.headers["x-raysys-source"] for reply in server.replies
            ).items()
        },
        "shown_total": sum(len(reply.body["itemList"]) for reply in server.replies),
        "explored_total": sum(
            item.get("reason") == ["Exploration"]
            for reply in server.replies
            for item in reply.body["itemList"]
        ),
        "slates_total recorded": len(server.replies),
        "events_total": server.num_events,
        "degraded_total": sum("x-raysys-degraded" in reply.headers for reply in server.replies),
    }
    of_filters = {
        f"{name} {shard}"
        for name in ("filter_masks_total made", "filter_masks_total kept", "filtered_total")
        for shard in ("shard-0", "shard-1")
    }
    found: dict[str, float] = {}

    def arrived() -> bool:
        found.clear()
        found.update(scraped(server))
        is_told = of_filters <= set(found)
        return is_told and {name: found.get(name, 0) for name in expected} == expected

    wait_until(arrived, 30, server)
    assert expected["explored_total"] >= 10
    assert num_fresh_items > 10
    of_shards = (found[f"fresh_items shard-{shard} {release}"] for shard in range(2))
    assert sum(of_shards) == num_fresh_items
    assert 0 < found["batch_size_count"] == found["latency_ms_count"] <= len(server.replies)
    assert found["latency_ms_bucket +Inf"] == found["latency_ms_count"]
    assert found[f"release_in_service {known.headers['x-raysys-release']}"] == 1
    assert found["stage_ms_count queue"] == found["stage_ms_count finish"]
    assert found["stage_ms_count finish"] == found["batch_size_count"]
    parts = [f"part_ms_count {part}" for part in ("encoder", "shard-0", "shard-1")]
    assert all(0 < found[part] <= 1 + found["batch_size_count"] for part in parts)  # 1 to warm up
    assert all(found[name] >= 1 for name in of_filters)
    for shard in ("shard-0", "shard-1"):  # the filter was asked for more than once
        assert 1 < found[f"filter_ms_count {shard}"] < found[f"part_ms_count {shard}"]
    assert 0 < found["stage_ms_count filter"] < found["stage_ms_count read"]
    assert 0 < found["queries_total encoded"] <= found["requests_total model answered"]


def scraped(server: Server) -> dict[str, float]:
    """Return raysys's metrics as Prometheus would: by the targets that the dashboard names."""
    dashboard = re.search(r"dashboard: (http://\S+)", server.output.read_text())
    assert dashboard is not None
    token = (Path.home() / ".ray" / "auth_token").read_text().strip()
    headers = {"Authorization": f"Bearer {token}"}
    [group] = httpx.get(f"{dashboard[1]}/api/prometheus/sd", headers=headers).json()
    values: dict[str, float] = {}
    for target in group["targets"]:
        try:
            text = httpx.get(f"http://{target}/metrics").text
        except httpx.ConnectError:  # not up yet: Prometheus asks again, and so do we
            continue
        for line in text.splitlines():
            match = re.fullmatch(r"ray_raysys_(\w+)\{(.*)\} (\S+)", line)
            if match is not None:
                tags = dict(re.findall(r'(\w+)="([^"]*)"', match[2]))
                names = ("source", "outcome", "part", "stage", "release", "le")
                own = [tags[name] for name in names if name in tags]
                values[" ".join([match[1], *own])] = float(match[3])
    return values


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


def test_the_first_key_closes_the_server_to_all_who_have_none(
    server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last test: those before it show no key."""
    monkeypatch.setenv("RAYSYS_MASTER_KEY", MASTER_KEY)
    database = f"sqlite:///{server.output.parent}/state.db"
    assert main(["keys", "create", "--scopes", "read", "--database", database, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)

    def ask(path: str = "/recommendations") -> Reply:
        with contextlib.closing(ApiClient(server.url)) as client:
            if path == "/readyz":
                return client.get(path)
            return client.post(path, {"userId": "user-1"})

    wait_until(lambda: ask().status == 403, 3, server)
    assert ask().headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
    ready = ask("/readyz")
    assert (ready.status, set(ready.body)) == (200, {"status", "campaigns"})
    client = boto3.client(
        "personalize-runtime",
        endpoint_url=server.url,
        region_name="eu-central-1",
        aws_access_key_id=made["key_id"],
        aws_secret_access_key=made["secret"],
        config=Config(proxies={}),
    )
    answer = client.get_recommendations(userId="user-1", numResults=5)
    assert len(answer["itemList"]) == 5
    client.close()
    assert main(["keys", "revoke", made["key_id"], "--database", database]) == 0
    signed_with = {"authorization": "Bearer " + made["key_id"] + "." + "a" * 43}
    with contextlib.closing(ApiClient(server.url)) as other:
        refused = other.post("/recommendations", {"userId": "user-1"}, signed_with)
    assert refused.headers["x-amzn-errortype"] == "UnrecognizedClientException"
    assert ask().status == 403  # without any key that is good it stays closed
