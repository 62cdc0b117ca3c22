"""Whatever comes in, the answer is in the wire format, and 500 is not among the answers."""

import gc
import gzip
import re
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.api.app import build_asgi
from tests.unit.api.client import CONFIG, FakeEngine, Reply, call, post

INVALID = (400, "InvalidInputException")
NOT_FOUND = (404, "ResourceNotFoundException")
ACCEPTED = (200, None)

ARN = "arn:aws:personalize:eu-central-1:000000000000:"


def encoded(value: object) -> bytes:
    return value if isinstance(value, bytes) else msgspec.json.encode(value)


def ask(**members: object) -> bytes:
    return encoded({"userId": "ann", **members})


PROMOTION = {"name": "sale", "percentPromotedItems": 20}


def promote(**members: object) -> bytes:
    return ask(promotions=[{**PROMOTION, **members}])


def put(**members: object) -> bytes:
    """A request with one event; `members` replace or, when None, remove the event's own."""
    event = {"eventType": "click", "sentAt": 1767323045, "itemId": "matrix", **members}
    event = {name: value for name, value in event.items() if value is not None}
    return encoded({"trackingId": "tracker", "sessionId": "s", "eventList": [event]})


def put_raw(sent_at: bytes) -> bytes:
    """A request with a `sentAt` that no encoder would write."""
    return put().replace(b"1767323045", sent_at)


def put_request(**members: object) -> bytes:
    """A request with one good event; `members` replace or, when None, remove the request's own."""
    request = {
        "trackingId": "tracker",
        "sessionId": "s",
        "eventList": [{"eventType": "click", "sentAt": 1}],
        **members,
    }
    return encoded({name: value for name, value in request.items() if value is not None})


NOT_JSON = {
    "nothing": b"",
    "a word": b"hello",
    "half an object": b'{"userId": "ann"',
    "two objects": b'{"userId": "ann"}{}',
    "a byte order mark": b'\xef\xbb\xbf{"userId": "ann"}',
    "not UTF-8": b'{"userId": "\xff\xfe"}',
    "half a surrogate pair": b'{"userId": "\\ud800"}',
    "a raw line break in a string": b'{"userId": "a\nb"}',
    "NaN": b'{"userId": "ann", "numResults": NaN}',
    "single quotes": b"{'userId': 'ann'}",
    "deep nesting": b'{"userId": "ann", "x": ' + b"[" * 50_000,
    "deep nesting, closed": b'{"userId": "ann", "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "an array": b"[]",
    "a number": b"5",
    "a string": b'"ann"',
    "true": b"true",
    "null": b"null",
}


@pytest.mark.parametrize("path", ["/recommendations", "/events", "/items", "/users"])
@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_a_body_that_is_no_json_object_is_refused(path: str, body: bytes) -> None:
    engine = FakeEngine()
    reply = post(path, body, engine)
    assert (reply.status, reply.error) == INVALID
    assert reply.message
    assert (engine.queries, engine.events, engine.items, engine.users) == ([], [], [], [])


