"""Requests as AWS SDKs sign them, by botocore's own signer, and a key ring to check them with."""

import itertools
from datetime import UTC, datetime
from typing import Any, cast

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from raysys.api.asgi import Application
from raysys.serving.key_ring import KeyRing
from raysys.state.credentials import KeyScope, hash_token, new_key_id, new_token
from raysys.state.keys import KeyTable, StoredKey
from raysys.state.sealing import Seal
from tests.unit.api.client import FakeEngine, application

SEAL = Seal(b"m" * 32)
SECRET = "s3cr3t-of-forty-characters-0123456789abc"
_created_at_us = itertools.count(1)


class FakeTable:
    """Keys without a database; any change is a new version."""

    def __init__(self, *keys: StoredKey) -> None:
        self.keys = list(keys)
        self.num_changes = 1
        self.failure: Exception | None = None

    def version(self) -> int:
        if self.failure is not None:
            raise self.failure
        return self.num_changes if self.keys else 0

    def all(self) -> list[StoredKey]:
        return list(self.keys)


def signing_key(*scopes: KeyScope, secret: str = SECRET, **fields: Any) -> StoredKey:
    """Return a stored signing key; of all scopes where none is named."""
    key_id = new_key_id("signature")
    return StoredKey(
        key_id,
        "signature",
        SEAL.seal(key_id, secret),
        scopes or ("admin",),
        next(_created_at_us),
        **fields,
    )


def bearer_key(*scopes: KeyScope, **fields: Any) -> tuple[StoredKey, bytes]:
    """Return a stored token, and the token."""
    key_id = new_key_id("bearer")
    token = new_token(key_id).encode()
    stored = StoredKey(
        key_id, "bearer", hash_token(token), scopes or ("admin",), next(_created_at_us), **fields
    )
    return stored, token


def ring(*keys: StoredKey, is_always_on: bool = True) -> KeyRing:
    """Return a ring that knows the keys and follows nothing."""
    made = KeyRing(
        cast(KeyTable, FakeTable(*keys)), is_always_on=is_always_on, open_seal=lambda: SEAL
    )
    made._take_over()
    return made


def guarded(*keys: StoredKey, engine: FakeEngine | None = None) -> Application:
    return application(engine, keys=ring(*keys))


def signed_headers(
    body: bytes,
    key_id: str,
    *,
    path: str = "/recommendations",
    method: str = "POST",
    secret: str = SECRET,
    service: str = "personalize",
    region: str = "eu-central-1",
    at: datetime | None = None,
    extra: dict[str, str] | None = None,
) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request that botocore signed, as an ASGI server passes them on."""
    headers = {"Content-Type": "application/json", "Host": "127.0.0.1:8000", **(extra or {})}
    request = AWSRequest(method=method, url=f"http://127.0.0.1:8000{path}", data=body)
    for name, value in headers.items():
        request.headers[name] = value
    stamp = (at or datetime.now(UTC)).strftime("%Y%m%dT%H%M%SZ")
    request.context["timestamp"] = stamp
    request.headers["X-Amz-Date"] = stamp
    signer: Any = SigV4Auth(Credentials(key_id, secret), service, region)
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    signer._inject_signature_to_request(request, signature)
    sent = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
    return [*sent, (b"user-agent", b"Boto3"), (b"content-length", b"%d" % len(body))]


def changed(
    headers: list[tuple[bytes, bytes]], name: bytes, *values: bytes
) -> list[tuple[bytes, bytes]]:
    """Return the headers with other values of one of them; with none, without it."""
    return [pair for pair in headers if pair[0] != name] + [(name, value) for value in values]
