"""Sessions join the users that they turn out to be; whoever is a user joins nobody."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    op.add_column("user_states", sa.Column("joined_to", sa.String))
    op.add_column("user_states", sa.Column("shared_at_us", sa.BigInteger))
    op.execute(
        "UPDATE user_states SET joined_to = user_id WHERE properties IS NOT NULL"
        " OR (dataset_group, user_id) IN"
        " (SELECT dataset_group, user_id FROM events WHERE session_id <> user_id)"
    )
    op.create_index(
        "sessions_by_user",
        "user_states",
        ["dataset_group", "joined_to"],
        sqlite_where=sa.text("joined_to <> user_id"),
        postgresql_where=sa.text("joined_to <> user_id"),
    )
