"""Events and the states of their users."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

new_tables = ("schema_version", "events", "user_states")


def upgrade() -> None:
    op.create_table("schema_version", sa.Column("version", sa.Integer, primary_key=True))
    op.create_table(
        "events",
        sa.Column(
            "event_num", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
        ),
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("identity", sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("session_id", sa.String, nullable=False),
        sa.Column("item_id", sa.String),
        sa.Column("event_type", sa.String, nullable=False),
        sa.Column("occurred_at_us", sa.BigInteger, nullable=False),
        sa.Column("received_at_us", sa.BigInteger, nullable=False),
        sa.Column("event_id", sa.String),
        sa.Column("event_value", sa.Double),
        sa.Column("properties", sa.String),
        sa.Column("recommendation_id", sa.String),
        sa.Column("impression", sa.String),
        sa.UniqueConstraint("dataset_group", "identity", name="events_are_stored_once"),
    )
    op.create_table(
        "user_states",
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("user_id", sa.String, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("packed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("dataset_group", "user_id"),
    )
