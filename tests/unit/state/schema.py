"""What the tables of a database lack, or have beyond what the code expects."""

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from raysys.state.tables import metadata, schema_revision


def differences(connection: Connection) -> list[Any]:
    """Return what alembic would write a migration for: nothing where the two agree."""
    options = {"version_table": schema_revision.name}
    return compare_metadata(MigrationContext.configure(connection, opts=options), metadata)
