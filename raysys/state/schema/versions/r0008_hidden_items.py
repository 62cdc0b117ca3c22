"""Items that an operator keeps from everybody."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

new_tables = ("hidden_items",)


def upgrade() -> None:
    op.create_table(
        "hidden_items",
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("item_id", sa.String, nullable=False),
        sa.Column("is_hidden", sa.Boolean, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("dataset_group", "item_id"),
    )
    op.create_index("hidden_items_by_version", "hidden_items", ["dataset_group", "version"])
