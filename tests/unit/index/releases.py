"""A release that holds nothing but what gives new items their vectors."""

from datetime import UTC, datetime
from pathlib import Path

from raysys.index.cold_start import ColdStart
from raysys.index.new_items import ItemTower
from raysys.release import Release, publishing


def publish(releases: Path, source: ColdStart | ItemTower, *, embedding_dim: int = 16) -> Release:
    with publishing(releases) as draft:
        source.save(draft.path)
        return draft.publish(
            recipe="r",
            model_kind="gru",
            embedding_dim=embedding_dim,
            history_length=8,
            vocabulary="hash",
            num_items=9,
            num_users=1,
            num_partitions=2,
            index_factory="Flat",
            watermark=datetime(2026, 1, 1, tzinfo=UTC),
            metrics={},
            lineage={},
        )