RECOMMENDATIONS: dict[str, tuple[object, tuple[int, str | None], str]] = {
    "no id": ({}, ACCEPTED, ""),  # the engine knows whether the campaign needs one
    "null ids": ({"userId": None, "itemId": None}, ACCEPTED, ""),
    "an empty userId": (ask(userId=""), INVALID, "at 'userId'.*length greater than or equal to 1"),
    "an empty itemId": (ask(itemId=""), INVALID, "at 'itemId'.*length greater than or equal to 1"),
    "a userId of 256": (ask(userId="u" * 256), ACCEPTED, ""),
    "a userId of 257": (ask(userId="u" * 257), INVALID, "at 'userId'.*less than or equal to 256"),
    "a userId of 256 beyond ASCII": (ask(userId="ü" * 256), ACCEPTED, ""),
    "an itemId of 10,000": (
        ask(itemId="i" * 10_000),
        INVALID,
        r"\(10000 characters\)' at 'itemId'",
    ),
    "a NUL in an id": (ask(userId="a\0b"), INVALID, "at 'userId'.*regular expression"),
    "a line break in an id": (ask(userId="a\nb"), INVALID, "at 'userId'"),
    "a line break after an id": (ask(userId="ann\n"), INVALID, "at 'userId'"),
    "an escape in an id": (ask(itemId="\x1b[31m"), INVALID, "at 'itemId'"),
    "a DEL in an id": (ask(userId="\x7f"), INVALID, "at 'userId'"),
    "quotes and slashes in an id": (ask(userId="a'b\"c/../;--"), ACCEPTED, ""),
    "a number for an id": (ask(userId=196), INVALID, "Value 196 at 'userId'.*be a string"),
    "a list for an id": (ask(userId=["ann"]), INVALID, "at 'userId'.*be a string"),
    "the same key twice": (
        b'{"userId": 5, "userId": "ann"}',
        INVALID,
        "got `int` - at `[$].userId`",
    ),
    "numResults 0": (ask(numResults=0), INVALID, "Value 0 at 'numResults'.*equal to 1"),
    "numResults 1": (ask(numResults=1), ACCEPTED, ""),
    "numResults 500": (ask(numResults=500), ACCEPTED, ""),
    "numResults 501": (ask(numResults=501), INVALID, "Value 501 at 'numResults'.*equal to 500"),
    "numResults -1": (ask(numResults=-1), INVALID, "at 'numResults'"),
    "numResults ten": (ask(numResults="ten"), INVALID, "Value 'ten' at 'numResults'.*an integer"),
    "numResults 2.5": (ask(numResults=2.5), INVALID, "Value 2.5 at 'numResults'.*an integer"),
    "numResults true": (ask(numResults=True), INVALID, "Value true at 'numResults'"),
    "numResults null": (ask(numResults=None), ACCEPTED, ""),
    "numResults of 400 digits": (
        b'{"userId": "ann", "numResults": 1' + b"0" * 400 + b"}",
        INVALID,
        "numResults",
    ),
    "numResults 1e999": (b'{"userId": "ann", "numResults": 1e999}', INVALID, "numResults"),
    "the campaign by name": (ask(campaignArn="films"), ACCEPTED, ""),
    "the campaign by ARN": (ask(campaignArn=ARN + "campaign/films"), ACCEPTED, ""),
    "another campaign": (ask(campaignArn="books"), NOT_FOUND, "no campaign 'books'.*'films'"),
    "another campaign by ARN": (ask(campaignArn=ARN + "campaign/books"), NOT_FOUND, "'books'"),
    "nonsense for a campaign": (ask(campaignArn="bad name!"), NOT_FOUND, "no campaign 'bad name!'"),
    "a solution's ARN": (ask(campaignArn=ARN + "solution/films"), INVALID, "at 'campaignArn'"),
    "a bucket's ARN": (ask(campaignArn="arn:aws:s3:::films"), INVALID, "at 'campaignArn'"),
    "an ARN without a name": (ask(campaignArn=ARN + "campaign/"), INVALID, "at 'campaignArn'"),
    "an empty campaign": (ask(campaignArn=""), INVALID, "at 'campaignArn'"),
    "a campaign of 257": (ask(campaignArn="c" * 257), INVALID, "at 'campaignArn'"),
    "a context": (ask(context={"DEVICE": "phone"}), ACCEPTED, ""),
    "a context of 150": (ask(context={f"k{n}": "v" for n in range(150)}), ACCEPTED, ""),
    "a context of 151": (
        ask(context={f"k{n}": "v" for n in range(151)}),
        INVALID,
        r"Value \{151 members\} at 'context'.*less than or equal to 150",
    ),
    "a number in a context": (ask(context={"HOUR": 5}), INVALID, "at 'context.HOUR.value'"),
    "an object in a context": (ask(context={"A": {"B": "c"}}), INVALID, "at 'context.A.value'"),
    "a bad name in a context": (ask(context={"a b": "c"}), INVALID, "'a b' at 'context.key'"),
    "a list for a context": (ask(context=["DEVICE"]), INVALID, "at 'context'.*an object"),
    "a context value of 1,001": (ask(context={"A": "v" * 1001}), INVALID, "at 'context.A.value'"),
    "a filter": (ask(filterArn=ARN + "filter/unseen"), ACCEPTED, ""),
    "a filter by name": (ask(filterArn="unseen", filterValues={"A": "1"}), ACCEPTED, ""),
    "a campaign for a filter": (ask(filterArn=ARN + "campaign/films"), INVALID, "at 'filterArn'"),
    "a path for a filter": (ask(filterArn=ARN + "filter/a/../b"), INVALID, "at 'filterArn'"),
    "an empty filter": (ask(filterArn=""), INVALID, "at 'filterArn'"),
    "a control character": (ask(filterArn="a\u0000b"), INVALID, "at 'filterArn'"),
    "a number for a filter": (ask(filterArn=7), INVALID, "at 'filterArn'.*a string"),
    "values of no filter": (ask(filterValues={"A": "1"}), INVALID, "no filterArn"),
    "no values of no filter": (ask(filterValues={}), ACCEPTED, ""),
    "26 filter values": (
        ask(filterArn="f", filterValues={f"A{n}": "1" for n in range(26)}),
        INVALID,
        "at 'filterValues'.*less than or equal to 25",
    ),
    "text that runs from right to left": (ask(userId="\u202eann\u2066"), ACCEPTED, ""),
    "a character of no plane": (ask(userId="\U0010ffff"), ACCEPTED, ""),
    "a line separator in an id": (ask(userId="a\u2028b"), ACCEPTED, ""),
    "a filter value of 1,001": (
        ask(filterArn="f", filterValues={"A": "1" * 1001}),
        INVALID,
        "at 'filterValues.A.value'",
    ),
    "a number among filter values": (
        ask(filterArn="f", filterValues={"A": 1}),
        INVALID,
        "at 'filterValues.A.value'.*a string",
    ),
    "a bad name of a filter value": (
        ask(filterArn="f", filterValues={"$A": "1"}),
        INVALID,
        "at 'filterValues.key'",
    ),
    "a long name of a filter value": (
        ask(filterArn="f", filterValues={"A" * 51: "1"}),
        INVALID,
        "at 'filterValues.key'",
    ),
    "a recommender": (ask(recommenderArn=ARN + "recommender/r"), NOT_FOUND, "no recommender"),
    "a promotion of no share": (ask(promotions=[{"name": "p"}]), INVALID, "percentPromotedItems"),
    "a promotion of 0 %": (promote(percentPromotedItems=0), INVALID, "percentPromotedItems"),
    "a promotion of 101 %": (promote(percentPromotedItems=101), INVALID, "percentPromotedItems"),
    "a promotion without a good name": (promote(name="a b"), INVALID, "promotions.1.member.name"),
    "a promotion of values alone": (promote(filterValues={"A": "1"}), INVALID, "filterArn"),
    "two promotions": (ask(promotions=[PROMOTION, PROMOTION]), INVALID, "promotions"),
    "one promotion": (promote(), ACCEPTED, ""),
    "metadata columns": (ask(metadataColumns={"ITEMS": ["TITLE"]}), ACCEPTED, ""),
    "metadata of users": (ask(metadataColumns={"USERS": ["AGE"]}), INVALID, "metadataColumns"),
    "11 metadata columns": (ask(metadataColumns={"ITEMS": ["A"] * 11}), INVALID, "metadataColumns"),
    "metadata of 51 items": (
        ask(numResults=51, metadataColumns={"ITEMS": ["A"]}),
        INVALID,
        "numResults",
    ),
    "metadata of 50 items": (ask(numResults=50, metadataColumns={"ITEMS": ["A"]}), ACCEPTED, ""),
    "no promotion": (ask(promotions=[], metadataColumns={}), ACCEPTED, ""),
    "a member that nobody knows": (ask(colour="blue"), ACCEPTED, ""),
    "two things wrong": (
        ask(userId="", numResults=0),
        INVALID,
        "2 validation errors detected: .*'userId'.*'numResults'",
    ),
}


