"""Slates say which places that explored show what would be there without."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    op.add_column("slates", sa.Column("also_relevant", sa.String))
    op.add_column("slates", sa.Column("nothing_relevant", sa.String))
