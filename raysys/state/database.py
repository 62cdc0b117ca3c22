"""Connections to SQLite and PostgreSQL, made alike."""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from raysys.errors import StateError
from raysys.state.failures import WriteConflict, explained, is_worth_another_attempt

T = TypeVar("T")

_LOCK_WAIT_S = 5
"""How long a statement waits for another writer before it gives up."""

_ATTEMPTS = 5


class Database:
    """Two engines on one database: `write` transactions and `read` statements, from any thread.

    Both raise StateError, or StateUnavailableError where the same call may succeed later.

    Args:
        must_exist: refuse an SQLite file that is not there instead of making it.
    """

    def __init__(self, url: str, *, must_exist: bool = False) -> None:
        parsed = _parsed(url)
        self.name = parsed.render_as_string(hide_password=True)
        self.dialect_name = parsed.get_backend_name()
        is_sqlite = self.dialect_name == "sqlite"
        if is_sqlite:
            _check_sqlite_place(parsed, self.name, must_exist=must_exist)
        try:
            self._writer = create_engine(parsed, **_arguments(is_sqlite, pool_size=2))
            # A read is one statement, so it needs no BEGIN and no ROLLBACK, each a round trip.
            self._reader = create_engine(
                parsed, isolation_level="AUTOCOMMIT", **_arguments(is_sqlite, pool_size=8)
            )
        except ImportError as error:
            raise StateError(
                f"The database {self.name} needs a driver that is not installed ({error}). "
                f"Install it with `pip install 'raysys[postgresql]'`."
            ) from error
        if is_sqlite:
            for engine in (self._reader, self._writer):
                event.listen(engine, "connect", _set_up_sqlite)
            event.listen(self._writer, "connect", _leave_begin_to_us)
            event.listen(self._writer, "begin", _begin_immediate)

    def write(self, transaction: Callable[[Connection], T]) -> T:
        """Run `transaction` and commit; what it returns is durable when this returns.

        It may run several times, each in a new transaction: after a conflict with another writer,
        and after a lost connection, where nobody can know whether the commit arrived. So it must
        be a transaction that changes nothing when it has been committed before.
        """

        def attempt() -> T:
            with self._writer.begin() as connection:
                return transaction(connection)

        return self._with_attempts(attempt)

    def read(self, query: Callable[[Connection], T]) -> T:
        """Run `query`, which reads with one statement, on everything that is committed."""

        def attempt() -> T:
            with self._reader.connect() as connection:
                return query(connection)

        return self._with_attempts(attempt)

    def close(self) -> None:
        self._writer.dispose()
        self._reader.dispose()

    def _with_attempts(self, attempt: Callable[[], T]) -> T:
        attempts_left = _ATTEMPTS
        while True:
            attempts_left -= 1
            try:
                return attempt()
            except (WriteConflict, SQLAlchemyError) as error:
                if not attempts_left or not is_worth_another_attempt(error):
                    raise explained(error, self.name) from error


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise StateError(
            "The database must be given as a URL, such as sqlite:///raysys.db or "
            "postgresql://user@host/name, and what was given is none."
        ) from error
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise StateError(
            f"The database kind {parsed.drivername!r} is not known. Use sqlite:///raysys.db on one "
            f"node, or postgresql://user@host/name where there are several."
        )
    return parsed


def _check_sqlite_place(url: URL, name: str, *, must_exist: bool) -> None:
    if not url.database or url.database == ":memory:" or "mode" in url.query:
        raise StateError(
            f"The database {name} lies in memory, where each connection sees its own and nothing "
            f"outlives the process. Name a file, such as sqlite:///raysys.db."
        )
    directory = Path(url.database).parent
    if not directory.is_dir():
        raise StateError(
            f"The database {name} cannot be opened: there is no directory {directory}. Create it, "
            f"or name a file in another one."
        )
    if must_exist and not Path(url.database).exists():
        raise StateError(
            f"The database {name} does not exist, so there is nothing to read. Name the database "
            f"that `raysys serve` was started with."
        )


def _arguments(is_sqlite: bool, *, pool_size: int) -> dict[str, Any]:
    if is_sqlite:
        connect_args: dict[str, Any] = {"timeout": _LOCK_WAIT_S}
    else:
        connect_args = {
            "connect_timeout": _LOCK_WAIT_S,
            "tcp_user_timeout": 15_000,  # ms; a server that vanished without a word
            "options": f"-c lock_timeout={_LOCK_WAIT_S}s -c statement_timeout=30s",
        }
    return {
        "pool_size": pool_size,
        "max_overflow": 8,
        "pool_timeout": _LOCK_WAIT_S,
        "connect_args": connect_args,
    }


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    # The write-ahead log lets readers go on while one writes; FULL makes every commit wait for
    # the disk, so that an acknowledged event survives a loss of power.
    connection.execute("PRAGMA journal_mode=WAL").close()
    connection.execute("PRAGMA synchronous=FULL").close()


def _leave_begin_to_us(connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None


def _begin_immediate(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once, without waiting, when another
    # one wrote in between. Taking the write lock at the start waits for its turn instead.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