@pytest.mark.parametrize(
    ("body", "outcome", "message"), RECOMMENDATIONS.values(), ids=RECOMMENDATIONS.keys()
)
def test_a_request_for_recommendations(
    body: object, outcome: tuple[int, str | None], message: str
) -> None:
    engine = FakeEngine()
    reply = post("/recommendations", encoded(body), engine)
    check(reply, outcome, message)
    assert len(engine.queries) == (1 if outcome == ACCEPTED else 0)


EVENTS: dict[str, tuple[bytes, tuple[int, str | None], str]] = {
    "one event": (put(), ACCEPTED, ""),
    "ten events": (put_request(eventList=[{"eventType": "e", "sentAt": 1}] * 10), ACCEPTED, ""),
    "eleven events": (
        put_request(eventList=[{"eventType": "e", "sentAt": 1}] * 11),
        INVALID,
        r"Value \[11 members\] at 'eventList'.*less than or equal to 10",
    ),
    "no events": (put_request(eventList=[]), INVALID, "at 'eventList'.*greater than or equal to 1"),
    "no eventList": (put_request(eventList=None), INVALID, "null at 'eventList'.*not be null"),
    "an event that is a number": (put_request(eventList=[5]), INVALID, "'eventList.1.member'"),
    "an object for the list": (put_request(eventList={}), INVALID, "at 'eventList'.*a list"),
    "no tracker": (put_request(trackingId=None), INVALID, "null at 'trackingId'.*not be null"),
    "another tracker": (put_request(trackingId="spy"), INVALID, "no event tracker.*'spy'"),
    "an empty tracker": (put_request(trackingId=""), INVALID, "at 'trackingId'"),
    "no session": (put_request(sessionId=None), INVALID, "null at 'sessionId'.*not be null"),
    "an empty session": (put_request(sessionId=""), INVALID, "at 'sessionId'"),
    "a session of 257": (put_request(sessionId="s" * 257), INVALID, "at 'sessionId'"),
    "a user": (put_request(userId="ann"), ACCEPTED, ""),
    "an empty user": (put_request(userId=""), INVALID, "at 'userId'"),
    "a NUL in a user": (put_request(userId="a\0"), INVALID, "at 'userId'"),
    "no eventType": (put(eventType=None), INVALID, "null at 'eventList.1.member.eventType'"),
    "an empty eventType": (put(eventType=""), INVALID, "'eventList.1.member.eventType'"),
    "no item": (put(itemId=None), ACCEPTED, ""),
    "an empty item": (put(itemId=""), INVALID, "'eventList.1.member.itemId'"),
    "an item of 257": (put(itemId="i" * 257), INVALID, "'eventList.1.member.itemId'"),
    "an eventId of 256": (put(eventId="e" * 256), ACCEPTED, ""),
    "an eventId of 257": (put(eventId="e" * 257), INVALID, "'eventList.1.member.eventId'"),
    "sentAt 0": (put(sentAt=0), ACCEPTED, ""),
    "sentAt with microseconds": (put(sentAt=1767323045.678901), ACCEPTED, ""),
    "no sentAt": (put(sentAt=None), INVALID, "null at 'eventList.1.member.sentAt'"),
    "sentAt in milliseconds": (put(sentAt=1767323045123), INVALID, "divide milliseconds by 1000"),
    "sentAt as a string": (put(sentAt="2026-01-02"), INVALID, "be a number.*seconds since 1970"),
    "sentAt as digits": (put(sentAt="1767323045"), INVALID, "be a number"),
    "sentAt true": (put(sentAt=True), INVALID, "Value true.*sentAt.*be a number"),
    "sentAt negative": (put(sentAt=-1), INVALID, "sentAt.*greater than or equal to 0"),
    "sentAt NaN": (put_raw(b"NaN"), INVALID, "not valid JSON"),
    "sentAt infinite": (put_raw(b"1e999"), INVALID, "sentAt"),
    "sentAt in the last second of 9998": (put(sentAt=253_370_764_799), INVALID, "sentAt.*future"),
    "sentAt in 9999": (put(sentAt=253_370_764_800), INVALID, "sentAt"),
    "a source": (put(metricAttribution={"eventAttributionSource": " a b"}), ACCEPTED, ""),
    "no source": (
        put(metricAttribution={}),
        INVALID,
        "null at 'eventList.1.member.metricAttribution.eventAttributionSource'",
    ),
    "a source of blanks": (
        put(metricAttribution={"eventAttributionSource": "  "}),
        INVALID,
        "eventAttributionSource.*pattern",
    ),
    "a source of 1,025": (
        put(metricAttribution={"eventAttributionSource": "a" * 1025}),
        INVALID,
        "eventAttributionSource.*less than or equal to 1024",
    ),
    "an integer for a value": (put(eventValue=5), ACCEPTED, ""),
    "a string for a value": (put(eventValue="5"), INVALID, "eventValue.*be a number"),
    "properties as text": (put(properties='{"a": "b"}'), ACCEPTED, ""),
    "properties as an object": (put(properties={"a": "b"}), ACCEPTED, ""),
    "properties that are not JSON": (put(properties="not json"), INVALID, "member.properties"),
    "properties that are a JSON list": (put(properties="[1]"), INVALID, "be a JSON object"),
    "properties that are a list": (put(properties=[1]), INVALID, "be a string or an object"),
    "properties with NaN": (put(properties='{"a": NaN}'), INVALID, "member.properties"),
    "empty properties": (put(properties=""), INVALID, "member.properties"),
    "properties of 1,024": (put(properties='{"a":"' + "b" * 1016 + '"}'), ACCEPTED, ""),
    "properties of 1,025": (
        put(properties='{"a":"' + "b" * 1017 + '"}'),
        INVALID,
        "properties.*less than or equal to 1024",
    ),
    "an object of 1,025 as properties": (
        put(properties={"a": "b" * 1017}),
        INVALID,
        "properties.*less than or equal to 1024",
    ),
    "an object of 1,024 as properties": (put(properties={"a": "b" * 1016}), ACCEPTED, ""),
    "deep nesting in properties": (put(properties='{"a":' + "[" * 1000), INVALID, "properties"),
    "a recommendationId of 40": (put(recommendationId="R" * 40), ACCEPTED, ""),
    "a recommendationId of 41": (put(recommendationId="R" * 41), INVALID, "recommendationId"),
    "an impression of 25": (put(impression=["i"] * 25), ACCEPTED, ""),
    "an impression of 26": (put(impression=["i"] * 26), INVALID, "impression"),
    "an empty impression": (put(impression=[]), INVALID, "impression"),
    "an empty id in an impression": (put(impression=[""]), INVALID, "impression.1.member"),
}


