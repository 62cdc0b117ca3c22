"""Gateways and parts over real sockets: calls, secrets, and replicas that come and go."""

import asyncio
import contextlib
import datetime
import ipaddress
import os
import pickle
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from raysys.errors import ReleaseMismatchError, ServingError, StateUnavailableError
from raysys.serving.call_client import Connection, ConnectionLostError
from raysys.serving.call_server import CallServer
from raysys.serving.frames import BadFrameError, head_of, new_nonce
from raysys.serving.part_replicas import PartReplicas, ReplicaFollower
from raysys.state.campaigns import Endpoint

MAX_S = 20.0


class Part:
    """A replica that says what it is told to."""

    def __init__(self, name: str = "shard-0") -> None:
        self.asked: list[Any] = []
        self.may_go_on = threading.Event()
        self.has_begun = threading.Event()
        calls: dict[str, Callable[..., object]] = {
            "double": lambda array: 2 * array,
            "check": self._check,
            "wait": self._wait,
            "fail": lambda: int("nothing"),
        }
        self.server = CallServer(name, "127.0.0.1", calls)

    @property
    def endpoint(self) -> Endpoint:
        return self.server.endpoint

    def _check(self, release: str) -> None:
        self.asked.append(release)
        if release == "another":
            raise ReleaseMismatchError("It holds none of that name.")

    def _wait(self, value: object) -> object:
        self.has_begun.set()
        assert self.may_go_on.wait(MAX_S)
        return value

    def close(self) -> None:
        self.may_go_on.set()
        self.server.close()


@pytest.fixture
def new_part() -> Iterator[Callable[..., Part]]:
    made: list[Part] = []

    def new(name: str = "shard-0") -> Part:
        made.append(Part(name))
        return made[-1]

    yield new
    for part in made:
        part.close()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(MAX_S):
            await scenario()

    asyncio.run(within())


@contextlib.asynccontextmanager
async def connected(endpoint: Endpoint) -> Any:
    connection = await Connection.open(endpoint)
    try:
        yield connection
    finally:
        connection.close()


def test_a_call_brings_back_what_the_part_returns(new_part: Callable[..., Part]) -> None:
    async def scenario() -> None:
        async with connected(new_part().endpoint) as to:
            for size in (0, 1, 300_000):  # the last one comes in many pieces
                array = np.arange(size, dtype=np.float64)
                np.testing.assert_array_equal(await to.call("double", array), 2 * array)

    run(scenario)


def test_answers_come_to_those_who_asked(new_part: Callable[..., Part]) -> None:
    part = new_part()

    async def scenario() -> None:
        async with connected(part.endpoint) as to:
            waiting = [asyncio.create_task(to.call("wait", number)) for number in range(5)]
            await asyncio.to_thread(part.has_begun.wait, MAX_S)
            assert to.num_waiting == 5
            waiting[1].cancel()  # its answer comes all the same, and is nobody's
            part.may_go_on.set()
            found = await asyncio.gather(*waiting, return_exceptions=True)
            assert isinstance(found.pop(1), asyncio.CancelledError)
            assert found == [0, 2, 3, 4]
            assert await to.call("wait", "next") == "next"
            assert to.num_waiting == 0

    run(scenario)


def test_what_a_call_raises_is_raised_where_it_was_made(new_part: Callable[..., Part]) -> None:
    async def scenario() -> None:
        async with connected(new_part().endpoint) as to:
            with pytest.raises(ReleaseMismatchError, match="none of that name"):
                await to.call("check", "another")
            with pytest.raises(RuntimeError, match="nothing"):
                await to.call("fail")
            with pytest.raises(RuntimeError, match="unheard"):
                await to.call("unheard")
            await to.call("check", "a")  # the connection is as good as before

    run(scenario)


def test_calls_that_wait_are_told_when_the_part_goes(new_part: Callable[..., Part]) -> None:
    part = new_part()

    async def scenario() -> None:
        async with connected(part.endpoint) as to:
            waiting = asyncio.create_task(to.call("wait", 1))
            await asyncio.to_thread(part.has_begun.wait, MAX_S)
            part.server.close()
            with pytest.raises(ConnectionLostError):
                await waiting
            with pytest.raises(ConnectionLostError):
                await to.call("check", "a")
            assert not to.is_open
        with pytest.raises(OSError, match="onnect"):
            await Connection.open(part.endpoint)

    run(scenario)


