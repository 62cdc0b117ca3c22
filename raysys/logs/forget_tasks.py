"""What one task of a forgetting does: one file of a dataset, without the rows of some users."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from raysys.logs.catalogue_merge import FinishedTable, finish_table
from raysys.logs.header import USER_ID
from raysys.logs.quarantine import Filtered, filter_quarantine
from raysys.logs.shard_file import ShardFile
from raysys.logs.shards import ShardReport, report_on
from raysys.logs.tombstones import Tombstones
from raysys.parquet_file import read_batches, read_schema

_BATCH_ROWS = 16 << 10


@dataclass(frozen=True, slots=True)
class ForgottenInShard:
    """What became of a shard; without a file, nothing of them was in it."""

    shard: int
    num_rows: int = 0
    users: set[bytes] = field(default_factory=set)
    latest_us: dict[bytes, int] = field(default_factory=dict)
    """By digest, when the user's latest interaction was."""
    written: ShardReport | None = None


def forget_in_shard(
    path: Path, number: int, forgotten: Tombstones, target: Path
) -> ForgottenInShard:
    """Write a shard to `target` without the rows of these users, if there are any in it.

    Memory: a batch of rows.
    """
    users = forgotten.found_in(path)
    if not users:
        return ForgottenInShard(number)
    num_rows, latest_us = 0, dict.fromkeys(users, 0)
    with ShardFile(target, read_schema(path)) as written:
        for rows in read_batches(path, batch_rows=_BATCH_ROWS):
            named = pa.array(forgotten.name(rows.column("user_id")))
            out = rows.filter(named).select(["user_id", "occurred_at"])
            num_rows += out.num_rows
            latest = out.group_by("user_id").aggregate([("occurred_at", "max")])
            times = latest.column("occurred_at_max").cast(pa.int64()).to_pylist()
            for user_id, time in zip(latest.column("user_id").to_pylist(), times, strict=True):
                digest = forgotten.digest(user_id)
                latest_us[digest] = max(latest_us[digest], time)
            written.write(rows.filter(pc.invert(named)) if out.num_rows else rows)
    return ForgottenInShard(number, num_rows, users, latest_us, report_on(number, written, 0))


@dataclass(frozen=True, slots=True)
class ForgottenInQuarantine:
    """What became of a file of quarantine; `name` is that in the manifest."""

    name: str
    filtered: Filtered


@dataclass(frozen=True, slots=True)
class ForgetInShard:
    """Of a shard. `forgotten` names the file of their tombstones, here and below."""

    path: Path
    number: int
    forgotten: Path
    work: Path

    def run(self) -> Iterator[ForgottenInShard]:
        target = self.work / f"shard-{self.number:05d}-{uuid.uuid4().hex}"
        forgotten = Tombstones.open(self.forgotten)
        yield forget_in_shard(self.path, self.number, forgotten, target)


@dataclass(frozen=True, slots=True)
class ForgetInQuarantine:
    """Of a file of quarantine."""

    name: str
    path: Path
    forgotten: Path
    work: Path

    def run(self) -> Iterator[ForgottenInQuarantine]:
        target = self.work / f"quarantine-{uuid.uuid4().hex}"
        is_theirs = Tombstones.open(self.forgotten).quarantined
        yield ForgottenInQuarantine(self.name, filter_quarantine(self.path, target, is_theirs))


@dataclass(frozen=True, slots=True)
class ForgetInUsers:
    """Of the table of users."""

    path: Path
    forgotten: Path
    work: Path

    def run(self) -> Iterator[FinishedTable]:
        yield finish_table(self.path, USER_ID, self.work, base=None, forgotten=self.forgotten)
