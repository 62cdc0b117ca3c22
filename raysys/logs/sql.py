"""A query to a database as a source: its result is fetched into a Parquet file, streaming.

`ray.data.read_sql` holds a whole result in memory (it calls `fetchall`) and types every block by
itself. Here a task asks for some thousand rows at a time, from a cursor that stays on the server
where the driver has such, so memory is that of a batch, whatever the size of the result. The rows
keep the order of the query.

Passwords stay out of everything that is written: names hold neither user nor password, and what a
driver says is searched for them.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from raysys import storage
from raysys.errors import SourceError
from raysys.logs.database_values import column_of
from raysys.logs.drivers import read_any_text, read_any_time
from raysys.logs.formats import PARQUET
from raysys.logs.growing_parquet import GrowingParquet
from raysys.logs.queries import SqlQuery
from raysys.logs.source import Source, local_source

PASSWORD_VARIABLE = "RAYSYS_SQL_PASSWORD"
BATCH_ROWS = 20_000
_SHOWN_OF_A_QUERY = 200
_CONNECT_TIMEOUT_S = 10


def sql_query(url: str, query: str) -> SqlQuery:
    """Return a query to the database of a SQLAlchemy URL.

    The password is that of the URL, else of the environment (`RAYSYS_SQL_PASSWORD`), else whatever
    the driver finds by itself.

    Raises:
        SourceError: it is no URL, or names an SQLite file that is not there.
    """
    try:
        parsed = make_url(storage.absolute_database(url))
    except (ArgumentError, ValueError):  # what they say may hold the password
        raise SourceError(
            "The database must be given as a URL, such as postgresql://user@host/name or "
            "sqlite:///file.db, and what was given is none."
        ) from None
    if parsed.drivername == "postgresql":
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.password is None and (password := os.environ.get(PASSWORD_VARIABLE)):
        parsed = parsed.set(password=password)
    _check_sqlite(parsed)
    one_line = " ".join(query.split())
    if len(one_line) > _SHOWN_OF_A_QUERY:
        one_line = f"{one_line[:_SHOWN_OF_A_QUERY]}..."
    return SqlQuery(
        f"{_shown(parsed)}: {one_line}", parsed.render_as_string(hide_password=False), query
    )


def fetch_query(
    query: SqlQuery,
    target: Path,
    check: Callable[[pa.Schema, str], object],
    *,
    most_rows: int | None = None,
) -> Iterator[int | Source]:
    """Write the result of a query to a Parquet file; yield how many rows are there, then a source.

    Args:
        target: the file to write; its name ends with .parquet.
        check: given names and types of the first rows, and the query's name; it raises SourceError
            where the result cannot be used, before the rest is fetched.
        most_rows: no more than these, the first ones, are fetched; None: all.

    Raises:
        SourceError: the database cannot be reached, or refuses the query.
    """
    rows = 0
    with GrowingParquet(target) as writer:
        for names, batch in _batches(query):
            batch = batch if most_rows is None else batch[: most_rows - rows]
            table = pa.table([column_of(values) for values in _columns(batch, names)], names)
            if rows == 0:
                check(table.schema, query.name)
            writer.write(table)
            rows += table.num_rows
            yield rows
            if rows == most_rows:
                break
    yield local_source(target, query.name, {".parquet": PARQUET})


def _batches(query: SqlQuery) -> Iterator[tuple[list[str], Sequence[Sequence[Any]]]]:
    """Yield the names and the next rows of the result; at least once, where there are none too."""
    url = make_url(query.url)
    engine = _engine(url, query.name)
    try:
        with engine.connect() as connection:
            found = _reading(connection).exec_driver_sql(query.query)
            if not found.returns_rows:
                raise SourceError(f"{query.name} returns no rows. Give a query, such as a SELECT.")
            names = _checked_names(list(found.keys()), query.name)
            batch = found.fetchmany(BATCH_ROWS)
            yield names, batch
            while batch := found.fetchmany(BATCH_ROWS):
                yield names, batch
    except SQLAlchemyError as error:
        raise SourceError(_explain(error, query, url)) from None  # the cause may hold the password
    finally:
        engine.dispose()


def _engine(url: URL, name: str) -> Engine:
    try:
        has_timeout = url.get_driver_name() in ("psycopg", "psycopg2", "pymysql", "mysqldb")
        arguments = {"connect_timeout": _CONNECT_TIMEOUT_S} if has_timeout else {}
        engine = create_engine(url, connect_args=arguments)
    except (ImportError, NoSuchModuleError) as error:
        raise SourceError(
            f"The database of {name} needs a driver that is not installed ({error}). Install it on "
            f"every node: `pip install 'raysys[postgresql]'` for postgresql://, `pip install "
            f"pymysql` for mysql+pymysql://."
        ) from error
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", read_any_text)
    elif url.get_driver_name() == "psycopg":
        event.listen(engine, "connect", read_any_time)
    return engine


def _reading(connection: Connection) -> Connection:
    """Return the connection set up to stream, to take a query as it stands, and to change nothing.

    Without parameters, `%` and `:` in a query mean themselves.
    """
    options: dict[str, Any] = {"stream_results": True, "no_parameters": True}
    backend = connection.dialect.name
    if backend == "postgresql":
        options["postgresql_readonly"] = True
    connection = connection.execution_options(**options)
    if backend == "sqlite":
        connection.exec_driver_sql("PRAGMA query_only = ON")
    return connection


def _columns(batch: Sequence[Sequence[Any]], names: Sequence[str]) -> list[Sequence[Any]]:
    return list(zip(*batch, strict=True)) if batch else [()] * len(names)


def _checked_names(names: list[str], name: str) -> list[str]:
    repeated = sorted({one for one in names if names.count(one) > 1})
    if repeated:
        raise SourceError(
            f"{name} returns the column {repeated[0]!r} {names.count(repeated[0])} times. Name the "
            f"columns that you need, and give them different names with AS."
        )
    return names


def _check_sqlite(url: URL) -> None:
    if url.get_backend_name() != "sqlite":
        return
    if not url.database or url.database == ":memory:":
        raise SourceError(f"{_shown(url)} lies in memory, so it is empty. Name a file.")
    if not url.database.startswith("file:") and not Path(url.database).is_file():
        raise SourceError(f"{_shown(url)}: there is no file {url.database}. Check the path.")


def _shown(url: URL) -> str:
    """Return a URL without user, password and options, which may hold a password too."""
    shown = URL.create(url.get_backend_name(), host=url.host, port=url.port, database=url.database)
    return shown.render_as_string()


def _explain(error: SQLAlchemyError, query: SqlQuery, url: URL) -> str:
    cause = str(error.orig if isinstance(error, DBAPIError) else error).strip()
    secrets = [url.password, *(str(value) for key, value in url.query.items() if "pass" in key)]
    for secret in secrets:
        if secret:
            cause = cause.replace(secret, "***")
    return f"{query.name} could not be fetched: {cause}"
