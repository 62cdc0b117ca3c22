"""Who is let in, who is not, and what they are told."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.api.asgi import Application, Response, Route
from raysys.api.authentication import Authenticator
from raysys.errors import ServingError, UnavailableError
from raysys.state.credentials import new_token
from raysys.state.keys import StoredKey
from tests.unit.api.client import FakeEngine, Reply, application, call
from tests.unit.api.signed import (
    SECRET,
    bearer_key,
    changed,
    guarded,
    ring,
    signed_headers,
    signing_key,
)

BODY = b'{"userId": "ann"}'
EVENT = b'{"trackingId":"tracker","sessionId":"s","eventList":[{"eventType":"e","sentAt":1}]}'
KEY = signing_key()
ENGINE = FakeEngine()
APP = guarded(KEY, engine=ENGINE)

UNKNOWN = (403, "UnrecognizedClientException")
INVALID = (403, "InvalidSignatureException")
INCOMPLETE = (400, "IncompleteSignatureException")
MISSING = (403, "MissingAuthenticationTokenException")
DENIED = (403, "AccessDeniedException")
EXPIRED = (403, "ExpiredTokenException")

Headers = list[tuple[bytes, bytes]]


def ask(headers: Headers, body: bytes = BODY, path: str = "/recommendations") -> Reply:
    """Return the reply; a refused request must not have reached the engine."""
    ENGINE.queries.clear()
    reply = call(APP, "POST", path, body, headers=headers)
    assert bool(ENGINE.queries) == (reply.status == 200)
    assert SECRET not in reply.body.decode()
    return reply


def outcome(reply: Reply) -> tuple[int, str | None]:
    return reply.status, reply.error


@pytest.mark.parametrize("region", ["eu-central-1", "us-east-1", "moon"])
def test_what_botocore_signed_is_let_in_whatever_the_region(region: str) -> None:
    assert ask(signed_headers(BODY, KEY.key_id, region=region)).status == 200


def test_the_same_signature_is_taken_again_since_sdks_send_it_again() -> None:
    headers = signed_headers(BODY, KEY.key_id)
    assert [ask(headers).status for _ in range(3)] == [200, 200, 200]


@settings(max_examples=25)
@given(
    user_id=st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1),
    extra=st.dictionaries(
        st.sampled_from(["X-Amz-Some", "X-Amz-Target", "X-Amz-Security-Token"]),
        st.text("ab =,;:/+%\t", min_size=1).map(str.strip),
    ),
    is_ascii=st.booleans(),
)
def test_any_body_and_headers_that_botocore_signed_are_let_in(
    user_id: str, extra: dict[str, str], is_ascii: bool
) -> None:
    body = json.dumps({"userId": user_id[:250]}, ensure_ascii=is_ascii).encode()
    assert ask(signed_headers(body, KEY.key_id, extra=extra), body).status == 200


def test_a_hash_of_the_body_that_the_client_sends_is_held_against_the_body() -> None:
    def hashed(text: str) -> Headers:
        return signed_headers(BODY, KEY.key_id, extra={"X-Amz-Content-SHA256": text})

    assert ask(hashed(hashlib.sha256(BODY).hexdigest())).status == 200
    for text in ("UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", ""):
        reply = ask(hashed(text))
        assert outcome(reply) == INVALID
        assert "not the SHA-256 of the body" in reply.message


def authorization(headers: Headers) -> bytes:
    return dict(headers)[b"authorization"]


def replaced(old: bytes, new: bytes) -> Callable[[Headers], Headers]:
    """Return what changes a text in the Authorization header, which must be there."""

    def change(headers: Headers) -> Headers:
        value = authorization(headers)
        assert old in value
        return changed(headers, b"authorization", value.replace(old, new))

    return change


def one_digit_off(headers: Headers) -> Headers:
    value = authorization(headers)
    return changed(headers, b"authorization", value[:-1] + (b"0" if value[-1:] != b"0" else b"1"))


def setting(name: bytes, *values: bytes) -> Callable[[Headers], Headers]:
    return lambda headers: changed(headers, name, *values)


def on_another_day(headers: Headers) -> Headers:
    """Change the day that the signature is good for, whichever it was signed on."""
    value, count = re.subn(rb"/\d{8}/", b"/20000101/", authorization(headers))
    assert count == 1
    return changed(headers, b"authorization", value)


NOW = datetime.now(UTC)
STAMP = NOW.strftime("%Y%m%d").encode()
CHANGES: dict[str, tuple[Callable[[Headers], Headers], tuple[int, str], str]] = {
    "the last digit": (one_digit_off, INVALID, "does not match"),
    "half a signature": (replaced(b"Signature=", b"Signature=0"), INVALID, "does not match"),
    "another host": (setting(b"host", b"evil:8000"), INVALID, "came here as 'evil:8000'"),
    "two hosts": (setting(b"host", b"127.0.0.1:8000", b"evil"), INVALID, "does not match"),
    "no host": (setting(b"host"), INVALID, "'host' is signed, but did not arrive"),
    "another type": (setting(b"content-type", b"text/plain"), INVALID, "does not match"),
    "no type": (setting(b"content-type"), INVALID, "'content-type' is signed"),
    "another signed header": (setting(b"x-amz-some", b"other"), INVALID, "does not match"),
    "no signed header": (setting(b"x-amz-some"), INVALID, "'x-amz-some' is signed"),
    "a signed header twice": (setting(b"x-amz-some", b"value", b"b"), INVALID, "does not match"),
    "a target that was not signed": (
        setting(b"x-amz-target", b"AmazonPersonalize.DeleteCampaign"),
        INVALID,
        "'x-amz-target' must be a signed header",
    ),
    "an exploration weight that was not signed": (
        setting(b"x-raysys-exploration-weight", b"1"),
        INVALID,
        "'x-raysys-exploration-weight' must be a signed header",
    ),
    "a host that is not signed": (
        replaced(b";host;", b";"),
        INVALID,
        "'host' must be a signed header",
    ),
    "a date that is not signed": (
        replaced(b";x-amz-date", b""),
        INVALID,
        "'x-amz-date' must be a signed header",
    ),
    "no date": (setting(b"x-amz-date"), INCOMPLETE, "X-Amz-Date"),
    "a date in words": (setting(b"x-amz-date", b"Mon, 09 Sep 2011"), INCOMPLETE, "X-Amz-Date"),
    "the 31st of February": (setting(b"x-amz-date", b"20260231T000000Z"), INCOMPLETE, "X-Amz-Date"),
    "digits of another script": (
        setting(b"x-amz-date", b"\xb2\xb3" * 4 + b"T000000Z"),
        INCOMPLETE,
        "X-Amz-Date",
    ),
    "two dates": (
        setting(b"x-amz-date", STAMP + b"T000000Z", STAMP + b"T000000Z"),
        INCOMPLETE,
        "once",
    ),
    "another day in the scope": (
        on_another_day,
        INVALID,
        "Date in Credential scope",
    ),
    "another region": (replaced(b"eu-central-1", b"us-east-1"), INVALID, "does not match"),
    "another service": (replaced(b"/personalize/", b"/s3/"), INVALID, "correct service"),
    "another terminator": (replaced(b"aws4_request", b"aws5_request"), INVALID, "terminator"),
    "another key": (replaced(b"RSAK", b"AKIA"), UNKNOWN, "token included in the request is inv"),
    "no header": (setting(b"authorization"), MISSING, "Missing Authentication Token"),
    "an empty header": (setting(b"authorization", b""), INCOMPLETE, "algorithm"),
    "a name and a password": (setting(b"authorization", b"Basic YTpi"), INCOMPLETE, "algorithm"),
    "bytes": (setting(b"authorization", bytes(range(128, 256))), INCOMPLETE, "algorithm"),
    "a thousand commas": (
        setting(b"authorization", b"AWS4-HMAC-SHA256 " + b"," * 1000),
        INCOMPLETE,
        "needs Credential",
    ),
    "a name a thousand times": (
        replaced(b"SignedHeaders=", b"SignedHeaders=" + b"host;" * 600),
        INCOMPLETE,
        "name a header twice",
    ),
    "a long name": (
        replaced(b"SignedHeaders=", b"SignedHeaders=" + b"\xff" * 3000 + b";"),
        INVALID,
        "is signed",
    ),
    "a header of 4,097 bytes": (
        setting(b"authorization", b"AWS4-HMAC-SHA256 " + b"a" * 4080),
        INCOMPLETE,
        "has 4097 bytes, and at most 4096",
    ),
    "a date of a megabyte": (setting(b"x-amz-date", b"2" * 1_000_000), INCOMPLETE, "X-Amz-Date"),
    "names in capitals": (replaced(b";host;", b";Host;"), INVALID, "'Host' is signed"),
}


@pytest.mark.parametrize(("change", "refusal", "message"), CHANGES.values(), ids=CHANGES.keys())
def test_a_request_that_was_changed_is_refused(
    change: Callable[[Headers], Headers], refusal: tuple[int, str], message: str
) -> None:
    headers = signed_headers(BODY, KEY.key_id, extra={"X-Amz-Some": "value"})
    assert ask(headers).status == 200
    reply = ask(change(headers))
    assert outcome(reply) == refusal
    assert message in reply.message
    assert len(reply.body) < 1000


def test_an_authorization_header_sent_twice_is_refused() -> None:
    headers = signed_headers(BODY, KEY.key_id)
    twice = changed(headers, b"authorization", *[authorization(headers)] * 2)
    assert outcome(ask(twice)) == INCOMPLETE


def test_another_body_method_path_or_query_is_refused() -> None:
    headers = signed_headers(BODY, KEY.key_id)
    assert outcome(ask(headers, BODY + b" ")) == INVALID
    assert outcome(ask(headers, b"")) == INVALID
    assert outcome(ask(headers, EVENT, "/events")) == INVALID
    asked = call(APP, "POST", "/recommendations", BODY, headers=headers, query=b"a=1")
    assert outcome(asked) == INVALID
    get = signed_headers(b"", KEY.key_id, path="/readyz", method="GET")
    assert call(APP, "GET", "/readyz", headers=get).status == 200
    assert outcome(call(APP, "HEAD", "/readyz", headers=get))[0] == 403


def test_a_query_is_signed_too() -> None:
    headers = signed_headers(BODY, KEY.key_id, path="/recommendations?b=2&a=1")
    assert (
        call(APP, "POST", "/recommendations", BODY, headers=headers, query=b"b=2&a=1").status == 200
    )


def test_another_secret_is_refused() -> None:
    assert outcome(ask(signed_headers(BODY, KEY.key_id, secret="x" + SECRET[1:]))) == INVALID


SIGNED_AT = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(clock_s: float, *keys: StoredKey) -> Application:
    """Return an application whose clock stands still, so many seconds after SIGNED_AT."""

    async def hello(_body: bytes, _headers: object) -> Response:
        return Response(b"{}")

    guard = Authenticator(ring(*keys), clock=lambda: SIGNED_AT.timestamp() + clock_s)
    routes = [Route("POST", "/hello", hello, "read")]
    return Application(routes, max_body_bytes=100, body_timeout_s=1, guard=guard)


@pytest.mark.parametrize(
    ("clock_s", "message"),
    [
        (0, None),
        (900, None),
        (900.5, "Signature expired: 20300102T030405Z is now earlier than 20300102T030405Z (2030"),
        (
            901,
            "Signature expired: 20300102T030405Z is now earlier than 20300102T030406Z "
            "(20300102T031906Z - 15 min.)",
        ),
        (86_400, "Signature expired: "),
        (-300, None),
        (
            -301,
            "Signature not yet current: 20300102T030405Z is still later than 20300102T030404Z "
            "(20300102T025904Z + 5 min.)",
        ),
    ],
)
def test_a_signature_is_good_for_15_minutes_and_may_be_5_minutes_early(
    clock_s: float, message: str | None
) -> None:
    headers = signed_headers(BODY, KEY.key_id, path="/hello", at=SIGNED_AT)
    reply = call(at(clock_s, KEY), "POST", "/hello", BODY, headers=headers)
    assert outcome(reply) == ((200, None) if message is None else INVALID)
    assert message is None or reply.message.startswith(message)


def test_a_key_is_good_until_the_second_of_its_end() -> None:
    end_us = round(SIGNED_AT.timestamp() * 1e6) + 10_000_000
    key, (stored, token) = signing_key(expires_at_us=end_us), bearer_key(expires_at_us=end_us)
    for clock_s, expected in ((9.9, (200, None)), (10, EXPIRED)):
        for headers in (
            signed_headers(BODY, key.key_id, path="/hello", at=SIGNED_AT),
            bearer(token),
        ):
            app = at(clock_s, key, stored)
            assert outcome(call(app, "POST", "/hello", BODY, headers=headers)) == expected


def test_signing_keys_are_kept_for_right_signatures_alone_and_not_without_end() -> None:
    key = signing_key()
    keys = ring(key)
    app = application(keys=keys)
    active = keys.find(key.key_id)
    assert active is not None
    for number in range(100):
        headers = signed_headers(BODY, key.key_id, region=f"r{number}", secret="wrong")
        assert call(app, "POST", "/recommendations", BODY, headers=headers).status == 403
    assert active.signing_keys == {}
    for number in range(100):
        headers = signed_headers(BODY, key.key_id, region=f"r{number}")
        assert call(app, "POST", "/recommendations", BODY, headers=headers).status == 200
        day = dict(headers)[b"x-amz-date"][:8].decode()
        assert (day, f"r{number}") in active.signing_keys
    assert len(active.signing_keys) <= 64
    active.signing_keys[day, "r99"] = hmac.new(b"another", digestmod="sha256")
    reply = call(app, "POST", "/recommendations", BODY, headers=headers)
    assert outcome(reply) == INVALID  # so what is kept is what is used


def test_strangers_are_refused_before_their_body_is_read() -> None:
    big = b" " * 1_000_000  # more than the server reads
    assert outcome(ask([], big)) == MISSING
    wrong = signed_headers(big, "RSAK" + "A" * 16)
    assert outcome(ask(wrong, big)) == UNKNOWN
    late = signed_headers(big, KEY.key_id, at=datetime.now(UTC) - timedelta(hours=1))
    assert outcome(ask(late, big)) == INVALID
    assert outcome(ask(signed_headers(big, KEY.key_id), big))[0] == 413


def bearer(token: bytes) -> Headers:
    return [(b"authorization", b"Bearer " + token)]


def test_a_token_is_let_in_and_a_changed_one_is_not() -> None:
    stored, token = bearer_key()
    app = guarded(stored, KEY)

    def reply(headers: Headers) -> Reply:
        return call(app, "POST", "/recommendations", BODY, headers=headers)

    assert reply(bearer(token)).status == 200
    assert reply([(b"authorization", b"bearer   " + token + b" ")]).status == 200
    last = b"A" if token[-1:] != b"A" else b"B"
    wrong = [
        token[:-1] + last,
        token[:-1],
        token + b"A",
        token[:20],
        token[21:],
        b"",
        b".",
        new_token(KEY.key_id).encode(),  # the id is of a signing key
        KEY.key_id.encode() + b"." + SECRET.encode(),
        b"\xff" * 64,
        b"RSBT" + b"\xb2" * 16 + b"." + b"a" * 43,
        b"a" * 4000,
    ]
    for shown in wrong:
        assert outcome(reply(bearer(shown))) == UNKNOWN
    assert outcome(reply(bearer(b"a" * 4090))) == INCOMPLETE
    # A token is no secret to sign with.
    headers = signed_headers(BODY, stored.key_id, secret=token.decode())
    assert outcome(reply(headers)) == UNKNOWN


ROUTES = [
    ("POST", "/recommendations", BODY, "read"),
    ("POST", "/events", EVENT, "write"),
    (
        "POST",
        "/items",
        b'{"datasetArn":"arn:aws:personalize:::dataset/default/ITEMS","items":[{"itemId":"i"}]}',
        "write",
    ),
    ("GET", "/readyz", b"", "read"),
]


@pytest.mark.parametrize("scope", ["read", "write", "admin"])
@pytest.mark.parametrize(("method", "path", "body", "needs"), ROUTES)
def test_a_key_opens_what_its_scopes_say(
    method: str, path: str, body: bytes, needs: str, scope: str
) -> None:
    key, (stored, token) = signing_key(scope), bearer_key(scope)  # type: ignore[arg-type]
    app = guarded(key, stored)
    expected = (200, None) if scope in (needs, "admin") else DENIED
    signed = signed_headers(body, key.key_id, path=path, method=method)
    for headers in (signed, bearer(token)):
        reply = call(app, method, path, body, headers=headers)
        assert outcome(reply) == expected
        if expected == DENIED:
            assert f"takes the scope {needs!r}, and it has {scope}" in reply.message


def test_a_key_of_one_campaign_is_for_no_other() -> None:
    to_films = b'{"campaignArn": "films", "userId": "ann"}'
    for campaign, expected in ((None, (200, None)), ("films", (200, None)), ("books", DENIED)):
        key, (stored, token) = signing_key(campaign=campaign), bearer_key(campaign=campaign)
        app = guarded(key, stored)
        for headers in (signed_headers(to_films, key.key_id), bearer(token)):
            reply = call(app, "POST", "/recommendations", to_films, headers=headers)
            assert outcome(reply) == expected


def test_who_names_no_campaign_asks_the_one_that_the_key_is_for() -> None:
    engine, (stored, token) = FakeEngine(), bearer_key(campaign="films")
    app = application(engine, keys=ring(stored))
    assert call(app, "POST", "/recommendations", BODY, headers=bearer(token)).status == 200
    assert engine.queries[0].campaign == "films"


def test_a_key_past_its_time_is_told_so_and_whoever_has_but_its_id_is_not() -> None:
    key, (stored, token) = signing_key(expires_at_us=1), bearer_key(expires_at_us=1)
    app = guarded(key, stored)

    def reply(headers: Headers) -> Reply:
        return call(app, "POST", "/recommendations", BODY, headers=headers)

    assert outcome(reply(signed_headers(BODY, key.key_id))) == EXPIRED
    assert outcome(reply(bearer(token))) == EXPIRED
    assert outcome(reply(signed_headers(BODY, key.key_id, secret="other"))) == INVALID
    assert outcome(reply(bearer(token[:-2] + b"__"))) == UNKNOWN


def test_a_revoked_key_is_nobodys() -> None:
    key, (stored, token) = signing_key(revoked_at_us=1), bearer_key(revoked_at_us=1)
    app = guarded(key, stored)
    for headers in (signed_headers(BODY, key.key_id), bearer(token)):
        assert outcome(call(app, "POST", "/recommendations", BODY, headers=headers)) == UNKNOWN


def test_strangers_learn_that_it_lives_and_the_contract_and_nothing_else() -> None:
    engine = FakeEngine()
    app = guarded(KEY, engine=engine)
    assert call(app, "GET", "/healthz").json() == {"status": "ok"}
    assert "paths" in call(app, "GET", "/openapi.json").json()
    ready = call(app, "GET", "/readyz").json()
    campaigns = {"films": {"version": 3, "releases": {"r-1": {}}}}
    assert ready == {"status": "ready", "campaigns": campaigns}  # and not what they hold
    signed = signed_headers(b"", KEY.key_id, path="/readyz", method="GET")
    assert call(app, "GET", "/readyz", headers=signed).json()["shards"] == 2
    for method, path, body, _ in ROUTES[:3]:
        assert outcome(call(app, method, path, body)) == MISSING
    assert outcome(call(app, "GET", "/readyz", headers=bearer(b"wrong"))) == UNKNOWN


@pytest.mark.parametrize("failure", [ServingError("disk /x"), UnavailableError("db 10.0.0.1")])
def test_strangers_are_not_told_why_it_is_not_ready_and_cannot_make_it_look_all_the_time(
    failure: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("raysys.api.app.time.monotonic", lambda: now[0])
    engine = FakeEngine(failure=failure)
    app = guarded(KEY, engine=engine)
    for passed in (0.0, 0.9):
        now[0] = 1000.0 + passed
        reply = call(app, "GET", "/readyz")
        assert outcome(reply) == (503, "ServiceUnavailableException")
        assert "disk" not in reply.message
        assert "10.0.0.1" not in reply.message
        engine.failure = None
    now[0] += 0.2
    assert call(app, "GET", "/readyz").status == 200
    engine.failure = failure
    assert call(app, "GET", "/readyz").status == 200  # as it was a moment ago


def test_no_key_is_needed_until_the_first_one_is_there() -> None:
    app = application(keys=ring(is_always_on=False))
    assert call(app, "POST", "/recommendations", BODY).status == 200
    assert call(app, "GET", "/readyz").json()["shards"] == 2
    app = application(keys=ring(signing_key(revoked_at_us=1), is_always_on=False))
    assert outcome(call(app, "POST", "/recommendations", BODY)) == MISSING


@pytest.mark.parametrize(
    "path",
    [
        "//recommendations",
        "/recommendations/",
        "/./recommendations",
        "/x/../recommendations",
        "/RECOMMENDATIONS",
        "/recommendations;x",
        "/recommendations\0",
        "/recommendations\n",
        "/healthz/../recommendations",
        "",
        "*",
    ],
)
def test_a_path_that_is_nearly_one_that_needs_a_key_is_none_at_all(path: str) -> None:
    for headers in ([], signed_headers(BODY, KEY.key_id)):
        assert outcome(ask(headers, path=path)) == (404, "UnknownOperationException")


HOSTILE_HEADERS: dict[str, Headers] = {
    "thousands": [(b"x-amz-%d" % number, b"v") for number in range(5000)],
    "one of a megabyte": [(b"x-amz-some", b"v" * 1_000_000)],
    "no name": [(b"", b"v")],
    "bytes": [(bytes(range(128, 256)), bytes(range(1, 32)))],
    "one a thousand times": [(b"x-amz-some", b"v")] * 1000,
    "a signature in capitals": [(b"AUTHORIZATION", b"v")],
}


@pytest.mark.parametrize("more", HOSTILE_HEADERS.values(), ids=HOSTILE_HEADERS.keys())
def test_headers_that_nobody_signed_change_nothing_or_are_refused(more: Headers) -> None:
    reply = ask([*signed_headers(BODY, KEY.key_id), *more])
    is_ours = any(name.startswith(b"x-amz-") for name, _ in more)
    assert outcome(reply) == (INVALID if is_ours else (200, None))
    assert len(reply.body) < 1000


@settings(max_examples=30)
@given(value=st.binary(max_size=120) | st.text(max_size=60).map(str.encode), date=st.binary())
def test_any_authorization_header_gets_an_answer_of_the_wire_format(
    value: bytes, date: bytes
) -> None:
    for start in (b"", b"Bearer ", b"AWS4-HMAC-SHA256 ", b"AWS4-HMAC-SHA256 Credential=a/b/c/d/e,"):
        headers = [(b"authorization", start + value), (b"x-amz-date", date), (b"host", b"h")]
        assert ask(headers).status in (400, 403)
