"""Unmodified AWS SDK clients, a real HTTP server, the real event store; a small engine behind."""

import asyncio
import base64
import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

import boto3
import pytest
import uvicorn
from botocore.config import Config
from botocore.exceptions import ClientError

from raysys.api.app import build_asgi
from raysys.cli import main
from raysys.config import ServingConfig
from raysys.errors import ResourceNotFoundError, TooManyRequestsError
from raysys.serving.intake import Intake
from raysys.serving.key_ring import KeyRing, open_key_ring
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.state.events import Event
from raysys.state.group_commit import GroupCommitter
from raysys.state.items import Item, StoredItem
from raysys.state.store import StateStore
from raysys.state.users import User
from tests.unit.state.builders import item_ids_of, times_of

CATALOGUE = [f"film-{number}" for number in range(40)]
CAMPAIGN_ARN = "arn:aws:personalize:eu-central-1:000000000000:campaign/films"
MAX_BODY_BYTES = 100_000


class CatalogueEngine:
    """Recommends the catalogue in order, without what the user's events name."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._committer = GroupCommitter(store)
        self._intake = Intake(store)
        self.num_requests = 0
        self.is_overloaded = False

    async def recommend(self, query: Query) -> Answer:
        if query.campaign not in (None, "films"):
            raise ResourceNotFoundError(f"There is no campaign {query.campaign!r} here.")
        self.num_requests += 1
        if self.is_overloaded:
            raise TooManyRequestsError("too many requests wait")
        user_id = query.user_id or ""
        states = await asyncio.to_thread(self._store.user_states, [user_id])
        seen = set(item_ids_of(states[user_id])) if user_id in states else set()
        item_ids = [item_id for item_id in CATALOGUE if item_id not in seen][: query.num_results]
        scores = [1 / (rank + 1) for rank in range(len(item_ids))]
        return Answer(item_ids, scores, "RID-" + "0" * 36, "r-1", "model")

    async def rank(self, query: RankQuery) -> Answer:
        self.num_requests += 1
        ranked = sorted(query.item_ids)
        return Answer(ranked, [1.0, *[None] * (len(ranked) - 1)], "RID-" + "0" * 36, "r-1", "model")

    def serialised(self, answer: Answer, seconds: float) -> None:
        pass

    def refused(self, code: str) -> None:
        pass

    async def put_events(self, events: Sequence[Event]) -> None:
        self.num_requests += 1
        await self._committer.submit(events)

    async def put_items(self, items: Sequence[Item]) -> None:
        self.num_requests += 1
        await self._intake.put_items(items)

    async def put_users(self, users: Sequence[User]) -> None:
        self.num_requests += 1
        await self._intake.put_users(users)

    async def ready(self) -> Mapping[str, Any]:
        return {"campaigns": {}}


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[CatalogueEngine]:
    store = StateStore(f"sqlite:///{tmp_path / 'state.db'}", "default")
    yield CatalogueEngine(store)
    store.close()


@pytest.fixture
def port(engine: CatalogueEngine) -> Iterator[int]:
    with serving(engine) as port:
        yield port


@contextmanager
def serving(engine: CatalogueEngine, keys: KeyRing | None = None) -> Iterator[int]:
    config = ServingConfig(tracking_id="tracker", max_body_bytes=MAX_BODY_BYTES)
    listener = socket.create_server(("127.0.0.1", 0))
    app = build_asgi(engine, config, keys)
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, ws="none"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield int(listener.getsockname()[1])
    server.should_exit = True
    thread.join(30)
    listener.close()


def client(
    service: str, port: int, key_id: str = "any", secret: str = "any", host: str = "127.0.0.1"
) -> Any:
    return boto3.client(
        service,
        endpoint_url=f"http://{host}:{port}",
        region_name="eu-central-1",
        aws_access_key_id=key_id,
        aws_secret_access_key=secret,
        config=Config(proxies={}),
    )


@pytest.fixture
def runtime(port: int) -> Iterator[Any]:
    runtime = client("personalize-runtime", port)
    yield runtime
    runtime.close()


@pytest.fixture
def events(port: int) -> Iterator[Any]:
    events = client("personalize-events", port)
    yield events
    events.close()


def put(events: Any, *item_ids: str, user_id: str | None = "ann", **members: Any) -> Any:
    request: dict[str, Any] = {
        "trackingId": "tracker",
        "sessionId": "session",
        "eventList": [
            {
                "eventType": "click",
                "itemId": item_id,
                "sentAt": datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
                **members,
            }
            for item_id in item_ids
        ],
    }
    if user_id is not None:
        request["userId"] = user_id
    return events.put_events(**request)


def recommended(runtime: Any, **members: Any) -> list[str]:
    response = runtime.get_recommendations(**members)
    return [item["itemId"] for item in response["itemList"]]


def test_recommendations_arrive_as_the_sdk_promises_them(runtime: Any) -> None:
    response = runtime.get_recommendations(
        campaignArn=CAMPAIGN_ARN, userId="ann", numResults=2, context={"DEVICE": "phone"}
    )
    metadata = response.pop("ResponseMetadata")
    assert response == {
        "itemList": [{"itemId": "film-0", "score": 1.0}, {"itemId": "film-1", "score": 0.5}],
        "recommendationId": "RID-" + "0" * 36,
    }
    assert metadata["HTTPStatusCode"] == 200
    assert metadata["RequestId"]
    assert metadata["HTTPHeaders"]["x-raysys-release"] == "r-1"


def test_a_ranking_arrives_as_the_sdk_promises_it(runtime: Any) -> None:
    response = runtime.get_personalized_ranking(
        campaignArn=CAMPAIGN_ARN, userId="ann", inputList=["b", "a"]
    )
    assert response["personalizedRanking"] == [{"itemId": "a", "score": 1.0}, {"itemId": "b"}]
    assert response["recommendationId"] == "RID-" + "0" * 36


def test_an_event_changes_the_very_next_answer(runtime: Any, events: Any) -> None:
    for number in range(20):
        response = put(events, f"film-{number}", f"film-{number}", properties='{"a": "b"}')
        assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
        assert response["ResponseMetadata"]["RequestId"]
        first = recommended(runtime, userId="ann", numResults=1)
        assert first == [f"film-{number + 1}"]


def test_time_arrives_with_its_microseconds(events: Any, engine: CatalogueEngine) -> None:
    put(events, "film-3")
    state = engine._store.user_states(["ann"])["ann"]
    assert times_of(state) == [1767323045678901]


def test_an_item_is_put_as_the_sdk_sends_it(events: Any, engine: CatalogueEngine) -> None:
    dataset = "arn:aws:personalize:eu-central-1:000000000000:dataset/default/ITEMS"
    properties = '{"genres": "Drama|Western", "creationTimestamp": 1767323045.5}'
    response = events.put_items(
        datasetArn=dataset, items=[{"itemId": "new", "properties": properties}]
    )
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
    stored = engine._store.changes(0).items
    assert stored == [StoredItem("new", properties, 1_767_323_045_500_000)]
    with pytest.raises(events.exceptions.ResourceNotFoundException, match="dataset/other/ITEMS"):
        events.put_items(datasetArn=dataset.replace("default", "other"), items=[{"itemId": "new"}])
    with pytest.raises(events.exceptions.InvalidInputException, match="divide milliseconds"):
        events.put_items(
            datasetArn=dataset,
            items=[{"itemId": "x", "properties": '{"CREATION_TIMESTAMP": 1767323045500}'}],
        )
    assert engine._store.changes(0).items == stored


def test_users_are_put_as_the_sdk_sends_them(events: Any, engine: CatalogueEngine) -> None:
    dataset = "arn:aws:personalize:eu-central-1:000000000000:dataset/default/USERS"
    properties = '{"numberOfRatings": "45", "city": "Ulm"}'
    users = [{"userId": "ann", "properties": properties}, {"userId": "bob"}]
    response = events.put_users(datasetArn=dataset, users=users)
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 200
    put(events, "film-3")
    states = engine._store.user_states(["ann", "bob"])
    assert {name: state.properties for name, state in states.items()} == {
        "ann": properties,
        "bob": "{}",
    }
    assert item_ids_of(states["ann"]) == ("film-3",)
    with pytest.raises(events.exceptions.ResourceNotFoundException, match="dataset/default/ITEMS"):
        events.put_users(datasetArn=dataset.replace("USERS", "ITEMS"), users=users)
    with pytest.raises(
        events.exceptions.InvalidInputException, match="'users.1.member.properties'"
    ):
        events.put_users(datasetArn=dataset, users=[{"userId": "eve", "properties": "no"}])
    assert engine._store.user_states(["eve"]) == {}


def test_the_session_stands_for_a_user_without_an_id(runtime: Any, events: Any) -> None:
    put(events, "film-0", user_id=None)
    assert recommended(runtime, userId="session", numResults=1) == ["film-1"]


def test_refusals_arrive_as_the_classes_of_the_sdk_and_are_not_retried(
    runtime: Any, events: Any, engine: CatalogueEngine
) -> None:
    with pytest.raises(runtime.exceptions.InvalidInputException, match="at 'numResults'"):
        runtime.get_recommendations(userId="ann", numResults=501)
    with pytest.raises(runtime.exceptions.ResourceNotFoundException, match="'books'") as caught:
        runtime.get_recommendations(userId="ann", campaignArn="books")
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert caught.value.response["ResponseMetadata"]["RequestId"]
    assert caught.value.response["ResponseMetadata"]["RetryAttempts"] == 0
    with pytest.raises(events.exceptions.InvalidInputException, match="no event tracker"):
        events.put_events(
            trackingId="spy", sessionId="s", eventList=[{"eventType": "e", "sentAt": 1}]
        )
    with pytest.raises(events.exceptions.InvalidInputException, match="not json"):
        put(events, "film-0", properties="not json")
    with pytest.raises(ClientError, match="UnknownOperationException"):
        runtime.get_action_recommendations(campaignArn="films", userId="ann")
    assert engine.num_requests == 0


def test_overload_is_retried_by_the_sdk(runtime: Any, engine: CatalogueEngine) -> None:
    engine.is_overloaded = True
    with pytest.raises(ClientError, match="ThrottlingException"):
        runtime.get_recommendations(userId="ann")
    assert engine.num_requests == 3


def test_two_hundred_requests_at_once_store_each_event_once(
    events: Any, engine: CatalogueEngine, port: int
) -> None:
    event_ids = [f"event-{number % 50}" for number in range(200)]
    with ThreadPoolExecutor(16) as threads:
        list(
            threads.map(
                lambda event_id: put(events, f"film-of-{event_id}", eventId=event_id), event_ids
            )
        )
    state = engine._store.user_states(["ann"])["ann"]
    assert sorted(item_ids_of(state)) == sorted({f"film-of-{event_id}" for event_id in event_ids})


def keys_command(
    capsys: pytest.CaptureFixture[str], database: Path, *arguments: str
) -> dict[str, Any]:
    arguments = ("keys", *arguments, "--database", f"sqlite:///{database}", "--json")
    assert main(arguments) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


def refusal_of(ask: Callable[[], Any]) -> tuple[str, int, int]:
    with pytest.raises(ClientError) as caught:
        ask()
    metadata = caught.value.response["ResponseMetadata"]
    status, retries = metadata["HTTPStatusCode"], metadata["RetryAttempts"]
    return caught.value.response["Error"]["Code"], status, retries


def test_the_sdk_is_let_in_with_the_keys_that_the_operator_makes_and_with_no_others(
    engine: CatalogueEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("RAYSYS_MASTER_KEY", base64.b64encode(b"m" * 32).decode())
    database = tmp_path / "state.db"
    made = keys_command(capsys, database, "create", "--scopes", "read,write")
    reader = keys_command(capsys, database, "create", "--scopes", "read")
    ring = open_key_ring(engine._store.keys, "auto", ["0.0.0.0"])
    assert ring is not None
    known = made["key_id"], made["secret"]
    with serving(engine, ring) as port, contextlib.ExitStack() as opened:

        def sdk(service: str, *key: str, host: str = "127.0.0.1") -> Any:
            return opened.enter_context(
                contextlib.closing(client(f"personalize-{service}", port, *key, host=host))
            )

        runtime = sdk("runtime", *known)
        assert recommended(runtime, userId="ann", numResults=1) == ["film-0"]
        put(sdk("events", *known, host="localhost"), "film-0", properties='{"ü": "☃ "}')
        assert recommended(runtime, userId="ann", numResults=1) == ["film-1"]
        asked = engine.num_requests

        def refused(service: str, *key: str) -> tuple[str, int, int]:
            chosen = sdk(service, *key)
            return refusal_of(
                (lambda: put(chosen, "film-1"))
                if service == "events"
                else lambda: chosen.get_recommendations(userId="ann")
            )

        assert refused("runtime") == ("UnrecognizedClientException", 403, 0)
        assert refused("runtime", known[0], "x" * 40) == ("InvalidSignatureException", 403, 0)
        assert refused("events", reader["key_id"], reader["secret"]) == (
            "AccessDeniedException",
            403,
            0,
        )
        assert post(port, "/recommendations", b"{}")[:2] == (
            403,
            "MissingAuthenticationTokenException",
        )
        assert post(port, "/healthz", b"", method="GET")[0] == 200
        # A key that is made while the server runs, and one that is revoked meanwhile.
        third = keys_command(capsys, database, "create", "--scopes", "read", "--bearer")
        keys_command(capsys, database, "revoke", known[0])
        until(lambda: ring.find(known[0]) is None and ring.find(third["key_id"]) is not None)
        assert refused("runtime", *known) == ("UnrecognizedClientException", 403, 0)
        assert engine.num_requests == asked
        token = {"Authorization": f"Bearer {third['token']}"}
        assert post(port, "/recommendations", b'{"userId": "ann"}', headers=token)[0] == 200
    ring.close()


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def post(
    port: int,
    path: str,
    body: bytes,
    method: str = "POST",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> tuple[int, str | None, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, body, dict(headers))
    response = connection.getresponse()
    answer = response.status, response.getheader("x-amzn-errortype"), response.read()
    connection.close()
    return answer


def test_a_body_of_ten_megabytes_is_refused_to_a_client_that_sends_it_whole(port: int) -> None:
    status, error, body = post(port, "/recommendations", b" " * 10_000_000)
    assert (status, error) == (413, "RequestTooLargeException")
    assert f"{MAX_BODY_BYTES} bytes" in json.loads(body)["message"]
    assert post(port, "/recommendations", b'{"userId": "ann"}')[0] == 200


def test_head_on_a_post_path_is_refused_without_a_body(port: int) -> None:
    status, error, body = post(port, "/recommendations", b"", method="HEAD")
    assert (status, error, body) == (405, "MethodNotAllowedException", b"")


def test_clients_that_hang_up_leave_the_server_in_peace(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    head = b"POST /recommendations HTTP/1.1\r\nhost: x\r\ncontent-length: 17\r\n\r\n"
    for sent in (head, head + b'{"userId"', head + b'{"userId": "ann"}'):
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(sent)
    assert post(port, "/recommendations", b'{"userId": "ann"}')[0] == 200
    assert [record for record in caplog.records if record.levelname in ("ERROR", "WARNING")] == []
