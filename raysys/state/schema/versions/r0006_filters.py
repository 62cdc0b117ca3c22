"""Named filters."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"

new_tables = ("filters",)


def upgrade() -> None:
    op.create_table(
        "filters",
        sa.Column(
            "filter_num", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True
        ),
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("arn", sa.String, nullable=False),
        sa.Column("expression", sa.String, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.UniqueConstraint("dataset_group", "name", name="filters_have_names_of_their_own"),
    )