@pytest.mark.parametrize(("body", "outcome", "message"), EVENTS.values(), ids=EVENTS.keys())
def test_a_request_with_events(body: bytes, outcome: tuple[int, str | None], message: str) -> None:
    engine = FakeEngine()
    reply = post("/events", body, engine)
    check(reply, outcome, message)
    assert bool(engine.events) == (outcome == ACCEPTED)


def item(properties: object = None, **members: object) -> bytes:
    """A request with one item; `members` replace or, when None, remove the request's own."""
    request = {
        "datasetArn": ARN + "dataset/default/ITEMS",
        "items": [{"itemId": "new", "properties": properties}],
        **members,
    }
    return encoded({name: value for name, value in request.items() if value is not None})


def created(value: object) -> bytes:
    return item({"CREATION_TIMESTAMP": value})


ITEMS: dict[str, tuple[bytes, tuple[int, str | None], str]] = {
    "an item that nothing is known of": (item(), ACCEPTED, ""),
    "ten items": (item(items=[{"itemId": str(number)} for number in range(10)]), ACCEPTED, ""),
    "eleven items": (
        item(items=[{"itemId": str(number)} for number in range(11)]),
        INVALID,
        r"Value \[11 members\] at 'items'.*less than or equal to 10",
    ),
    "no items": (item(items=[]), INVALID, "at 'items'.*greater than or equal to 1"),
    "no list of items": (item(items=None), INVALID, "null at 'items'.*not be null"),
    "an item without an id": (item(items=[{}]), INVALID, "null at 'items.1.member.itemId'"),
    "an item of 257": (item(items=[{"itemId": "i" * 257}]), INVALID, "'items.1.member.itemId'"),
    "a NUL in an item": (item(items=[{"itemId": "a\0"}]), INVALID, "'items.1.member.itemId'"),
    "no dataset": (item(datasetArn=None), INVALID, "null at 'datasetArn'.*not be null"),
    "a word for a dataset": (item(datasetArn="default"), INVALID, "at 'datasetArn'.*be an ARN"),
    "a bucket's ARN": (item(datasetArn="arn:aws:s3:::films"), INVALID, "at 'datasetArn'"),
    "another group's items": (
        item(datasetArn=ARN + "dataset/books/ITEMS"),
        NOT_FOUND,
        "no 'dataset/books/ITEMS'.*'dataset/default/ITEMS'",
    ),
    "users": (item(datasetArn=ARN + "dataset/default/USERS"), NOT_FOUND, "dataset/default/USERS"),
    "a campaign": (item(datasetArn=ARN + "campaign/films"), NOT_FOUND, "campaign/films"),
    "item properties as text": (item('{"genres": "Drama|War"}'), ACCEPTED, ""),
    "item properties that are not JSON": (item("no"), INVALID, "'items.1.member.properties'"),
    "item properties that are a list": (item("[]"), INVALID, "be a JSON object"),
    "item properties of 32,000": (item('{"a":"' + "b" * 31_992 + '"}'), ACCEPTED, ""),
    "item properties of 32,001": (item('{"a":"' + "b" * 31_993 + '"}'), INVALID, "equal to 32000"),
    "an item object of 32,001": (item({"a": "b" * 31_993}), INVALID, "equal to 32000 as JSON"),
    "empty item properties": (item(""), INVALID, "'items.1.member.properties'"),
    "created in 1970": (created(0.000001), ACCEPTED, ""),
    "created at no time": (created(None), ACCEPTED, ""),
    "created at 0": (created(0), INVALID, "properties.CREATION_TIMESTAMP.*between 1970 and now"),
    "created before 1970": (created(-1), INVALID, "between 1970 and now"),
    "created in milliseconds": (created(1767323045123), INVALID, "divide milliseconds by 1000"),
    "created on a day": (created("2026-01-02"), INVALID, "be a number of seconds"),
    "created true": (created(True), INVALID, "Value true.*be a number of seconds"),
    "created at a list": (created([1]), INVALID, "be a number of seconds"),
    "created at infinity": (item('{"CREATION_TIMESTAMP": 1e999}'), INVALID, "properties"),
    "created in camel case": (item({"creationTimestamp": -5}), INVALID, "creationTimestamp"),
}


