"""What alembic runs to migrate: the connection and its transaction are the caller's.

See `raysys.state.migrations`.
"""

from alembic import context

from raysys.state.tables import metadata, schema_revision

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=schema_revision.name,
    # SQLite's too: the caller has begun it by a BEGIN of its own.
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
