"""Which path does what."""

import msgspec
import pytest

from raysys.config import ExplorationPolicy
from raysys.errors import ReleaseNotFoundError, ServingError, UnavailableError
from raysys.serving.messages import Answer, Promotion, Query, RankQuery
from raysys.state.items import Item
from raysys.state.users import User
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


def test_what_is_known_of_items_comes_with_them() -> None:
    answer = Answer(
        ["a", "b"], None, RECOMMENDATION_ID, "r-1", "model", item_metadata=[{"TITLE": "A"}, {}]
    )
    engine = FakeEngine(answer=answer)
    body = b'{"userId": "ann", "metadataColumns": {"ITEMS": ["TITLE"]}}'
    reply = post("/recommendations", body, engine)
    assert list(engine.queries[0].metadata_columns) == ["TITLE"]
    assert reply.json()["itemList"] == [
        {"itemId": "a", "metadata": {"TITLE": "A"}},
        {"itemId": "b", "metadata": {}},
    ]


def test_a_promotion_is_asked_for_and_named_with_its_items() -> None:
    answer = Answer(
        ["a", "b"],
        None,
        RECOMMENDATION_ID,
        "r-1",
        "popular",
        item_reasons=[None, "Promoted item"],
        promotion_names=[None, "sale"],
    )
    engine = FakeEngine(answer=answer)
    body = {
        "userId": "ann",
        "filterArn": "seen",
        "promotions": [
            {
                "name": "sale",
                "percentPromotedItems": 30,
                "filterArn": "arn:aws:personalize:us-east-1:1:filter/reduced",
                "filterValues": {"BY": "20"},
            }
        ],
    }
    reply = post("/recommendations", msgspec.json.encode(body), engine)
    [query] = engine.queries
    assert (query.filter_name, query.filter_values) == ("seen", {})
    assert query.promotion == Promotion("sale", 30, "reduced", {"BY": "20"})
    assert reply.json()["itemList"] == [
        {"itemId": "a"},
        {"itemId": "b", "reason": ["Promoted item"], "promotionName": "sale"},
    ]


def test_a_ranking_is_asked_of_the_engine() -> None:
    engine = FakeEngine(answer=Answer(["b", "z"], [1.0, None], RECOMMENDATION_ID, "r-1", "model"))
    body = {
        "campaignArn": "films",
        "userId": "ann",
        "inputList": ["z", "b"],
        "context": {"A": "b"},
        "filterArn": "f",
        "filterValues": {"N": "1"},
        "metadataColumns": {"ITEMS": ["TITLE"]},
    }
    reply = post("/personalize-ranking", msgspec.json.encode(body), engine)
    asked = RankQuery("ann", ["z", "b"], {"A": "b"}, "f", {"N": "1"}, ["TITLE"], "films")
    assert engine.rankings == [asked]
    assert reply.json() == {
        "personalizedRanking": [{"itemId": "b", "score": 1.0}, {"itemId": "z"}],
        "recommendationId": RECOMMENDATION_ID,
    }
    assert reply.headers["x-raysys-source"] == "model"


@pytest.mark.parametrize(
    ("members", "status", "words"),
    [
        ({"inputList": []}, 400, "inputList"),
        ({"inputList": ["i"] * 501}, 400, "inputList"),
        ({"inputList": [""]}, 400, "inputList"),
        ({"inputList": None}, 400, "inputList"),
        ({"userId": None}, 400, "userId"),
        ({"campaignArn": None}, 400, "campaignArn"),
        ({"campaignArn": "books"}, 404, "books"),
        ({"filterValues": {"A": "1"}}, 400, "filterArn"),
        ({"filterArn": "arn:aws:personalize:r:1:campaign/f"}, 400, "filterArn"),
        ({"metadataColumns": {"USERS": ["A"]}}, 400, "metadataColumns"),
        ({"metadataColumns": {"ITEMS": ["A"]}, "inputList": ["i"] * 51}, 400, "inputList"),
    ],
)
def test_a_ranking_of_nothing_or_too_much_is_refused(
    members: dict[str, object], status: int, words: str
) -> None:
    body = {"campaignArn": "films", "userId": "ann", "inputList": ["a"]} | members
    engine = FakeEngine()
    given = {name: value for name, value in body.items() if value is not None}
    reply = post("/personalize-ranking", msgspec.json.encode(given), engine)
    assert (reply.status, engine.rankings) == (status, [])
    assert words in reply.message


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


def test_a_list_that_explored_names_its_seed_and_the_items_it_knew() -> None:
    answer = Answer(
        ["a", "b"],
        [0.75, None],
        RECOMMENDATION_ID,
        "r-1",
        "model",
        item_reasons=[None, "Exploration"],
        seed=2**63 - 1,
        delta_version=0,
    )
    reply = post("/recommendations", b'{"userId": "ann"}', FakeEngine(answer=answer))
    assert reply.headers["x-raysys-seed"] == "9223372036854775807"
    assert reply.headers["x-raysys-items"] == "0"
    assert reply.json()["itemList"] == [
        {"itemId": "a", "score": 0.75},
        {"itemId": "b", "reason": ["Exploration"]},
    ]


