"""Events say whether they are clicks; so far all were that name an item."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    is_click = sa.Column("is_click", sa.Boolean, nullable=False, server_default=sa.true())
    op.add_column("events", is_click)
    op.execute("UPDATE events SET is_click = FALSE WHERE item_id IS NULL")
