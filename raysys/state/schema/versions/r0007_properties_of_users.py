"""States say what clients put of their users; of nobody so far."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("user_states", sa.Column("properties", sa.String))
