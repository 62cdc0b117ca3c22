"""HTTP for a handful of exact paths, as a plain ASGI application.

Driven without a server, Starlette needs 35 to 38 microseconds of processor time for a request whose
handler does nothing; this router with the whole wire behind it (parsing, checks, a stand-in for the
engine, encoding) needs 26 to 30. It is bound by what the API needs: exact paths, bodies read whole
up to a limit, answers sent whole, and every error in the wire format, so that no SDK meets a page
that it cannot read.
"""

import logging
import re
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from raysys.api.bodies import BodyReader, ClientGoneError
from raysys.api.wire import encode_error
from raysys.errors import (
    MethodNotAllowedError,
    RequestError,
    StateUnavailableError,
    UnavailableError,
    UnknownOperationError,
)
from raysys.serving.log_lines import REQUEST_ID
from raysys.serving.unique import new_uuid
from raysys.state.credentials import KeyScope

_logger = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Header = tuple[bytes, bytes]
Headers = Sequence[Header]

_ID_LETTERS = re.compile(rb"[A-Za-z0-9_.:-]{1,128}")
Handler = Callable[[bytes, Headers], Awaitable["Response"]]

_JSON: Header = (b"content-type", b"application/json")


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, sent whole. The router adds the content type, the length and a request id."""

    body: bytes
    headers: tuple[Header, ...] = ()
    status: int = 200
    error: str | None = None
    """The name of the error that it tells of; the router adds a header that says it."""


@dataclass(frozen=True, slots=True)
class Route:
    """What one method on one path does.

    The handler gets the body, empty unless method is POST, and the headers, names in lower case. It
    raises RequestError for what the client must be told; StateUnavailableError is told as 503. Any
    other error is a bug: the client gets 500 and a request id, the log gets the traceback.

    Args:
        needs: the scope of the keys that may ask, where the application has a guard; None: anybody.
        stranger: answers who shows no key, instead of a refusal.
    """

    method: str
    path: str
    handler: Handler
    needs: KeyScope | None
    stranger: Handler | None = None


class Guard(Protocol):
    """Says who may ask."""

    @property
    def is_on(self) -> bool:
        """Say whether requests need a key now."""

    def check_head(self, scope: Scope, route: Route) -> Callable[[bytes], None]:
        """Refuse by a RequestError, or return what looks at the body, too, and may refuse then."""


class Application:
    """The ASGI application for some routes.

    Args:
        max_body_bytes: bodies over it are refused unread.
        body_timeout_s: bodies that take longer to arrive are given up.
        guard: asked for every request to a route that needs a scope; None: everybody may ask.
        on_error: told the name of each error that a client was answered with.
    """

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        max_body_bytes: int,
        body_timeout_s: float,
        guard: Guard | None = None,
        on_error: Callable[[str], None] | None = None,
    ) -> None:
        self._on_error = on_error
        self._guard = guard
        self._bodies = BodyReader(max_bytes=max_body_bytes, timeout_s=body_timeout_s)
        self._routes: dict[str, dict[str, Route]] = {}
        for route in routes:
            methods = self._routes.setdefault(route.path, {})
            if route.method in methods:
                raise ValueError(f"Two routes for {route.method} {route.path}.")
            methods[route.method] = route

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            await _live(receive, send)
        else:  # a WebSocket, which no path here speaks
            await send({"type": "websocket.close", "code": 1000})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _given_id(scope) or new_uuid()
        token = REQUEST_ID.set(request_id)
        try:
            response = await self._respond(scope, receive, request_id)
            if response.error is not None and self._on_error is not None:
                self._on_error(response.error)
            await _send(response, request_id, scope["method"], send)
        except ClientGoneError:
            return
        except OSError as error:  # servers differ in whether they tell
            _logger.debug("The client hung up: %s", error)
        finally:
            REQUEST_ID.reset(token)

    async def _respond(self, scope: Scope, receive: Receive, request_id: str) -> Response:
        try:
            found = self._find(scope)
            if isinstance(found, Response):
                return found
            handler, check_body, body = found.handler, None, b""
            if self._guard is not None and found.needs is not None and self._guard.is_on:
                if found.stranger is not None and not _shows_a_key(scope["headers"]):
                    handler = found.stranger
                else:
                    check_body = self._guard.check_head(scope, found)
            if found.method == "POST":
                body = await self._bodies.read(scope["headers"], receive)
            if check_body is not None:
                check_body(body)
            return await handler(body, scope["headers"])
        except ClientGoneError:
            raise
        except RequestError as error:
            return error_response(error)
        except StateUnavailableError as error:
            return error_response(UnavailableError(str(error)))
        except Exception:
            _logger.exception("%s failed", _shown_path(scope))
            message = f"The server failed. Its log says why, under request id {request_id}."
            return _error(500, "InternalFailure", message)

    def _find(self, scope: Scope) -> Route | Response:
        path, prefix, method = scope["path"], scope.get("root_path", ""), scope["method"]
        if prefix and path.startswith(prefix):
            path = path[len(prefix) :]
        methods = self._routes.get(path)
        if methods is None:
            return error_response(UnknownOperationError(f"{_shown_path(scope)} does not exist."))
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            error = MethodNotAllowedError(f"{path} takes {allowed} and not {method}.")
            return error_response(error, (b"allow", allowed.encode()))
        return route


def _given_id(scope: Scope) -> str | None:
    """Return the request's `X-Request-ID`, Serve's or the client's, if it is fit to be repeated."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            return value.decode() if _ID_LETTERS.fullmatch(value) else None
    return None


def _shows_a_key(headers: Headers) -> bool:
    return any(name == b"authorization" for name, _ in headers)


def error_response(error: RequestError, *headers: Header) -> Response:
    """Return the answer that tells a client of `error` in the wire format."""
    if error.retry_after_s is not None:
        headers = (*headers, (b"retry-after", b"%d" % error.retry_after_s))
    if error.ends_connection:
        headers = (*headers, (b"connection", b"close"))
    return _error(error.status, error.code, str(error), *headers)


def _error(status: int, code: str, message: str, *headers: Header) -> Response:
    return Response(encode_error(message), headers, status, code)


def _shown_path(scope: Scope) -> str:
    path: str = scope["path"]
    return path[:256].encode("ascii", "backslashreplace").decode()


async def _send(response: Response, request_id: str, method: str, send: Send) -> None:
    headers = [
        _JSON,
        (b"content-length", b"%d" % len(response.body)),
        (b"x-amzn-requestid", request_id.encode()),
        *response.headers,
    ]
    if response.error is not None:
        headers.append((b"x-amzn-errortype", response.error.encode()))
    start = {"type": "http.response.start", "status": response.status, "headers": headers}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else response.body})


async def _live(receive: Receive, send: Send) -> None:
    """Tell the server that nothing has to be started or stopped here."""
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
