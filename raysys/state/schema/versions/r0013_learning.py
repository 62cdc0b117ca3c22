"""Who learns for an application, and what became of each round."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"

new_tables = ("learning_leases", "learning_rounds")


def upgrade() -> None:
    op.create_table(
        "learning_leases",
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("application", sa.String, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("dataset_group", "application"),
    )
    counting_key = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "learning_rounds",
        sa.Column("round_num", counting_key, primary_key=True),
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("application", sa.String, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("step", sa.String, nullable=False),
        sa.Column("mode", sa.String, nullable=False),
        sa.Column("release", sa.String, nullable=False),
        sa.Column("published", sa.String, nullable=False),
        sa.Column("import_id", sa.String, nullable=False),
        sa.Column("reason", sa.String, nullable=False),
        sa.Column("began_at_us", sa.BigInteger, nullable=False),
        sa.Column("ended_at_us", sa.BigInteger),
    )
    op.create_index(
        "learning_rounds_by_application",
        "learning_rounds",
        ["dataset_group", "application", "round_num"],
    )
