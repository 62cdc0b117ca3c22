"""How an empty or older database becomes what this code expects, and which ones are refused.

Each change of a table is a revision of alembic in `schema/versions`: a file that says what it is,
what it follows, which tables it makes and how. To change a table, change `raysys.state.tables`, add
a revision, and let `HEAD` name it; a test compares the two. A revision stays as it is once it has
been released: it names its tables itself, since those of the code change later.
"""

import threading
from pathlib import Path

from sqlalchemy import Column, Connection, Integer, MetaData, Table, func, inspect, select, text
from sqlalchemy.exc import DBAPIError

from raysys.errors import StateError
from raysys.state.tables import metadata, schema_revision

HEAD = "0017"
"""The newest revision. Stands here so that a current database is known as such without alembic,
which takes 60 to 90 ms to import."""

_SCHEMA_LOCK = 7_291_987  # any constant: who makes tables in PostgreSQL holds this advisory lock

# Where raysys kept the number of the schema before: 1 to 11, which the revisions continue.
_schema_version = Table("schema_version", MetaData(), Column("version", Integer, primary_key=True))

_migrating = threading.Lock()  # alembic keeps its connection in a variable of the whole process


def is_current(connection: Connection) -> bool:
    """Return whether the database has the tables that this code expects; changes nothing.

    Outside of a transaction, since on PostgreSQL the question may spoil it.
    """
    try:
        return connection.execute(select(schema_revision.c.version_num)).scalar() == HEAD
    except DBAPIError:  # no such table, or worse: `prepare_schema` finds out
        return False


def prepare_schema(connection: Connection, database: str, *, must_exist: bool = False) -> None:
    """Create what is missing, inside the caller's write transaction: all of it or nothing.

    Args:
        database: how errors name the database.
        must_exist: refuse a database without raysys's tables instead of making them.

    Raises:
        StateError: a newer raysys made the tables, or another program did, or nobody.
    """
    if connection.dialect.name == "postgresql":
        # Two processes that create a table at once fail there, IF NOT EXISTS or not.
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
    found = _found_revision(connection)
    if found == HEAD:
        return
    present = set(inspect(connection).get_table_names())
    if found is None:
        if must_exist:
            raise StateError(
                f"The database {database} has no tables of raysys, so there is nothing to read. "
                f"Name the database that `raysys serve` was started with."
            )
        _refuse_strangers(present & set(metadata.tables), database)
        metadata.create_all(connection)
        connection.execute(schema_revision.insert().values(version_num=HEAD))
        return
    _upgrade(connection, database, found, present)


def _found_revision(connection: Connection) -> str | None:
    """Return the revision of the database; None: it has none of raysys's tables."""
    tables = inspect(connection)
    if tables.has_table(schema_revision.name):
        # None of them: somebody emptied the table, which is no revision of anybody's.
        return connection.execute(select(func.max(schema_revision.c.version_num))).scalar() or "?"
    if tables.has_table(_schema_version.name):
        number = connection.execute(select(func.max(_schema_version.c.version))).scalar()
        return "?" if number is None else f"{number:04}"
    return None


def _upgrade(connection: Connection, database: str, found: str, present: set[str]) -> None:
    # Here, since few processes ever need it.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config(attributes={"connection": connection})
    location = str(Path(__file__).parent / "schema")
    config.set_main_option("script_location", location.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    revisions = {
        revision.revision: revision.module
        for revision in ScriptDirectory.from_config(config).walk_revisions()
    }
    if found not in revisions:
        raise StateError(
            f"The database {database} has the schema revision {found}, this raysys knows those up "
            f"to {HEAD}, so it could misread or damage what is stored. Install the raysys that "
            f"last used it, or name another database."
        )
    for name, module in revisions.items():
        if name > found:
            _refuse_strangers(present & {*getattr(module, "new_tables", ())}, database)
    if connection.dialect.name == "postgresql":
        # A revision may read every event, which may take longer than a statement of serving may.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    if schema_revision.name not in present:
        schema_revision.create(connection)
        connection.execute(schema_revision.insert().values(version_num=found))
    with _migrating:
        command.upgrade(config, HEAD)


def _refuse_strangers(strangers: set[str], database: str) -> None:
    if strangers:
        raise StateError(
            f"The database {database} has a table {min(strangers)!r} that raysys did not make, "
            f"so its rows could be damaged. Name a database of raysys's own."
        )
