"""How far a dataset has the events."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

new_tables = ("taken_over",)


def upgrade() -> None:
    op.create_table(
        "taken_over",
        sa.Column("dataset_group", sa.String, primary_key=True),
        sa.Column("event_num", sa.BigInteger, nullable=False),
    )
