"""Which path does what."""

import pytest

from raysys.errors import ReleaseNotFoundError, ServingError, UnavailableError
from raysys.serving.messages import Answer, Query
from tests.unit.api.client import RECOMMENDATION_ID, FakeEngine, application, call, post


def test_recommendations_are_asked_of_the_engine() -> None:
    engine = FakeEngine()
    reply = post(
        "/recommendations",
        b'{"userId": "ann", "itemId": "i", "numResults": 7, "context": {"A": "b"}}',
        engine,
    )
    assert engine.queries == [Query("ann", "i", 7, {"A": "b"})]
    assert reply.json() == {
        "itemList": [{"itemId": "a", "score": 0.75}, {"itemId": "b", "score": 0.25}],
        "recommendationId": RECOMMENDATION_ID,
    }


def test_what_is_not_given_has_a_default() -> None:
    engine = FakeEngine()
    post("/recommendations", b'{"itemId": "i"}', engine)
    assert engine.queries == [Query(None, "i", 25, {})]


def test_the_headers_say_where_the_answer_comes_from() -> None:
    reply = post("/recommendations", b'{"userId": "ann"}')
    ours = {name: value for name, value in reply.headers.items() if name.startswith("x-raysys")}
    assert ours == {"x-raysys-release": "r-1", "x-raysys-source": "model"}


def test_the_headers_say_why_an_answer_is_less_than_was_asked_for() -> None:
    answer = Answer(["a"], None, RECOMMENDATION_ID, "r-2", "popular", "unknown-user", degraded=True)
    reply = post("/recommendations", b'{"userId": "ann"}', FakeEngine(answer=answer))
    ours = {name: value for name, value in reply.headers.items() if name.startswith("x-raysys")}
    assert ours == {
        "x-raysys-release": "r-2",
        "x-raysys-source": "popular",
        "x-raysys-reason": "unknown-user",
        "x-raysys-degraded": "true",
    }


def test_events_reach_the_engine_and_are_acknowledged_with_nothing() -> None:
    engine = FakeEngine()
    body = (
        b'{"trackingId": "tracker", "sessionId": "s", "userId": "ann",'
        b' "eventList": [{"eventType": "click", "sentAt": 1, "itemId": "i"},'
        b' {"eventType": "watch", "sentAt": 2}]}'
    )
    reply = post("/events", body, engine)
    assert (reply.status, reply.body) == (200, b"")
    assert [(event.user_id, event.item_id) for event in engine.events] == [
        ("ann", "i"),
        ("ann", None),
    ]


def test_the_process_is_healthy_while_it_answers_even_when_it_is_not_ready() -> None:
    app = application(FakeEngine(failure=ServingError("no shard")))
    assert call(app, "GET", "/healthz").json() == {"status": "ok"}
    assert call(app, "GET", "/readyz").status == 503


def test_ready_says_what_is_served() -> None:
    reply = call(application(), "GET", "/readyz")
    assert (reply.status, reply.json()) == (
        200,
        {"status": "ready", "campaign": "films", "release": "r-1", "shards": 2},
    )


@pytest.mark.parametrize(
    "failure",
    [ServingError("shard 1"), UnavailableError("shard 1"), ReleaseNotFoundError("shard 1")],
)
def test_not_ready_says_why(failure: Exception) -> None:
    reply = call(application(FakeEngine(failure=failure)), "GET", "/readyz")
    assert (reply.status, reply.error) == (503, "ServiceUnavailableException")
    assert reply.message == "shard 1"


def test_a_bug_in_the_readiness_is_no_reason_to_tell_its_traceback() -> None:
    reply = call(application(FakeEngine(failure=RuntimeError("secret"))), "GET", "/readyz")
    assert (reply.status, reply.error) == (500, "InternalFailure")
    assert b"secret" not in reply.body
