"""Slates say how many items could be drawn."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("slates", sa.Column("num_fresh", sa.Integer))
