"""The number of the schema goes: the database has the name of its revision instead."""

from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    op.drop_table("schema_version")
