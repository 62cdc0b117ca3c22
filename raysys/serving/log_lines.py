"""The lines that raysys itself writes into the log of a serving process.

Each is one JSON object: `time` (UTC), `level`, `logger`, `message`, whatever `start_logging` was
told of the process, `request_id` where the line is about one request, and `exception` where there
is one. A request's id is that of its `X-Request-ID`, which Serve's access log has too.
"""

import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime

import msgspec

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
"""Of the request that this task answers. A micro-batch answers many, and has none."""

_LOGGER = "raysys"


class JsonLines(logging.Formatter):
    """Writes a record as one line of JSON.

    Args:
        known: members of every line.
    """

    def __init__(self, known: dict[str, str]) -> None:
        super().__init__()
        self._known = known

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._known,
        }
        request_id = REQUEST_ID.get()
        if request_id is not None:
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


def start_logging(**known: str) -> None:
    """Let everything under the logger `raysys` be written to standard error as JSON.

    Ray keeps that in the log file of the process. Called again, it replaces what it did before.

    Args:
        known: members of every line, such as the part.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines(known))
    logger = logging.getLogger(_LOGGER)
    logger.handlers = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