def test_weight_and_seed_are_taken_from_the_headers() -> None:
    engine = FakeEngine()
    headers = [
        (b"x-raysys-seed", b"9223372036854775807"),
        (b"host", b"h"),
        (b"x-raysys-exploration-weight", b"2.5e-1"),
    ]
    post("/recommendations", b'{"userId": "ann"}', engine, headers=headers)
    assert engine.queries == [Query("ann", None, 25, {}, 0.25, 2**63 - 1)]


@pytest.mark.parametrize(("value", "weight"), [(b"0", 0), (b"1", 1), (b".5", 0.5), (b"1.0", 1)])
def test_a_weight_may_be_any_number_from_0_to_1(value: bytes, weight: float) -> None:
    engine = FakeEngine()
    headers = [(b"x-raysys-exploration-weight", value), (b"x-raysys-seed", b"0")]
    post("/recommendations", b'{"userId": "ann"}', engine, headers=headers)
    assert engine.queries == [Query("ann", None, 25, {}, weight, 0)]


@pytest.mark.parametrize(
    "value",
    [b"", b"-0.1", b"1.0001", b"2", b"nan", b"inf", b"1_0", b" 1", b"0,5", b"half", b"\xff"],
)
def test_any_other_weight_is_refused(value: bytes) -> None:
    check_refused(b"x-raysys-exploration-weight", [value])


@pytest.mark.parametrize(
    "value", [b"", b"-1", b"9223372036854775808", b"1" * 5000, b"1.0", b"1e3", b"0x1", b"seed"]
)
def test_any_other_seed_is_refused(value: bytes) -> None:
    check_refused(b"x-raysys-seed", [value])


@pytest.mark.parametrize("policy", ["slot-mixture", "thompson-sampling", "epsilon-greedy", "none"])
def test_a_policy_may_be_any_that_there_is(policy: ExplorationPolicy) -> None:
    engine = FakeEngine()
    headers = [(b"x-raysys-exploration-policy", policy.encode())]
    post("/recommendations", b'{"userId": "ann"}', engine, headers=headers)
    assert engine.queries == [Query("ann", None, 25, exploration_policy=policy)]


@pytest.mark.parametrize("value", [b"", b"None", b"epsilon_greedy", b"thompson", b"\xff"])
def test_any_other_policy_is_refused(value: bytes) -> None:
    check_refused(b"x-raysys-exploration-policy", [value])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (b"x-raysys-seed", b"1"),
        (b"x-raysys-exploration-weight", b"1"),
        (b"x-raysys-exploration-policy", b"none"),
    ],
)
def test_a_header_that_is_there_twice_is_refused(name: bytes, value: bytes) -> None:
    check_refused(name, [value, value])


def check_refused(name: bytes, values: list[bytes]) -> None:
    engine = FakeEngine()
    headers = [(name, value) for value in values]
    reply = post("/recommendations", b'{"userId": "ann"}', engine, headers=headers)
    assert (reply.status, reply.error) == (400, "InvalidInputException")
    assert f"at 'header {name.decode()}'" in reply.message
    assert engine.queries == []


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


def test_items_reach_the_engine_and_are_acknowledged_with_nothing() -> None:
    engine = FakeEngine()
    arn = "arn:aws:personalize:eu-central-1:000000000000:dataset/default/ITEMS"
    body = (
        b'{"datasetArn": "' + arn.encode() + b'", "items": ['
        b'{"itemId": "a", "properties": "{\\"genres\\": \\"Drama\\"}"},'
        b'{"itemId": "b"}, {"itemId": "c", "properties": {"creationTimestamp": 0.5}}]}'
    )
    reply = post("/items", body, engine)
    assert (reply.status, reply.body) == (200, b"")
    assert engine.items == [
        Item("a", '{"genres": "Drama"}'),
        Item("b"),
        Item("c", '{"creationTimestamp":0.5}', 500_000),
    ]


def test_the_process_is_healthy_while_it_answers_even_when_it_is_not_ready() -> None:
    app = application(FakeEngine(failure=ServingError("no shard")))
    assert call(app, "GET", "/healthz").json() == {"status": "ok"}
    assert call(app, "GET", "/readyz").status == 503


def test_ready_says_what_is_served() -> None:
    reply = call(application(), "GET", "/readyz")
    assert (reply.status, reply.json()) == (
        200,
        {
            "status": "ready",
            "campaigns": {"films": {"version": 3, "releases": {"r-1": {"share": 1.0, "items": 9}}}},
            "shards": 2,
        },
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


def test_users_are_given_to_the_engine_as_they_came() -> None:
    engine = FakeEngine()
    body = {
        "datasetArn": "arn:aws:personalize:us-east-1:1:dataset/default/USERS",
        "users": [
            {"userId": "ann", "properties": '{"numberOfRatings": "45"}'},
            {"userId": "bob", "properties": {"age": 7}},
            {"userId": "eve"},
        ],
    }
    reply = post("/users", msgspec.json.encode(body), engine)
    assert (reply.status, reply.body) == (200, b"")
    assert engine.users == [
        User("ann", '{"numberOfRatings": "45"}'),
        User("bob", '{"age":7}'),
        User("eve", "{}"),
    ]
