"""A release that holds nothing but what gives new items their vectors."""

from datetime import UTC, datetime
from pathlib import Path

from raysys.index.cold_start import ColdStart
from raysys.index.new_items import ItemTower
from raysys.release import Release, publishing
from tests.unit.releases import published


def publish(releases: Path, source: ColdStart | ItemTower, *, embedding_dim: int = 16) -> Release:
    with publishing(releases) as draft:
        source.save(draft.path)
        return published(
            draft, embedding_dim=embedding_dim, watermark=datetime(2026, 1, 1, tzinfo=UTC)
        )