@pytest.mark.parametrize(("body", "outcome", "message"), ITEMS.values(), ids=ITEMS.keys())
def test_a_request_with_items(body: bytes, outcome: tuple[int, str | None], message: str) -> None:
    engine = FakeEngine()
    reply = post("/items", body, engine)
    check(reply, outcome, message)
    assert bool(engine.items) == (outcome == ACCEPTED)


def user(properties: object = None, **members: object) -> bytes:
    """A request with one user; `members` replace or, when None, remove the request's own."""
    request = {
        "datasetArn": ARN + "dataset/default/USERS",
        "users": [{"userId": "ann", "properties": properties}],
        **members,
    }
    return encoded({name: value for name, value in request.items() if value is not None})


USERS: dict[str, tuple[bytes, tuple[int, str | None], str]] = {
    "a user that nothing is known of": (user(), ACCEPTED, ""),
    "ten users": (user(users=[{"userId": str(number)} for number in range(10)]), ACCEPTED, ""),
    "eleven users": (
        user(users=[{"userId": str(number)} for number in range(11)]),
        INVALID,
        r"Value \[11 members\] at 'users'.*less than or equal to 10",
    ),
    "no users": (user(users=[]), INVALID, "at 'users'.*greater than or equal to 1"),
    "no list of users": (user(users=None), INVALID, "null at 'users'.*not be null"),
    "a user without an id": (user(users=[{}]), INVALID, "null at 'users.1.member.userId'"),
    "a user of 257": (user(users=[{"userId": "i" * 257}]), INVALID, "'users.1.member.userId'"),
    "a NUL in a user's id": (user(users=[{"userId": "a\0"}]), INVALID, "'users.1.member.userId'"),
    "no users' dataset": (user(datasetArn=None), INVALID, "null at 'datasetArn'.*not be null"),
    "a word for users' dataset": (user(datasetArn="default"), INVALID, "dataset/GROUP/USERS"),
    "another group's users": (
        user(datasetArn=ARN + "dataset/books/USERS"),
        NOT_FOUND,
        "no 'dataset/books/USERS' to put users into.*'dataset/default/USERS'",
    ),
    "items": (user(datasetArn=ARN + "dataset/default/ITEMS"), NOT_FOUND, "dataset/default/ITEMS"),
    "user properties as text": (user('{"age": "45"}'), ACCEPTED, ""),
    "user properties as an object": (user({"age": 45, "tags": ["a", "b"]}), ACCEPTED, ""),
    "user properties that are not JSON": (user("no"), INVALID, "'users.1.member.properties'"),
    "user properties that are a list": (user("[]"), INVALID, "be a JSON object"),
    "the same property twice": (user('{"age": 1, "age": 2}'), ACCEPTED, ""),
    "user properties of 24,000": (user('{"a":"' + "b" * 23_992 + '"}'), ACCEPTED, ""),
    "user properties of 24,001": (user('{"a":"' + "b" * 23_993 + '"}'), INVALID, "equal to 24000"),
    "a user object of 24,001": (user({"a": "b" * 23_993}), INVALID, "equal to 24000 as JSON"),
    "empty user properties": (user(""), INVALID, "'users.1.member.properties'"),
    "a number of 5,000 digits": (user('{"age": ' + "9" * 5_000 + "}"), INVALID, "properties"),
    "deep nesting in user properties": (user('{"a":' + "[" * 9_000), INVALID, "properties"),
}


