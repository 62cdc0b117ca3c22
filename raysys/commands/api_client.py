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

    def recommend(
        self,
        user_id: str,
        *,
        num_results: int = 10,
        exploration_weight: float | None = None,
        seed: int | None = None,
    ) -> Reply:
        """Ask for one user's list; ServingError when the answer is not a list.

        Args:
            exploration_weight: None leaves it to the server.
            seed: of the draws; None for one by chance.
        """
        given = {"x-raysys-exploration-weight": exploration_weight, "x-raysys-seed": seed}
        headers = {name: str(value) for name, value in given.items() if value is not None}
        body = {"userId": user_id, "numResults": num_results}
        return self._expect_success(self.post("/recommendations", body, headers))

    def put_events(self, tracking_id: str, user_id: str, events: Sequence[dict[str, Any]]) -> Reply:
        """Send at most 10 events; they count once this returns. ServingError when refused."""
        body = {
            "trackingId": tracking_id,
            "userId": user_id,
            "sessionId": f"session-of-{user_id}"[:256],
            "eventList": list(events),
        }
        return self._expect_success(self.post("/events", body))

    def put_items(self, dataset_group: str, items: Sequence[dict[str, Any]]) -> Reply:
        """Put at most 10 items; they are stored once this returns. ServingError when refused."""
        arn = f"arn:aws:personalize:us-east-1:000000000000:dataset/{dataset_group}/ITEMS"
        return self._expect_success(self.post("/items", {"datasetArn": arn, "items": list(items)}))

    def get(self, path: str) -> Reply:
        """Return the answer to a GET, whatever its status."""
        return self._request("GET", path, None, {})

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> Reply:
        """Return the answer to a POST of `body` as JSON, whatever its status."""
        all_headers = {"Content-Type": "application/json", **(headers or {})}
        return self._request("POST", path, json.dumps(body).encode(), all_headers)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _request(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> Reply:
        started = time.perf_counter()
        try:
            self._connection.request(method, path, body=body, headers=dict(headers))
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