def test_a_part_without_a_thread_left_lets_the_next_gateway_in(
    new_part: Callable[..., Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    part, start, failures = new_part(), threading.Thread.start, [RuntimeError("no thread left")]

    def fail_once(thread: threading.Thread) -> None:
        if thread.name == "raysys-calls" and failures:
            raise failures.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", fail_once)

    async def scenario() -> None:
        with pytest.raises(ConnectionLostError):
            await Connection.open(part.endpoint)
        async with connected(part.endpoint) as to:
            await to.call("check", "a")

    run(scenario)
    assert not failures


def test_who_does_not_know_the_secret_is_not_listened_to(new_part: Callable[..., Part]) -> None:
    part = new_part()
    stranger = msgspec.structs.replace(part.endpoint, secret="0" * 64)

    async def scenario() -> None:
        with pytest.raises(BadFrameError, match="part does not know"):  # it asks for proof, too
            await Connection.open(stranger)

    run(scenario)
    call = pickle.dumps(("check", ("a",)))
    assert said_by(part.endpoint, call) == 0  # not even looked at
    assert said_by(part.endpoint, new_nonce(), b"0" * 32, call) == 4 + 64  # its nonce and its proof
    assert said_by(part.endpoint, b"\xff" * 4_000) == 0
    assert part.asked == []


def said_by(endpoint: Endpoint, *frames: bytes) -> int:
    """Send frames, whatever comes back, and return how much that is until the other hangs up."""
    with socket.create_connection((endpoint.host, endpoint.port), timeout=MAX_S) as stranger:
        received = 0
        with contextlib.suppress(ConnectionError):
            for frame in frames:
                stranger.sendall(head_of(len(frame)) + frame)
            while data := stranger.recv(1_024):
                received += len(data)
        return received


def test_a_gateway_proves_and_asks_for_other_things_than_a_part(
    new_part: Callable[..., Part],
) -> None:
    """Who sends a part's own proof back has proved nothing."""
    part = new_part()
    with socket.create_connection((part.endpoint.host, part.endpoint.port), MAX_S) as stranger:
        stranger.sendall(head_of(32) + new_nonce())
        answer = stranger.recv(4 + 64, socket.MSG_WAITALL)
        stranger.sendall(head_of(32) + answer[-32:])
        with contextlib.suppress(ConnectionResetError):
            assert stranger.recv(1) == b""


def test_a_replica_that_goes_away_loses_no_call_while_there_is_another(
    new_part: Callable[..., Part],
) -> None:
    parts = [new_part(), new_part()]

    async def scenario() -> None:
        shard = PartReplicas("shard-0")
        follower = ReplicaFollower(found([part.endpoint for part in parts]), {"shard-0": shard})
        await follower.look()
        waiting = [asyncio.create_task(shard._call("wait", number)) for number in range(4)]
        for part in parts:
            assert await asyncio.to_thread(part.has_begun.wait, MAX_S)  # both have work
        parts[0].server.close()
        parts[1].may_go_on.set()
        assert await asyncio.gather(*waiting) == [0, 1, 2, 3]
        parts[1].server.close()
        with pytest.raises(ServingError, match="No replica of shard-0"):
            await shard.check("a")
        assert not shard.is_connected

    run(scenario)


def test_replicas_take_turns(new_part: Callable[..., Part]) -> None:
    parts = [new_part(), new_part()]

    async def scenario() -> None:
        shard = PartReplicas("shard-0")
        follower = ReplicaFollower(found([part.endpoint for part in parts]), {"shard-0": shard})
        await follower.look()
        for _ in range(4):
            await shard.check("a")
        assert [len(part.asked) for part in parts] == [2, 2]
        await follower.close()

    run(scenario)


def test_new_replicas_are_found_and_those_that_left_are_let_go(
    new_part: Callable[..., Part], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raysys.serving.follower.POLL_EVERY_S", 0.01)
    monkeypatch.setattr("raysys.serving.follower.IN_A_HURRY_S", 0.01)
    old, new, encoder = new_part(), new_part(), new_part("encoder")
    dead = new_part()
    dead.close()
    known = [dead.endpoint]

    async def scenario() -> None:
        shard = PartReplicas("shard-0")
        follower = ReplicaFollower(found(known), {"shard-0": shard})
        await follower.start()
        assert not shard.is_connected
        known.extend([old.endpoint, encoder.endpoint])
        while shard.lacks(old.endpoint):
            await asyncio.sleep(0.01)
        assert shard.lacks(encoder.endpoint)  # another part's
        known[:] = [new.endpoint]
        while shard.lacks(new.endpoint) or not shard.lacks(old.endpoint):
            await asyncio.sleep(0.01)
        await shard.check("b")
        assert (old.asked, new.asked) == ([], ["b"])
        await follower.close()
        assert not shard.is_connected

    run(scenario)


def test_without_the_database_connections_stay(new_part: Callable[..., Part]) -> None:
    part, is_away = new_part(), False

    def find() -> list[Endpoint]:
        if is_away:
            raise StateUnavailableError("The database is away.")
        return [part.endpoint]

    async def scenario() -> None:
        nonlocal is_away
        shard = PartReplicas("shard-0")
        follower = ReplicaFollower(find, {"shard-0": shard})
        await follower.look()
        is_away = True
        await follower.look()
        await shard.check("a")
        await follower.close()

    run(scenario)


def test_a_replica_that_is_dead_is_tried_ever_less_often(new_part: Callable[..., Part]) -> None:
    dead = new_part()
    dead.close()

    async def scenario() -> None:
        follower = ReplicaFollower(found([dead.endpoint]), {"shard-0": PartReplicas("shard-0")})
        for pause_s in (0.5, 1.0, 2.0, 4.0, 8.0, 8.0):
            began_s = asyncio.get_running_loop().time()
            await follower.look()
            assert follower._not_before_s[dead.endpoint] >= began_s + pause_s
            not_before_s = dict(follower._not_before_s)
            await follower.look()  # too early
            assert follower._not_before_s == not_before_s
            follower._not_before_s.clear()

    run(scenario)


def found(endpoints: list[Endpoint]) -> Callable[[], list[Endpoint]]:
    return lambda: list(endpoints)


def test_where_ray_speaks_tls_so_do_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_certificates(tmp_path)
    monkeypatch.setenv("RAY_USE_TLS", "1")
    monkeypatch.setenv("RAY_TLS_SERVER_CERT", str(tmp_path / "node.crt"))
    monkeypatch.setenv("RAY_TLS_SERVER_KEY", str(tmp_path / "node.key"))
    monkeypatch.setenv("RAY_TLS_CA_CERT", str(tmp_path / "ca.crt"))
    part = Part()

    async def scenario() -> None:
        async with connected(part.endpoint) as to:
            assert await to.call("double", 2) == 4
        monkeypatch.setenv("RAY_USE_TLS", "0")
        with pytest.raises((ConnectionLostError, BadFrameError)):
            await Connection.open(part.endpoint)

    run(scenario)
    part.close()
    monkeypatch.setenv("RAY_USE_TLS", "1")
    os.remove(tmp_path / "node.key")
    with pytest.raises(ServingError, match=r"RAY_TLS_SERVER_KEY.*missing"):
        Part()


def write_certificates(directory: Path) -> None:
    """Write an authority's certificate, and a key with one of 127.0.0.1, signed by it."""
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("ca", "node")}
    authority = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    now = datetime.datetime.now(datetime.UTC)
    for name, key in keys.items():
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        certificate = (
            x509.CertificateBuilder()
            .subject_name(authority if name == "ca" else subject)
            .issuer_name(authority)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=name == "ca", path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([address]), critical=False)
            .sign(keys["ca"], hashes.SHA256())
        )
        pem = serialization.Encoding.PEM
        (directory / f"{name}.crt").write_bytes(certificate.public_bytes(pem))
        (directory / f"{name}.key").write_bytes(
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        )