@pytest.mark.parametrize(("body", "outcome", "message"), USERS.values(), ids=USERS.keys())
def test_a_request_with_users(body: bytes, outcome: tuple[int, str | None], message: str) -> None:
    engine = FakeEngine()
    reply = post("/users", body, engine)
    check(reply, outcome, message)
    assert bool(engine.users) == (outcome == ACCEPTED)


def check(reply: Reply, outcome: tuple[int, str | None], message: str) -> None:
    assert (reply.status, reply.error) == outcome
    if outcome != ACCEPTED:
        assert re.search(message, reply.message), reply.message
        assert len(reply.body) < 2_000, "a client's own long value comes back to it"


LARGE: dict[str, tuple[bytes, tuple[int, str | None], str]] = {
    "70,000 filter values": (
        ask(filterArn="f", filterValues={f"A{n}": "1" for n in range(70_000)}),
        INVALID,
        r"1 validation error.*Value \{70000 members\} at 'filterValues'",
    ),
    "400,000 values of one parameter": (
        ask(filterArn="f", filterValues={"A": ",".join(["1"] * 400_000)}),
        INVALID,
        "at 'filterValues.A.value'.*less than or equal to 1000",
    ),
    "200,000 columns": (
        ask(metadataColumns={"ITEMS": ["A"] * 200_000}),
        INVALID,
        r"Value \[200000 members\]",
    ),
    "70,000 members that nobody knows": (ask(**{f"m{n}": n for n in range(70_000)}), ACCEPTED, ""),
    "one name 100,000 times": (
        b"{" + b'"numResults":5,' * 60_000 + b'"userId":"ann"}',
        ACCEPTED,
        "",
    ),
    "a million brackets": (b'{"userId":"ann","x":' + b"[" * 1_000_000, INVALID, ""),
}


