"""Who asks: a signature as AWS SDKs make it, or a bearer token, checked against the key ring.

The head of a request is checked before its body is read, so that strangers cannot make the server
read; the signature covers the body and is checked after it. A signature that comes again within its
time is a retry, not an attack: SDKs send the same one again when an answer was lost.
"""

import hashlib
import hmac
import time
from collections.abc import Callable
from contextvars import ContextVar

from raysys.api.asgi import Route, Scope
from raysys.api.signature import (
    TERMINATOR,
    Claim,
    amz_date_of,
    canonical_request,
    joined_headers,
    parse_authorization,
    seconds_of,
    signature_of,
    signing_key,
)
from raysys.errors import (
    AccessDeniedError,
    ExpiredKeyError,
    IncompleteSignatureError,
    InvalidSignatureError,
    MissingAuthenticationError,
    UnrecognizedClientError,
)
from raysys.serving.key_ring import ActiveKey, KeyRing
from raysys.state.credentials import KeyKind, hash_token, key_id_of

SERVICE = "personalize"
"""In the scope of every signature: the SDKs' clients for control, runtime and events share it."""

_OLDEST_S, _FARTHEST_AHEAD_S = 15 * 60, 5 * 60
_MUST_BE_SIGNED = (b"x-amz-", b"x-raysys-")  # what changes the meaning of a request
ONLY_CAMPAIGN: ContextVar[str | None] = ContextVar("only_campaign", default=None)
"""The only campaign that the key of the request that is being answered is good for; None: every."""

_MOST_SIGNING_KEYS = 64  # of one key: days and regions
_LONGEST_HEADER = 4096  # SDKs send some 250 bytes; what is read of a header is kept for a while

_MISSING = (
    "Missing Authentication Token: sign the request (AWS Signature V4) or send a bearer token."
)
_UNKNOWN = "The security token included in the request is invalid."


class Authenticator:
    """Lets those requests pass that a key of the ring vouches for.

    Args:
        clock: seconds since 1970 UTC.
    """

    def __init__(self, ring: KeyRing, clock: Callable[[], float] = time.time) -> None:
        self._ring = ring
        self._clock = clock

    @property
    def is_on(self) -> bool:
        """Say whether requests need a key now."""
        return self._ring.is_on

    def check_head(self, scope: Scope, route: Route) -> Callable[[bytes], None]:
        """Return what then checks the body; it may be called once.

        Raises, as does what is returned:
            AuthenticationError: nobody knows who asks.
            AccessDeniedError: the key is good, but not for this route.
        """
        headers = joined_headers(scope["headers"])
        shown = headers.get(b"authorization")
        if shown is None:
            raise MissingAuthenticationError(_MISSING)
        if len(shown) > _LONGEST_HEADER:
            raise IncompleteSignatureError(
                f"The Authorization header has {len(shown)} bytes, and at most {_LONGEST_HEADER} "
                f"are read."
            )
        if shown[:7].lower() == b"bearer ":
            key = self._bearer(shown[7:].strip())
            self._check_may(key, route)
            return _nothing_more
        return self._signed(shown.decode("latin-1"), headers, scope, route)

    def _bearer(self, token: bytes) -> ActiveKey:
        key_id = key_id_of(token)
        if key_id is None:
            raise UnrecognizedClientError(_UNKNOWN)
        key = self._known(key_id, "bearer")
        if not hmac.compare_digest(hash_token(token), key.proof):
            raise UnrecognizedClientError(_UNKNOWN)
        self._check_expiry(key)  # told only to those who have the whole token
        return key

    def _signed(
        self, shown: str, headers: dict[bytes, bytes], scope: Scope, route: Route
    ) -> Callable[[bytes], None]:
        try:
            claim, signature = parse_authorization(shown)
        except ValueError as error:
            raise IncompleteSignatureError(f"The Authorization header is wrong. {error}") from None
        amz_date = headers.get(b"x-amz-date", b"").decode("latin-1")
        self._check_time(amz_date)
        _check_scope(claim, amz_date)
        _check_signed_headers(claim.names, headers)
        key = self._known(claim.key_id, "signature")

        def check_body(body: bytes) -> None:
            payload_hash = hashlib.sha256(body).hexdigest()
            _check_payload_hash(headers.get(b"x-amz-content-sha256"), payload_hash)
            canonical = canonical_request(
                scope["method"],
                _raw_path(scope),
                scope["query_string"],
                headers,
                claim.names,
                payload_hash,
            )
            derived = _signing_key(key, claim)
            expected = signature_of(derived, amz_date, claim, canonical)
            if not hmac.compare_digest(expected.encode(), signature.encode()):
                raise InvalidSignatureError(_mismatch(headers))
            _keep(derived, key, claim)
            self._check_expiry(key)
            self._check_may(key, route)

        return check_body

    def _check_time(self, amz_date: str) -> None:
        signed_at_s = seconds_of(amz_date) if len(amz_date) == 16 else None
        if signed_at_s is None:
            raise IncompleteSignatureError(
                "The request needs a header X-Amz-Date of the form 20300102T030405Z, once."
            )
        now_s = self._clock()
        if signed_at_s < now_s - _OLDEST_S:
            oldest, now = amz_date_of(now_s - _OLDEST_S), amz_date_of(now_s)
            raise InvalidSignatureError(
                f"Signature expired: {amz_date} is now earlier than {oldest} ({now} - 15 min.)"
            )
        if signed_at_s > now_s + _FARTHEST_AHEAD_S:
            latest, now = amz_date_of(now_s + _FARTHEST_AHEAD_S), amz_date_of(now_s)
            raise InvalidSignatureError(
                f"Signature not yet current: {amz_date} is still later than {latest} "
                f"({now} + 5 min.)"
            )

    def _known(self, key_id: str, kind: KeyKind) -> ActiveKey:
        key = self._ring.find(key_id)
        if key is None or key.kind != kind:
            raise UnrecognizedClientError(_UNKNOWN)
        return key

    def _check_expiry(self, key: ActiveKey) -> None:
        if self._clock() >= key.expires_at_s:
            raise ExpiredKeyError("The security token included in the request is expired.")

    def _check_may(self, key: ActiveKey, route: Route) -> None:
        if route.needs not in key.scopes and "admin" not in key.scopes:
            raise AccessDeniedError(
                f"Key {key.key_id} is not authorized to {route.method} {route.path}: that takes "
                f"the scope {route.needs!r}, and it has {', '.join(sorted(key.scopes))}."
            )
        ONLY_CAMPAIGN.set(key.campaign)


