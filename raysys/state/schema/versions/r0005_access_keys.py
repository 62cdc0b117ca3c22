"""The keys of those who may ask."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

new_tables = ("access_keys", "access_key_versions")


def upgrade() -> None:
    op.create_table(
        "access_keys",
        sa.Column("key_id", sa.String, primary_key=True),
        sa.Column("dataset_group", sa.String, nullable=False),
        sa.Column("kind", sa.String, nullable=False),
        sa.Column("proof", sa.LargeBinary, nullable=False),
        sa.Column("scopes", sa.String, nullable=False),
        sa.Column("campaign", sa.String),
        sa.Column("label", sa.String, nullable=False),
        sa.Column("created_at_us", sa.BigInteger, nullable=False),
        sa.Column("expires_at_us", sa.BigInteger),
        sa.Column("revoked_at_us", sa.BigInteger),
    )
    op.create_index("access_keys_by_dataset_group", "access_keys", ["dataset_group"])
    op.create_table(
        "access_key_versions",
        sa.Column("dataset_group", sa.String, primary_key=True),
        sa.Column("version", sa.BigInteger, nullable=False),
    )