@pytest.mark.parametrize(("body", "outcome", "message"), LARGE.values(), ids=LARGE.keys())
def test_a_request_as_large_as_a_server_reads(
    body: bytes, outcome: tuple[int, str | None], message: str
) -> None:
    config = CONFIG.model_copy(update={"max_body_bytes": 1 << 20})  # the default
    reply = call(build_asgi(FakeEngine(), config), "POST", "/recommendations", body)
    check(reply, outcome, message)


HEADERS: dict[str, list[tuple[bytes, bytes]]] = {
    "ten thousand": [(b"x-%d" % number, b"1") for number in range(10_000)],
    "one of a megabyte": [(b"x-long", b"a" * 1_000_000)],
    "a name of a megabyte": [(b"x" * 1_000_000, b"1")],
    "a request id of a megabyte": [(b"x-request-id", b"a" * 1_000_000)],
    "many request ids": [(b"x-request-id", b"a\xff\r\n")] * 1_000,
    "bytes of no encoding": [(b"x-raysys-nothing", b"\xff\x00\r\n"), (b"", b"")],
    "many lengths": [(b"content-length", b"-1"), (b"content-length", b"1e9"), (b"expect", b"?")],
    "a key that is no key": [(b"authorization", b"AWS4-HMAC-SHA256 " + b"," * 100_000)],
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS.keys())
def test_headers_of_any_kind_are_passed_over(headers: list[tuple[bytes, bytes]]) -> None:
    reply = post("/recommendations", ask(), headers=headers)
    assert reply.status == 200
    assert len(reply.headers["x-amzn-requestid"]) <= 128


