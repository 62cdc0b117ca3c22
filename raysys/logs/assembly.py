"""The reports of an import's tasks, put together: files in their places, counts that must agree."""

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow.parquet as pq

from raysys import storage
from raysys.config import DEFAULT_DATASET_GROUP
from raysys.errors import DatasetError, NothingUsableError
from raysys.hashing import sha256_of_file
from raysys.logs.distinct import DistinctIds, distinct_ids
from raysys.logs.header import ITEM_ID
from raysys.logs.manifest import (
    FORMAT_VERSION,
    DatasetManifest,
    ImportMode,
    ImportRecord,
    ShardSummary,
    WrittenFile,
)
from raysys.logs.numbering import Wanted
from raysys.logs.publish import new_import_id
from raysys.logs.runs import Run
from raysys.logs.shards import ShardReport
from raysys.logs.tasks import CatalogueReport, SourceReport
from raysys.lookup import open_vocabulary

ID_COLUMNS = {"items": "item_id", "users": "user_id"}
"""By kind of vocabulary: the column of the interactions whose ids it numbers."""

_MAX_NOTICES = 100
_QUOTED_ROWS = 5
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


class Assembly:
    """Collects reports; `finish` lays out the import's folder and returns its manifest.

    Tasks write below `work`, which is gone when `finish` returns.
    """

    def __init__(
        self, staging: Path, num_shards: int, dataset_group: str = DEFAULT_DATASET_GROUP
    ) -> None:
        self.work = staging / "work"
        self.num_shards = num_shards
        self.repeated: list[dict[int, Run]] = []
        self.vocabularies: dict[str, Path] = {}
        self._staging = staging
        self._dataset_group = dataset_group
        self._import_id = new_import_id()
        self._sources: dict[int, SourceReport] = {}
        self._catalogues: list[CatalogueReport] = []
        self._shards: dict[int, ShardReport] = {}
        self._ids: dict[int, ShardIds] = {}
        self._files: dict[str, WrittenFile] = {}
        self.work.mkdir()

    def add(self, report: object) -> None:
        """Take a report; progress is passed over."""
        if isinstance(report, SourceReport):
            self._sources[report.source_file] = report
        elif isinstance(report, CatalogueReport):
            self._catalogues.append(report)
        elif isinstance(report, ShardReport):
            self._shards[report.shard] = report
        elif isinstance(report, ShardIds):
            self._ids[report.shard] = report

    def runs(self, shard: int) -> list[Run]:
        """Return the runs of a shard, in log order."""
        return [run for one in self._in_order() for run in one.runs.get(shard, [])]

    def event_runs(self) -> list[list[Run]]:
        """Return the runs with event ids; rows of one event id are within one of the lists."""
        found = [
            [run for one in self._in_order() for run in one.event_runs.get(place, [])]
            for place in range(self.num_shards)
        ]
        return [runs for runs in found if runs]

    def wanted_vocabularies(self) -> dict[str, Wanted]:
        """Return what the vocabularies are to be made of, by kind."""
        shards = [self._ids[shard].ids for shard in sorted(self._ids)]
        return {kind: Wanted([ids[kind] for ids in shards]) for kind in ID_COLUMNS}

    def check_usable(self) -> None:
        """Raise NothingUsableError, quoting rows, unless some row was accepted."""
        reports = self._in_order()
        if any(report.rows_accepted for report in reports):
            return
        names = ", ".join(report.source.name for report in reports[:3])
        more = f" and {len(reports) - 3} more files" if len(reports) > 3 else ""
        rows_in = sum(report.source.rows for report in reports)
        if not rows_in:
            raise NothingUsableError(
                f"{names}{more}: there is a header, but no row below it. Nothing was written."
            )
        by_reason = self._by_reason()
        counts = ", ".join(f"{count:,} {reason}" for reason, count in by_reason.most_common())
        quoted = [row for report in reports for row in report.first_quarantined][:_QUOTED_ROWS]
        raise NothingUsableError(
            f"{names}{more}: none of {rows_in:,} rows can be used ({counts}), so nothing was "
            f"written. The first of them:\n  " + "\n  ".join(quoted)
        )

    def finish(self) -> DatasetManifest:
        """Move every file to its place, remove the rest, and return the manifest.

        Raises:
            DatasetError: the counts do not add up, so a row was lost or came twice.
        """
        (self._staging / self._import_id / "interactions").mkdir(parents=True)
        shards = [self._shards[shard] for shard in range(self.num_shards)]
        for shard in shards:
            place = f"interactions/shard-{shard.shard:05d}.parquet"
            self._files[self._place(shard.path, place)] = shard.file
        quarantined = self._place_quarantine()
        tables = {one.id_column: self._place_catalogue(one) for one in self._catalogues}
        vocabulary = {kind: self._place_vocabulary(kind) for kind in self.vocabularies}
        manifest = self._manifest(shards, quarantined, tables, vocabulary)
        storage.remove_tree(self.work)
        return manifest

    def _manifest(
        self,
        shards: list[ShardReport],
        quarantined: int,
        tables: dict[str, str],
        vocabulary: dict[str, str],
    ) -> DatasetManifest:
        by_reason = self._by_reason()
        if by_reason.total() != quarantined:
            raise DatasetError(
                f"{by_reason.total():,} rows were to be quarantined, but {quarantined:,} were "
                f"written. Nothing is published. This is a bug."
            )
        now = datetime.now(UTC)
        sources = [report.source for report in self._in_order()]
        counts = {
            "rows_in": sum(source.rows for source in sources),
            "rows_accepted": sum(shard.rows for shard in shards),
            "rows_quarantined": quarantined,
            "rows_duplicate": sum(shard.duplicates for shard in shards),
        }
        record = ImportRecord(
            import_id=self._import_id,
            mode=ImportMode.FULL,
            created_at=now,
            first_source=0,
            num_sources=len(sources),
            **counts,
        )
        summaries = [_summary(shard) for shard in shards]
        first = [one.first_occurred_at for one in summaries if one.first_occurred_at is not None]
        last = [one.last_occurred_at for one in summaries if one.last_occurred_at is not None]
        manifest = DatasetManifest(
            format_version=FORMAT_VERSION,
            import_id=self._import_id,
            created_at=now,
            dataset_group=self._dataset_group,
            imports=[record],
            sources=sources,
            num_shards=self.num_shards,
            quarantined_by_reason=dict(sorted(by_reason.items())),
            notices=self._notices(),
            num_users=sum(shard.num_users for shard in shards),
            num_items=len(open_vocabulary(self._staging / vocabulary["items"])[0].texts),
            first_occurred_at=min(first, default=None),
            last_occurred_at=max(last, default=None),
            shards=summaries,
            files=self._files,
            items_file=tables.get(ITEM_ID),
            users_file=next((tables[one] for one in tables if one != ITEM_ID), None),
            vocabulary=vocabulary,
            **counts,
        )
        manifest.check_counts()
        return manifest

    def _in_order(self) -> list[SourceReport]:
        return [self._sources[number] for number in sorted(self._sources)]

    def _by_reason(self) -> Counter[str]:
        return sum((report.quarantined for report in self._sources.values()), Counter())

    def _notices(self) -> list[str]:
        reports: list[SourceReport | CatalogueReport] = [*self._in_order(), *self._catalogues]
        notices = list(dict.fromkeys(notice for report in reports for notice in report.notices))
        if len(notices) > _MAX_NOTICES:
            more = f"and {len(notices) - _MAX_NOTICES:,} more notices of this kind."
            notices = [*notices[:_MAX_NOTICES], more]
        return notices

    def _place_quarantine(self) -> int:
        """Move the quarantine in; return how many rows its files hold."""
        rows = 0
        for report in self._in_order():
            if report.quarantine is not None:
                rows += pq.read_metadata(report.quarantine).num_rows
                place = f"quarantine/part-{report.source_file:05d}.parquet"
                self._hash(self._place(report.quarantine, place))
        return rows

    def _place_catalogue(self, report: CatalogueReport) -> str:
        name = "items.parquet" if report.id_column == ITEM_ID else "users.parquet"
        return self._hash(self._place(report.path, name))

    def _place_vocabulary(self, kind: str) -> str:
        return self._hash(self._place(str(self.vocabularies[kind]), f"vocabulary/{kind}.arrow"))

    def _place(self, path: str, place: str) -> str:
        """Move a file into the import's folder; return its name in the manifest."""
        name = f"{self._import_id}/{place}"
        target = self._staging / name
        target.parent.mkdir(exist_ok=True)
        Path(path).rename(target)
        return name

    def _hash(self, name: str) -> str:
        path = self._staging / name
        self._files[name] = WrittenFile(num_bytes=path.stat().st_size, sha256=sha256_of_file(path))
        return name


def _summary(shard: ShardReport) -> ShardSummary:
    return ShardSummary(
        rows=shard.rows,
        num_users=shard.num_users,
        first_occurred_at=_time(shard.first_occurred_at_us),
        last_occurred_at=_time(shard.last_occurred_at_us),
    )


def _time(microseconds: int | None) -> datetime | None:
    return None if microseconds is None else _EPOCH + timedelta(microseconds=microseconds)
