"""Who was forgotten."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

new_tables = ("tombstones", "tombstone_keys")


def upgrade() -> None:
    op.create_table(
        "tombstones",
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("forgotten_at_us", sa.BigInteger, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("dataset_group", "digest"),
    )
    op.create_table(
        "tombstone_keys",
        sa.Column("dataset_group", sa.String, primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
    )