def test_a_compressed_body_is_refused_by_that_name() -> None:
    for body in (gzip.compress(ask()), b"\xff"):
        reply = post("/recommendations", body, headers=[(b"content-encoding", b"GZip")])
        check(reply, INVALID, "is compressed")
    for plain in (b"identity", b""):
        headers = [(b"content-encoding", plain)]
        assert post("/recommendations", ask(), headers=headers).status == 200


@pytest.mark.parametrize("value", [b"1" * 100_000, b"\xff", b"", b"NaN", b"0x1", b"1e400"])
def test_a_bad_number_in_a_header_is_refused(value: bytes) -> None:
    for name in (b"x-raysys-exploration-weight", b"x-raysys-seed"):
        if (name, value) == (b"x-raysys-exploration-weight", b""):
            continue
        reply = post("/recommendations", ask(), headers=[(name, value)])
        check(reply, INVALID, f"at 'header {name.decode()}'")


PATHS = (
    ["//recommendations", "/recommendations/..", "/./recommendations", "/recommendations%00"]
    + ["/recommendations\0", "/RECOMMENDATIONS", "/recommendations;x=1", "/healthz/../events"]
    + [
        "/\u202e",
        "/" + "a" * 100_000,
        "",
        "*",
        "http://other/recommendations",
        "/%2e%2e/etc/passwd",
    ]
)


@pytest.mark.parametrize("path", PATHS, ids=[f"{number}" for number in range(len(PATHS))])
def test_a_path_is_one_that_is_served_to_the_letter_or_does_not_exist(path: str) -> None:
    engine = FakeEngine()
    reply = post(path, ask(), engine)
    check(reply, (404, "UnknownOperationException"), "does not exist")
    assert engine.queries == []


def test_whatever_came_in_memory_is_what_it_was() -> None:
    engine = FakeEngine()
    app = build_asgi(engine, CONFIG.model_copy(update={"max_body_bytes": 1 << 20}))
    bodies = [encoded(body) for body, _, _ in RECOMMENDATIONS.values()]
    bodies = [*NOT_JSON.values(), *bodies][::4] + [body for body, _, _ in LARGE.values()][1::2]
    left = []
    tracemalloc.start()
    try:
        for _ in range(3):
            for body in bodies:
                call(app, "POST", "/recommendations", body, headers=HEADERS["ten thousand"][:100])
            engine.queries.clear()
            engine.refusals.clear()
            gc.collect()
            left.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # msgspec keeps the latest 512 short names of members. Each round has more than 2 MB.
    assert max(left[1:]) - left[0] < 60_000, left


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
REQUEST = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | st.just("tracker") | st.text(max_size=3)
        for name in ("userId", "itemId", "numResults", "campaignArn", "context", "promotions")
        + ("filterArn", "filterValues", "metadataColumns", "trackingId", "sessionId")
    },
)
EVENT = st.fixed_dictionaries(
    {"eventType": JSON | st.just("click"), "sentAt": JSON | st.floats(0, 2e9)},
    optional={
        name: JSON for name in ("eventId", "itemId", "eventValue", "properties", "impression")
    },
)


@given(value=JSON | REQUEST)
def test_any_json_value_gets_an_answer_of_the_wire_format(value: Any) -> None:
    for path in ("/recommendations", "/events"):
        assert post(path, msgspec.json.encode(value)).status in (200, 400, 404)


@given(events=st.lists(EVENT, max_size=3))
def test_any_events_get_an_answer_of_the_wire_format(events: list[Any]) -> None:
    request = {"trackingId": "tracker", "sessionId": "s", "eventList": events}
    assert post("/events", msgspec.json.encode(request)).status in (200, 400)


@settings(max_examples=40)
@given(properties=JSON, item_id=JSON | st.just("new"))
def test_any_items_get_an_answer_of_the_wire_format(properties: Any, item_id: Any) -> None:
    arn = ARN + "dataset/default/ITEMS"
    request = {"datasetArn": arn, "items": [{"itemId": item_id, "properties": properties}]}
    assert post("/items", msgspec.json.encode(request)).status in (200, 400)
    assert post("/items", created(properties)).status in (200, 400)
    assert post("/users", user(properties)).status in (200, 400)


@settings(max_examples=40)
@given(body=st.binary(max_size=60))
def test_any_bytes_get_an_answer_of_the_wire_format(body: bytes) -> None:
    for path in ("/recommendations", "/events", "/items", "/users"):
        assert post(path, body).status in (200, 400, 404)
