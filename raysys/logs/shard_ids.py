"""Whom and what a shard tells of: the distinct ids that its vocabularies are made of."""

from dataclasses import dataclass
from pathlib import Path

from raysys.logs.distinct import DistinctIds, distinct_ids
from raysys.logs.shards import ShardReport

ID_COLUMNS = {"items": "item_id", "users": "user_id"}
"""By kind of vocabulary: the column of the interactions whose ids it numbers."""


@dataclass(frozen=True, slots=True)
class ShardIds:
    """The distinct ids of one shard, by kind."""

    shard: int
    ids: dict[str, DistinctIds]


def ids_of(report: ShardReport) -> ShardIds:
    """Write the distinct ids of a shard beside it."""
    path = Path(report.path)
    found = {
        kind: distinct_ids(path, column, path.with_name(f"{path.name}.{kind}"))
        for kind, column in ID_COLUMNS.items()
    }
    return ShardIds(report.shard, found)
