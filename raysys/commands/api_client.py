"""A client of a running raysys, in the wire format, with nothing but the standard library."""

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from raysys.errors import ServingError


@dataclass(frozen=True)
class Reply:
    """One answer: its JSON body (None where the body is empty), its headers and its time."""

    status: int
    body: Any
    headers: Mapping[str, str]
    milliseconds: float


class ApiClient:
    """Talks to one server over one kept-alive connection; not for use from several threads."""

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        parts = urlsplit(url)
        self._url = url
        self._connection = http.client.HTTPConnection(
            parts.hostname or "127.0.0.1", parts.port or 80, timeout=timeout_s
        )

    def recommend(self, user_id: str, *, num_results: int = 10) -> Reply:
        """Ask for one user's list; ServingError when the answer is not a list."""
        reply = self.post("/recommendations", {"userId": user_id, "numResults": num_results})
        return self._expect_success(reply)

    def put_events(self, tracking_id: str, user_id: str, events: Sequence[dict[str, Any]]) -> Reply:
        """Send at most 10 events; they count once this returns. ServingError when refused."""
        body = {
            "trackingId": tracking_id,
            "userId": user_id,
            "sessionId": f"session-of-{user_id}"[:256],
            "eventList": list(events),
        }
        return self._expect_success(self.post("/events", body))

    def get(self, path: str) -> Reply:
        """Return the answer to a GET, whatever its status."""
        return self._request("GET", path, None)

    def post(self, path: str, body: Any) -> Reply:
        """Return the answer to a POST of `body` as JSON, whatever its status."""
        return self._request("POST", path, json.dumps(body).encode())

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _request(self, method: str, path: str, body: bytes | None) -> Reply:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        started = time.perf_counter()
        try:
            self._connection.request(method, path, body=body, headers=headers)
            response = self._connection.getresponse()
            text = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise ServingError(f"{self._url} does not answer {method} {path}: {error!r}") from error
        milliseconds = (time.perf_counter() - started) * 1000
        names = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, _parsed(text), names, milliseconds)

    def _expect_success(self, reply: Reply) -> Reply:
        if reply.status != 200:
            raise ServingError(
                f"{self._url} answered {reply.status}: "
                f"{reply.headers.get('x-amzn-errortype', 'no error type')}, {reply.body}"
            )
        return reply


def _parsed(text: bytes) -> Any:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text.decode(errors="replace")
