"""How an empty or older database becomes what this code expects, and which ones are refused."""

from collections.abc import Callable
from itertools import groupby

import msgspec
from sqlalchemy import Connection, func, inspect, select, text, tuple_

from raysys.errors import StateError
from raysys.state.tables import (
    access_key_versions,
    access_keys,
    campaign_versions,
    delta_versions,
    events,
    events_by_recommendation,
    filters,
    hidden_items,
    item_counts,
    items,
    metadata,
    replicas,
    schema_version,
    slates,
    user_states,
)
from raysys.state.user_state import Interaction, UserState

SCHEMA_VERSION = 11
"""Grows with every change of a table; a database remembers the one that it was made with."""

_SCHEMA_LOCK = 7_291_987  # any constant: who makes tables in PostgreSQL holds this advisory lock


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
    present = set(inspect(connection).get_table_names())
    if schema_version.name not in present:
        if must_exist:
            raise StateError(
                f"The database {database} has no tables of raysys, so there is nothing to read. "
                f"Name the database that `raysys serve` was started with."
            )
        _refuse_strangers(present & set(metadata.tables), database)
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=SCHEMA_VERSION))
        return
    found = connection.execute(select(func.max(schema_version.c.version))).scalar_one()
    if found is None or not 1 <= found <= SCHEMA_VERSION:
        raise StateError(
            f"The database {database} has schema version {found}, this raysys knows "
            f"{SCHEMA_VERSION}, so it could misread or damage what is stored. Install the raysys "
            f"that last used it, or name another database."
        )
    for version in range(found, SCHEMA_VERSION):
        _MIGRATIONS[version](connection, database, present)
        connection.execute(schema_version.update().values(version=version + 1))


def _add_items_and_slates(connection: Connection, database: str, present: set[str]) -> None:
    """From 1 to 2: tables and an index are added, no row is touched."""
    new = [delta_versions, items, item_counts, slates]
    _refuse_strangers(present & {table.name for table in new}, database)
    if connection.dialect.name == "postgresql":
        # The index reads every event, which may take longer than a statement of serving may.
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    metadata.create_all(connection, tables=new)
    events_by_recommendation.create(connection)


def _add_types_and_values_to_states(
    connection: Connection, database: str, present: set[str]
) -> None:
    """From 2 to 3: states say of what type and value each interaction is, as the events do."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    found = connection.execute(
        select(*_OWNER, *(events.c[name] for name in Interaction.__struct_fields__))
        .where(events.c.item_id.is_not(None))
        .order_by(*_OWNER, events.c.event_num),
        execution_options={"stream_results": True, "yield_per": 1000},
    )
    for owner, rows in groupby(found, key=lambda row: (row.dataset_group, row.user_id)):
        is_owners = tuple_(*(user_states.c[column.name] for column in _OWNER)) == owner
        state = connection.execute(select(*_STATE_OF_VERSION_2).where(is_owners)).one()
        item_ids, _ = msgspec.msgpack.decode(state.packed)
        interactions = (
            Interaction(row.item_id, row.occurred_at_us, row.event_type, row.event_value)
            for row in rows
        )
        rebuilt = UserState(state.version).extended(interactions, len(item_ids))
        values = {"version": rebuilt.version, "packed": rebuilt.pack()}
        connection.execute(user_states.update().where(is_owners).values(values))


def _add_clicks_to_events(connection: Connection, database: str, present: set[str]) -> None:
    """From 3 to 4: events say whether they are clicks; so far all were that name an item."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("ALTER TABLE events ADD COLUMN is_click BOOLEAN DEFAULT TRUE NOT NULL"))
    connection.execute(events.update().where(events.c.item_id.is_(None)).values(is_click=False))


def _add_access_keys(connection: Connection, database: str, present: set[str]) -> None:
    """From 4 to 5: tables are added, no row is touched."""
    new = [access_keys, access_key_versions]
    _refuse_strangers(present & {table.name for table in new}, database)
    metadata.create_all(connection, tables=new)


def _add_filters(connection: Connection, database: str, present: set[str]) -> None:
    """From 5 to 6: a table is added."""
    _refuse_strangers(present & {filters.name}, database)
    metadata.create_all(connection, tables=[filters])


def _add_properties_to_states(connection: Connection, database: str, present: set[str]) -> None:
    """From 6 to 7: states say what clients put of their users; of nobody so far."""
    connection.execute(text("ALTER TABLE user_states ADD COLUMN properties VARCHAR"))


def _add_hidden_items(connection: Connection, database: str, present: set[str]) -> None:
    """From 7 to 8: a table is added."""
    _refuse_strangers(present & {hidden_items.name}, database)
    metadata.create_all(connection, tables=[hidden_items])


def _add_campaigns(connection: Connection, database: str, present: set[str]) -> None:
    """From 8 to 9: tables are added."""
    new = [campaign_versions, replicas]
    _refuse_strangers(present & {table.name for table in new}, database)
    metadata.create_all(connection, tables=new)


def _add_relevance_to_slates(connection: Connection, database: str, present: set[str]) -> None:
    """From 9 to 10: slates say which places that explored show what would be there without."""
    _add_to_slates(connection, also_relevant="VARCHAR", nothing_relevant="VARCHAR")


def _add_number_of_fresh_items(connection: Connection, database: str, present: set[str]) -> None:
    """From 10 to 11: slates say how many items could be drawn."""
    _add_to_slates(connection, num_fresh="INTEGER")


def _add_to_slates(connection: Connection, **columns: str) -> None:
    # A database of version 1 has had the table for a moment only, made as it is now.
    has = {column["name"] for column in inspect(connection).get_columns(slates.name)}
    for name, kind in columns.items():
        if name not in has:
            connection.execute(text(f"ALTER TABLE slates ADD COLUMN {name} {kind}"))


_OWNER = (events.c.dataset_group, events.c.user_id)
_STATE_OF_VERSION_2 = (user_states.c.version, user_states.c.packed)
_MIGRATIONS: dict[int, Callable[[Connection, str, set[str]], None]] = {
    1: _add_items_and_slates,
    2: _add_types_and_values_to_states,
    3: _add_clicks_to_events,
    4: _add_access_keys,
    5: _add_filters,
    6: _add_properties_to_states,
    7: _add_hidden_items,
    8: _add_campaigns,
    9: _add_relevance_to_slates,
    10: _add_number_of_fresh_items,
}
"""By the version that each starts from; each leads to the next one."""


def _refuse_strangers(strangers: set[str], database: str) -> None:
    if strangers:
        raise StateError(
            f"The database {database} has a table {min(strangers)!r} that raysys did not make, "
            f"so its rows could be damaged. Name a database of raysys's own."
        )
