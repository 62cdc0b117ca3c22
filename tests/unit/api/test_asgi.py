"""What HTTP may do to the application, and what the application never does to HTTP."""

import asyncio
import json
import logging
import uuid

import pytest

from raysys.api.asgi import Application, Headers, Message, Response, Route
from raysys.errors import (
    InvalidInputError,
    RequestError,
    StateUnavailableError,
    TooManyRequestsError,
    UnavailableError,
)
from raysys.serving.log_lines import JsonLines
from tests.unit.api.client import CONFIG, FakeEngine, application, call, exchange, post, run

QUESTION = b'{"userId": "ann"}'
LIMIT = CONFIG.max_body_bytes


@pytest.mark.parametrize(
    "path", ["/", "/recommendation", "/recommendations/", "/actions", "/../etc"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
def test_an_unknown_path_is_an_unknown_operation(method: str, path: str) -> None:
    reply = call(application(), method, path, b"{}")
    assert (reply.status, reply.error) == (404, "UnknownOperationException")
    assert reply.message == f"{path} does not exist."


def test_an_unknown_path_of_any_characters_is_told_in_ascii() -> None:
    reply = call(application(), "GET", "/\udce9ü\n")
    assert reply.message == "/\\udce9\\xfc\n does not exist."


@pytest.mark.parametrize("path", ["/recommendations", "/events"])
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "BREW"])
def test_a_path_that_takes_posts_refuses_other_methods(method: str, path: str) -> None:
    reply = call(application(), method, path)
    assert (reply.status, reply.error) == (405, "MethodNotAllowedException")
    assert reply.headers["allow"] == "POST"
    assert reply.message == f"{path} takes POST and not {method}."


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/openapi.json"])
def test_a_path_that_is_read_refuses_posts(path: str) -> None:
    reply = call(application(), "POST", path)
    assert (reply.status, reply.headers["allow"]) == (405, "GET")


def test_head_gets_the_headers_of_get_and_no_body() -> None:
    app = application()
    got, headed = call(app, "GET", "/healthz"), call(app, "HEAD", "/healthz")
    assert (headed.status, headed.body) == (200, b"")
    assert headed.headers["content-length"] == got.headers["content-length"] == str(len(got.body))
    refused = call(app, "HEAD", "/recommendations")
    assert (refused.status, refused.body) == (405, b"")


def test_every_answer_has_its_own_request_id_and_its_length() -> None:
    app = application()
    replies = [
        call(app, "POST", "/recommendations", QUESTION),
        call(app, "POST", "/recommendations", b""),
        call(app, "GET", "/nothing"),
        call(app, "GET", "/healthz"),
    ]
    for reply in replies:
        assert (
            str(uuid.UUID(reply.headers["x-amzn-requestid"])) == reply.headers["x-amzn-requestid"]
        )
        assert reply.headers["content-length"] == str(len(reply.body))
        assert reply.headers["content-type"] == "application/json"
    assert len({reply.headers["x-amzn-requestid"] for reply in replies}) == 4


def test_a_body_may_come_in_pieces() -> None:
    engine = FakeEngine()
    chunks = (b'{"user', b"", b'Id": "ann"}')
    start, _ = run(exchange(application(engine), "POST", "/recommendations", chunks))
    assert start["status"] == 200
    assert engine.queries[0].user_id == "ann"


def sized(num_bytes: int) -> bytes:
    return QUESTION + b" " * (num_bytes - len(QUESTION))


def test_a_body_of_exactly_the_limit_is_read_and_one_byte_more_is_not() -> None:
    assert post("/recommendations", sized(LIMIT)).status == 200
    reply = post("/recommendations", sized(LIMIT + 1))
    assert (reply.status, reply.error) == (413, "RequestTooLargeException")
    assert f"larger than {LIMIT} bytes" in reply.message


@pytest.mark.parametrize("length", [str(LIMIT + 1), "10000000", "9" * 5_000])
def test_a_body_that_announces_too_much_is_refused_unread(length: str) -> None:
    async def receive() -> Message:
        raise AssertionError("the body was read")

    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/events",
        "headers": [(b"content-length", length.encode())],
    }
    run(application()(scope, receive, send))
    assert sent[0]["status"] == 413


def test_reading_stops_at_the_limit_when_nothing_was_announced() -> None:
    chunks = (b" " * LIMIT, b" ", b'{"userId": "ann"}')
    engine = FakeEngine()
    start, _ = run(exchange(application(engine), "POST", "/recommendations", chunks))
    assert start["status"] == 413
    assert engine.queries == []


@pytest.mark.parametrize("length", [b"ten", b"-5", b"", b"\xb2"])
def test_a_content_length_that_is_no_number_is_left_to_counting(length: bytes) -> None:
    headers = [(b"content-length", length)]
    reply = call(application(), "POST", "/recommendations", QUESTION, headers=headers)
    assert reply.status == 200


def test_a_client_that_hangs_up_early_is_not_answered(caplog: pytest.LogCaptureFixture) -> None:
    engine = FakeEngine()
    app = application(engine)
    sent = run(exchange(app, "POST", "/recommendations", (b'{"userId"',), hangs_up=True))
    assert (sent, engine.queries, caplog.records) == ([], [], [])


