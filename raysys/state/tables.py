"""The tables of the database, and how an empty or older one becomes what this code expects."""

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    func,
    inspect,
    select,
)

from raysys.errors import StateError

SCHEMA_VERSION = 1
"""Grows with every change of a table; a database remembers the one that it was made with."""

_SCHEMA_LOCK = 7_291_987  # any constant: who makes tables in PostgreSQL holds this advisory lock

metadata = MetaData()

schema_version = Table("schema_version", metadata, Column("version", Integer, primary_key=True))

# One row per event, in the order of arrival (event_num). Rows are never changed.
events = Table(
    "events",
    metadata,
    Column(
        "event_num", BigInteger().with_variant(Integer, "sqlite"), primary_key=True
    ),  # only an INTEGER key counts up by itself in SQLite; it holds 64 bits there
    Column("dataset_group", String, nullable=False),
    Column("identity", String, nullable=False),  # Event.identity(); sent twice is still one event
    Column("user_id", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("item_id", String),
    Column("event_type", String, nullable=False),
    Column("occurred_at_us", BigInteger, nullable=False),  # microseconds since 1970 UTC
    Column("received_at_us", BigInteger, nullable=False),  # the same, by the server's clock
    Column("event_id", String),
    Column("event_value", Double),
    Column("properties", String),  # JSON text
    Column("recommendation_id", String),
    Column("impression", String),  # JSON list of item ids
    UniqueConstraint("dataset_group", "identity", name="events_are_stored_once"),
)

# One row per user with an event that names an item.
user_states = Table(
    "user_states",
    metadata,
    Column("dataset_group", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("packed", LargeBinary, nullable=False),  # UserState.pack()
    PrimaryKeyConstraint("dataset_group", "user_id"),
)


def prepare_schema(connection: Connection, database: str) -> None:
    """Create what is missing, inside the caller's write transaction.

    Args:
        database: how errors name the database.

    Raises:
        StateError: a newer raysys made the tables, or another program did.
    """
    if connection.dialect.name == "postgresql":
        # Two processes that create a table at once fail there, IF NOT EXISTS or not.
        connection.execute(select(func.pg_advisory_xact_lock(_SCHEMA_LOCK)))
    present = set(inspect(connection).get_table_names())
    if schema_version.name not in present:
        strangers = present & {events.name, user_states.name}
        if strangers:
            raise StateError(
                f"The database {database} has a table {min(strangers)!r} that raysys did not make, "
                f"so its rows could be damaged. Name a database of raysys's own."
            )
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))
    found = connection.execute(select(func.max(schema_version.c.version))).scalar_one()
    if found != SCHEMA_VERSION:
        raise StateError(
            f"The database {database} has schema version {found}, this raysys knows "
            f"{SCHEMA_VERSION}, so it could misread or damage what is stored. Install the raysys "
            f"that last used it, or name another database."
        )
