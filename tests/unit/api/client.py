"""A client without a network: it calls the ASGI application as a server would."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from raysys.api.app import build_asgi
from raysys.api.asgi import Application, Message, Route
from raysys.config import ServingConfig
from raysys.errors import ResourceNotFoundError
from raysys.serving.key_ring import KeyRing
from raysys.serving.messages import Answer, Query, RankQuery
from raysys.state.events import Event
from raysys.state.items import Item
from raysys.state.users import User

T = TypeVar("T")

RECOMMENDATION_ID = "RID-" + "0" * 36
CONFIG = ServingConfig(tracking_id="tracker", max_body_bytes=65_536)


@dataclass
class FakeEngine:
    """Answers with what it is given, raises what it is told to, remembers what it was asked."""

    answer: Answer = field(
        default_factory=lambda: Answer(["a", "b"], [0.75, 0.25], RECOMMENDATION_ID, "r-1", "model")
    )
    failure: Exception | None = None
    queries: list[Query] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    rankings: list[RankQuery] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    users: list[User] = field(default_factory=list)

    async def recommend(self, query: Query) -> Answer:
        self._find(query.campaign)
        self.queries.append(query)
        self._fail()
        return self.answer

    def serialised(self, answer: Answer, seconds: float) -> None:
        pass

    def refused(self, code: str) -> None:
        self.refusals.append(code)

    async def rank(self, query: RankQuery) -> Answer:
        self._find(query.campaign)
        self.rankings.append(query)
        self._fail()
        return self.answer

    async def put_events(self, events: Sequence[Event]) -> None:
        self._fail()
        self.events += events

    async def put_items(self, items: Sequence[Item]) -> None:
        self._fail()
        self.items += items

    async def put_users(self, users: Sequence[User]) -> None:
        self._fail()
        self.users += users

    async def ready(self) -> Mapping[str, Any]:
        self._fail()
        films = {"version": 3, "releases": {"r-1": {"share": 1.0, "items": 9}}}
        return {"campaigns": {"films": films}, "shards": 2}

    def _find(self, campaign: str | None) -> None:
        if campaign not in (None, "films"):
            raise ResourceNotFoundError(f"There is no campaign {campaign!r} here, but 'films'.")

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def error(self) -> str | None:
        return self.headers.get("x-amzn-errortype")

    @property
    def message(self) -> str:
        value = self.json()
        assert list(value) == ["message"]
        message: str = value["message"]
        return message


def application(
    engine: FakeEngine | None = None,
    extra_routes: Sequence[Route] = (),
    keys: KeyRing | None = None,
) -> Application:
    return build_asgi(engine or FakeEngine(), CONFIG, keys, extra_routes)


async def exchange(
    app: Application,
    method: str,
    path: str,
    chunks: Sequence[bytes] = (b"",),
    *,
    headers: Sequence[tuple[bytes, bytes]] = (),
    root_path: str = "",
    hangs_up: bool = False,
    query: bytes = b"",
) -> list[Message]:
    """Return the messages that the application sent for one request."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "root_path": root_path,
        "raw_path": path.encode("utf-8", "surrogateescape"),
        "query_string": query,
        "headers": list(headers),
    }
    waiting: list[Message] = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks) or hangs_up}
        for number, chunk in enumerate(chunks, start=1)
    ]
    sent: list[Message] = []

    async def receive() -> Message:
        return waiting.pop(0) if waiting else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent


def run(exchanging: Coroutine[Any, Any, T]) -> T:
    """Return what a coroutine returns that never waits."""

    async def at_once() -> T:
        async with asyncio.timeout(0):
            return await exchanging

    return asyncio.run(at_once())


def call(app: Application, method: str, path: str, body: bytes = b"", **options: Any) -> Reply:
    """Return the reply to one request whose body comes whole."""
    start, end = run(exchange(app, method, path, (body,), **options))
    assert (start["type"], end["type"]) == ("http.response.start", "http.response.body")
    assert not end.get("more_body")
    pairs = [(name.decode(), value.decode()) for name, value in start["headers"]]
    headers = dict(pairs)
    assert len(headers) == len(pairs), "a header is sent twice"
    return Reply(start["status"], headers, end["body"])


def post(path: str, body: bytes, engine: FakeEngine | None = None, **options: Any) -> Reply:
    return call(application(engine), "POST", path, body, **options)