def test_a_client_that_hangs_up_before_its_answer_causes_no_noise(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def receive() -> Message:
        return {"type": "http.request", "body": QUESTION}

    async def send(_: Message) -> None:
        raise BrokenPipeError

    scope = {"type": "http", "method": "POST", "path": "/recommendations", "headers": []}
    caplog.set_level(logging.INFO)
    run(application()(scope, receive, send))
    assert caplog.records == []


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (InvalidInputError("no"), 400, "InvalidInputException"),
        (TooManyRequestsError("no"), 429, "ThrottlingException"),
        (UnavailableError("no"), 503, "ServiceUnavailableException"),
        (StateUnavailableError("no"), 503, "ServiceUnavailableException"),
    ],
)
def test_an_error_of_the_engine_reaches_the_client(
    failure: Exception, status: int, code: str, caplog: pytest.LogCaptureFixture
) -> None:
    reply = post("/recommendations", QUESTION, FakeEngine(failure=failure))
    assert (reply.status, reply.error, reply.message) == (status, code, "no")
    assert reply.headers.get("retry-after") == ("1" if status in (429, 503) else None)
    assert caplog.records == []


@pytest.mark.parametrize("given", ["0123-abc", "a" * 128, "A.b_c:1"])
def test_a_request_keeps_the_id_that_it_came_with(given: str) -> None:
    headers = [(b"x-request-id", given.encode())]
    reply = call(application(), "GET", "/healthz", headers=headers)
    assert reply.headers["x-amzn-requestid"] == given


@pytest.mark.parametrize("given", ["", "a" * 129, "a b", "a\nb", "\u00e4", "<b>"])
def test_an_id_that_is_not_fit_to_be_repeated_is_replaced(given: str) -> None:
    headers = [(b"x-request-id", given.encode())]
    reply = call(application(), "GET", "/healthz", headers=headers)
    assert str(uuid.UUID(reply.headers["x-amzn-requestid"])) != given


def test_each_error_is_told_to_the_engine_by_its_name_once() -> None:
    engine = FakeEngine()
    app = application(engine)
    call(app, "GET", "/nothing")
    call(app, "GET", "/recommendations")
    call(app, "POST", "/recommendations", b"")
    call(app, "POST", "/recommendations", QUESTION)
    engine.failure = KeyError()
    call(app, "POST", "/recommendations", QUESTION)
    engine.failure = UnavailableError()
    call(app, "GET", "/readyz")
    assert engine.refusals == [
        "UnknownOperationException",
        "MethodNotAllowedException",
        "InvalidInputException",
        "InternalFailure",
        "ServiceUnavailableException",
    ]


def test_a_bug_is_told_to_the_log_and_not_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    caplog.handler.setFormatter(JsonLines({}))
    reply = post("/recommendations", QUESTION, FakeEngine(failure=KeyError("secret")))
    assert (reply.status, reply.error) == (500, "InternalFailure")
    assert b"secret" not in reply.body
    assert b"Traceback" not in reply.body
    request_id = reply.headers["x-amzn-requestid"]
    assert request_id in reply.message
    [line] = map(json.loads, caplog.text.splitlines())
    assert line["request_id"] == request_id
    assert "KeyError: 'secret'" in line["exception"]


def test_a_cancelled_request_stays_cancelled() -> None:
    engine = FakeEngine()

    async def wait_for_ever(_: object) -> None:
        await asyncio.sleep(3600)

    engine.put_events = wait_for_ever  # type: ignore[method-assign]
    body = (
        b'{"trackingId": "tracker", "sessionId": "s",'
        b' "eventList": [{"eventType": "e", "sentAt": 0}]}'
    )

    async def scenario() -> None:
        request = asyncio.create_task(exchange(application(engine), "POST", "/events", (body,)))
        await asyncio.sleep(0)
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request

    asyncio.run(scenario())


def test_a_further_route_passes_through_the_same_door() -> None:
    async def echo(body: bytes, headers: Headers) -> Response:
        if not body:
            raise InvalidInputError("say something")
        return Response(body, ((b"x-echo", dict(headers).get(b"x-say", b"yes")),))

    app = application(extra_routes=[Route("POST", "/echo", echo, None)])
    assert call(app, "POST", "/echo", b"5").body == b"5"
    assert call(app, "POST", "/echo", b"5").headers["x-echo"] == "yes"
    said = call(app, "POST", "/echo", b"5", headers=[(b"x-say", b"no")])
    assert said.headers["x-echo"] == "no"
    assert call(app, "POST", "/echo", b"").error == "InvalidInputException"
    assert call(app, "POST", "/echo", b" " * (LIMIT + 1)).status == 413
    assert call(app, "POST", "/recommendations", QUESTION).status == 200


def test_two_routes_for_one_thing_are_refused() -> None:
    async def handler(_body: bytes, _: Headers) -> Response:
        raise RequestError

    with pytest.raises(ValueError, match="Two routes for POST /recommendations"):
        application(extra_routes=[Route("POST", "/recommendations", handler, None)])


def test_a_path_prefix_that_the_server_strips_is_no_part_of_the_path() -> None:
    app = application()
    options = {"root_path": "/runtime"}
    reply = call(app, "POST", "/runtime/recommendations", QUESTION, **options)
    assert reply.status == 200
    assert call(app, "POST", "/recommendations", QUESTION, **options).status == 200


def test_the_server_hears_that_startup_and_shutdown_are_done() -> None:
    events = ["lifespan.startup", "lifespan.shutdown"]
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": events.pop(0)}

    async def send(message: Message) -> None:
        sent.append(message)

    app: Application = application()
    run(app({"type": "lifespan"}, receive, send))
    assert [message["type"] for message in sent] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]


def test_a_websocket_is_closed() -> None:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "websocket.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    run(application()({"type": "websocket", "path": "/recommendations"}, receive, send))
    assert [message["type"] for message in sent] == ["websocket.close"]
