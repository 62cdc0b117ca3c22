"""Items, their counts, and slates; events are found by the slate that they followed."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

new_tables = ("delta_versions", "items", "item_counts", "slates")


def upgrade() -> None:
    op.create_table(
        "delta_versions",
        sa.Column("dataset_group", sa.String, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "items",
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("item_id", sa.String, nullable=False),
        sa.Column("properties", sa.String),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("dataset_group", "item_id"),
    )
    op.create_index("items_by_version", "items", ["dataset_group", "version"])
    op.create_table(
        "item_counts",
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("item_id", sa.String, nullable=False),
        sa.Column("impressions", sa.BigInteger, nullable=False),
        sa.Column("clicks", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("dataset_group", "item_id"),
    )
    op.create_index("item_counts_by_version", "item_counts", ["dataset_group", "version"])
    op.create_table(
        "slates",
        sa.Column(
            "slate_num", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
        ),
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("recommendation_id", sa.String, nullable=False),
        sa.Column("user_id", sa.String),
        sa.Column("item_id", sa.String),
        sa.Column("shown_at_us", sa.BigInteger, nullable=False),
        sa.Column("release", sa.String, nullable=False),
        sa.Column("delta_version", sa.BigInteger, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("policy", sa.String, nullable=False),
        sa.Column("exploration_weight", sa.Double, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("item_ids", sa.String, nullable=False),
        sa.Column("propensities", sa.String, nullable=False),
        sa.Column("explored", sa.String, nullable=False),
        sa.Column("fresh_item_ids", sa.String, nullable=False),
        sa.Column("is_degraded", sa.Boolean, nullable=False),
        sa.UniqueConstraint("dataset_group", "recommendation_id", name="slates_are_stored_once"),
    )
    op.create_index(
        "events_by_recommendation",
        "events",
        ["dataset_group", "recommendation_id"],
        sqlite_where=sa.text("recommendation_id IS NOT NULL"),
        postgresql_where=sa.text("recommendation_id IS NOT NULL"),
    )