def _nothing_more(_: bytes) -> None:
    """Find nothing wrong with a body: a token says nothing of it."""


def _check_scope(claim: Claim, amz_date: str) -> None:
    if claim.service != SERVICE:
        raise InvalidSignatureError(f"Credential should be scoped to correct service: {SERVICE!r}.")
    if claim.terminator != TERMINATOR:
        raise InvalidSignatureError(
            f"Credential should be scoped with a valid terminator: {TERMINATOR!r}."
        )
    if claim.date != amz_date[:8]:
        raise InvalidSignatureError(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
            "HTTP."
        )


def _check_signed_headers(names: tuple[bytes, ...], headers: dict[bytes, bytes]) -> None:
    """Refuse what whoever stands in between could have added, changed or taken away."""
    for name in names:
        if name not in headers:
            raise InvalidSignatureError(f"The header {_shown(name)} is signed, but did not arrive.")
    if b"host" not in names:
        raise InvalidSignatureError("The header 'host' must be a signed header.")
    for name in headers.keys() - names:
        if name.startswith(_MUST_BE_SIGNED):
            raise InvalidSignatureError(f"The header {_shown(name)} must be a signed header.")


def _check_payload_hash(given: bytes | None, payload_hash: str) -> None:
    if given is not None and given != payload_hash.encode():
        raise InvalidSignatureError(
            "The header x-amz-content-sha256 is not the SHA-256 of the body. Unsigned and streamed "
            "payloads are not taken."
        )


def _signing_key(key: ActiveKey, claim: Claim) -> hmac.HMAC:
    kept = key.signing_keys.get((claim.date, claim.region))
    return kept or signing_key(key.proof, claim.date, claim.region, claim.service)


def _keep(derived: hmac.HMAC, key: ActiveKey, claim: Claim) -> None:
    """Keep a signing key with which a right signature was made: not what strangers make up."""
    place = (claim.date, claim.region)
    if place not in key.signing_keys:
        if len(key.signing_keys) >= _MOST_SIGNING_KEYS:
            key.signing_keys.clear()
        key.signing_keys[place] = derived


def _mismatch(headers: dict[bytes, bytes]) -> str:
    return (
        "The request signature we calculated does not match the signature you provided. Check your "
        "AWS Secret Access Key and signing method. A proxy on the way must keep the path, and the "
        f"header Host, which came here as {_shown(headers.get(b'host', b''))}."
    )


def _shown(text: bytes) -> str:
    """Return what a client sent in a form that is fit for every log."""
    return repr(text[:100].decode("ascii", "backslashreplace"))


def _raw_path(scope: Scope) -> bytes:
    """Return the path as it was sent; servers that do not tell get the shortest way to write it."""
    raw: bytes | None = scope.get("raw_path")
    return scope["path"].encode("utf-8", "surrogateescape") if raw is None else raw
