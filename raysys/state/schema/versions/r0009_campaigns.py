"""What campaigns are to answer from, and what replicas hold."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

new_tables = ("campaign_versions", "replicas")


def upgrade() -> None:
    op.create_table(
        "campaign_versions",
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("application", sa.String, nullable=False),
        sa.Column("campaign", sa.String, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("asked", sa.String, nullable=False),
        sa.Column("plan", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("changed_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("dataset_group", "application", "campaign", "version"),
    )
    op.create_table(
        "replicas",
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("application", sa.String, nullable=False),
        sa.Column("replica", sa.String, nullable=False),
        sa.Column("report", sa.String, nullable=False),
        sa.PrimaryKeyConstraint("dataset_group", "application", "replica"),
    )
