"""Dataset groups say how often their counted items were shown and clicked, all of them together."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    for name in ("impressions", "clicks"):
        counts = sa.Column(name, sa.BigInteger, nullable=False, server_default="0")
        op.add_column("delta_versions", counts)
        op.execute(
            f"UPDATE delta_versions SET {name} = coalesce((SELECT sum(item_counts.{name}) "
            f"FROM item_counts WHERE item_counts.dataset_group = delta_versions.dataset_group), 0)"
        )
