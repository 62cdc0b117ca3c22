"""Signature Version 4 against AWS's own test suite, and against botocore's signer."""

import hashlib

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.api.signature import (
    Claim,
    canonical_path,
    canonical_query,
    canonical_request,
    joined_headers,
    parse_authorization,
    signature_of,
    signing_key,
)

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SIGNED_AT = "20150830T123600Z"
CLAIM = Claim("AKIDEXAMPLE", "20150830", "us-east-1", "service", "aws4_request", ())
LETTERS = "-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
FORM = "application/x-www-form-urlencoded"
FORM_HASH = "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e"
TOKEN = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
EMPTY = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"
QUERY = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"

# What AWS's test suite for signers has in it, by its own names: method, target, headers beside host
# and x-amz-date, body, signature.
AWS: dict[str, tuple[str, str, list[tuple[str, str]], str, str]] = {
    "get-vanilla": ("GET", "/", [], "", EMPTY),
    "get-header-key-duplicate": (
        "GET",
        "/",
        [("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")],
        "",
        "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
    ),
    "get-header-value-multiline": (
        "GET",
        "/",
        [("my-header1", "value1\n  value2\n     value3")],
        "",
        "cfd34249e4b1c8d6b91ef74165d41a32e5fab3306300901bb65a51a73575eefd",
    ),
    "get-header-value-order": (
        "GET",
        "/",
        [("my-header1", f"value{number}") for number in (4, 1, 3, 2)],
        "",
        "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
    ),
    "get-header-value-trim": (
        "GET",
        "/",
        [("my-header1", " value1"), ("my-header2", ' "a   b   c"')],
        "",
        "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
    ),
    "get-relative-normalized": ("GET", "/example/..", [], "", EMPTY),
    "get-relative-relative-normalized": ("GET", "/example1/example2/../..", [], "", EMPTY),
    "get-slash-dot-slash-normalized": ("GET", "/./", [], "", EMPTY),
    "get-slash-normalized": ("GET", "//", [], "", EMPTY),
    "get-slash-pointless-dot-normalized": (
        "GET",
        "/./example",
        [],
        "",
        "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    "get-slashes-normalized": (
        "GET",
        "//example//",
        [],
        "",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    "get-space-normalized": (
        "GET",
        "/example space/",
        [],
        "",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    "get-unreserved": (
        "GET",
        "/" + LETTERS,
        [],
        "",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    "get-utf8": (
        "GET",
        "/ሴ",
        [],
        "",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    "get-vanilla-empty-query-key": (
        "GET",
        "/?Param1=value1",
        [],
        "",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    "get-vanilla-query-order-encoded": (
        "GET",
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        [],
        "",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    "get-vanilla-query-order-key-case": (
        "GET",
        "/?Param2=value2&Param1=value1",
        [],
        "",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    "get-vanilla-query-unreserved": (
        "GET",
        f"/?{LETTERS}={LETTERS}",
        [],
        "",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    "get-vanilla-utf8-query": (
        "GET",
        "/?ሴ=bar",
        [],
        "",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    "get-vanilla-with-session-token": (
        "GET",
        "/",
        [("x-amz-security-token", TOKEN)],
        "",
        "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
    ),
    "post-vanilla": (
        "POST",
        "/",
        [],
        "",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
    "post-header-key-sort": (
        "POST",
        "/",
        [("my-header1", "value1")],
        "",
        "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
    ),
    "post-header-value-case": (
        "POST",
        "/",
        [("my-header1", "VALUE1")],
        "",
        "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
    ),
    "post-vanilla-query": ("POST", "/?Param1=value1", [], "", QUERY),
    "post-x-www-form-urlencoded": (
        "POST",
        "/",
        [("content-type", FORM), ("content-length", "13"), ("x-amz-content-sha256", FORM_HASH)],
        "Param1=value1",
        "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
    ),
    "post-x-www-form-urlencoded-parameters": (
        "POST",
        "/",
        [
            ("content-type", f"{FORM}; charset=utf-8"),
            ("content-length", "13"),
            ("x-amz-content-sha256", FORM_HASH),
        ],
        "Param1=value1",
        "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
    ),
}


@pytest.mark.parametrize(
    ("method", "target", "headers", "body", "expected"), AWS.values(), ids=AWS.keys()
)
def test_a_request_of_awss_test_suite_has_the_signature_that_it_says(
    method: str, target: str, headers: list[tuple[str, str]], body: str, expected: str
) -> None:
    sent = [("host", "example.amazonaws.com"), ("x-amz-date", SIGNED_AT), *headers]
    joined = joined_headers([(name.encode(), value.encode()) for name, value in sent])
    path, _, query = target.encode().partition(b"?")
    names = tuple(sorted(joined))
    payload_hash = hashlib.sha256(body.encode()).hexdigest()
    canonical = canonical_request(method, path, query, joined, names, payload_hash)
    key = signing_key(SECRET.encode(), "20150830", "us-east-1", "service")
    assert signature_of(key, SIGNED_AT, CLAIM, canonical) == expected


SAFE_TEXT = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
WORDS = st.lists(SAFE_TEXT, min_size=1, max_size=4)


@settings(max_examples=60)
@given(
    path=st.lists(SAFE_TEXT.map(lambda text: text.replace("?", "%3F").replace("#", "%23"))),
    parameters=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=4),
    header=st.tuples(WORDS, st.sampled_from([" ", "  ", "   "])),
    body=st.binary(max_size=40),
    secret=SAFE_TEXT,
    region=st.sampled_from(["us-east-1", "eu-central-1", "moon"]),
)
def test_any_request_has_the_signature_that_botocore_makes(
    path: list[str],
    parameters: list[tuple[str, str]],
    header: tuple[list[str], str],
    body: bytes,
    secret: str,
    region: str,
) -> None:
    words, space = header
    raw_path = "/" + "/".join(path)
    query = canonical_query(
        b"&".join(_percent(name) + b"=" + _percent(value) for name, value in parameters)
    ).decode()
    value = space.join(words)
    url = f"http://h:8000{raw_path}" + (f"?{query}" if query else "")
    request = AWSRequest(
        method="POST", url=url, data=body, headers={"Host": "h:8000", "X-Amz-Some": value}
    )
    request.context["timestamp"] = SIGNED_AT
    request.headers["X-Amz-Date"] = SIGNED_AT
    signer = SigV4Auth(Credentials("AKID", secret), "personalize", region)
    theirs = signer.canonical_request(request)
    expected = signer.signature(signer.string_to_sign(request, theirs), request)

    headers = [
        (b"host", b"h:8000"),
        (b"x-amz-date", SIGNED_AT.encode()),
        (b"x-amz-some", value.encode()),
    ]
    ours = canonical_request(
        "POST",
        raw_path.encode(),
        query.encode(),
        joined_headers(headers),
        (b"host", b"x-amz-date", b"x-amz-some"),
        hashlib.sha256(body).hexdigest(),
    )
    assert ours.decode() == theirs
    claim = CLAIM._replace(region=region, service="personalize")
    key = signing_key(secret.encode(), "20150830", region, "personalize")
    assert signature_of(key, SIGNED_AT, claim, ours) == expected


def _percent(text: str) -> bytes:
    return "".join(f"%{byte:02x}" for byte in text.encode()).encode()


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"/recommendations", b"/recommendations"),
        (b"/recommendation%73", b"/recommendation%2573"),  # encoded twice, as it was sent
        (b"/a/../../b", b"/b"),
        (b"/a/.", b"/a/"),
        (b"/a/b/..", b"/a/"),
        (b"/a/...", b"/a/..."),
        (b"", b"/"),
    ],
)
def test_a_path_is_written_without_detours(raw: bytes, canonical: bytes) -> None:
    assert canonical_path(raw) == canonical


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [
        (b"b=2&a=3&a=1", b"a=1&a=3&b=2"),
        (b"a", b"a="),
        (b"a=b=c", b"a=b%3Dc"),
        (b"a=%7e%2f", b"a=~%2F"),
        (b"a-b=1&a=1", b"a=1&a-b=1"),  # by the name, not by the line
        (b"&&a=1&", b"a=1"),
        (b"a=+", b"a=%2B"),
    ],
)
def test_a_query_is_sorted_and_encoded_anew(raw: bytes, canonical: bytes) -> None:
    assert canonical_query(raw) == canonical


GOOD = (
    "AWS4-HMAC-SHA256 Credential=AKID/20300102/eu-west-3/personalize/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=abc"
)


def test_an_authorization_header_is_read_with_and_without_spaces() -> None:
    names = (b"host", b"x-amz-date")
    claim = Claim("AKID", "20300102", "eu-west-3", "personalize", "aws4_request", names)
    assert parse_authorization(GOOD) == (claim, "abc")
    assert parse_authorization(GOOD.replace(", ", ",")) == (claim, "abc")
    credential, signed_headers, signature = GOOD.partition(" ")[2].split(", ")
    other_order = f"AWS4-HMAC-SHA256 {signed_headers}, {credential}, {signature}"
    assert parse_authorization(other_order) == (claim, "abc")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "algorithm"),
        ("AWS4-HMAC-SHA256", "It needs Credential"),
        ("AWS4-HMAC-SHA256" + GOOD[17:], "It needs Credential"),
        (GOOD.replace("SHA256", "SHA1"), "algorithm"),
        ("AWS4-ECDSA-P256-SHA256" + GOOD[16:], "algorithm"),
        ("aws4-hmac-sha256" + GOOD[16:], "algorithm"),
        ("Basic dXNlcjpwYXNz", "algorithm"),
        (GOOD.replace("Signature=abc", "Signature="), "It needs Credential"),
        (GOOD.replace("Signature=abc", ""), "It needs Credential"),
        (GOOD.replace("SignedHeaders=", "Signed="), "It needs Credential"),
        (GOOD.replace("AKID/", ""), "KEY/DATE/REGION"),
        (GOOD.replace("AKID", "A/K/I/D"), "KEY/DATE/REGION"),
        (GOOD.replace("=", ""), "It needs Credential"),
        (GOOD + ", " + GOOD, "It needs Credential"),
        (GOOD + "," + GOOD.partition(" ")[2], "It needs Credential"),
        (GOOD.replace("date, ", "date, Credential=a/b/c/d/e, "), "It needs Credential"),
        (GOOD.replace("date, ", "date "), "It needs Credential"),
        (GOOD.replace("host;", "host;host;"), "name a header twice"),
    ],
)
def test_another_authorization_header_is_refused(value: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_authorization(value)
