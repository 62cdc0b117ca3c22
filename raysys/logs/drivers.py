"""What database drivers are told, so that a value that Python cannot hold costs only its row."""

import sqlite3
from datetime import UTC, datetime
from typing import Any

_LAST, _FIRST = datetime(9999, 12, 30), datetime(1, 1, 2)


def read_any_text(connection: sqlite3.Connection, _: object) -> None:
    """Make SQLite give text that is not UTF-8 as bytes."""

    def text_or_bytes(value: bytes) -> str | bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value

    connection.text_factory = text_or_bytes


def read_any_time(connection: Any, _: object) -> None:
    """Make psycopg give infinity, and what else lies beyond the years that Python knows.

    It becomes the last or the first of them, both out of the range of every log.
    """
    from psycopg import DataError, pq  # only where a PostgreSQL is read
    from psycopg.abc import AdaptContext
    from psycopg.adapt import Loader

    def lenient(kind: type[Loader], last: Any, first: Any) -> type[Loader]:
        class Lenient(Loader):
            def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
                super().__init__(oid, context)
                self._load = kind(oid, context).load

            def load(self, data: Any) -> Any:
                try:
                    return self._load(data)
                except DataError:
                    text = bytes(data)
                    return first if text.startswith(b"-") or text.endswith(b"BC") else last

        return Lenient

    adapters = connection.adapters
    for name, last, first in (
        ("date", _LAST.date(), _FIRST.date()),
        ("timestamp", _LAST, _FIRST),
        ("timestamptz", _LAST.replace(tzinfo=UTC), _FIRST.replace(tzinfo=UTC)),
    ):
        kind = adapters.get_loader(adapters.types[name].oid, pq.Format.TEXT)
        adapters.register_loader(name, lenient(kind, last, first))
