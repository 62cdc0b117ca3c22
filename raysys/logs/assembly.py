"""The reports of an import's tasks, put together: files in their places, counts that must agree."""

from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from raysys import storage
from raysys.config import DEFAULT_DATASET_GROUP
from raysys.errors import DatasetError
from raysys.logs import accounts
from raysys.logs.catalogue_merge import FinishedTable
from raysys.logs.destination import Destination, NextFiles
from raysys.logs.header import ITEM_ID, USER_ID
from raysys.logs.layout import Layout
from raysys.logs.manifest import DatasetManifest, EventsUpTo, ShardSummary
from raysys.logs.numbering import Wanted
from raysys.logs.publish import WORK, new_import_id
from raysys.logs.runs import Run
from raysys.logs.schema import Kind, Schema
from raysys.logs.schema_change import schema_in, told_in_manifest, widened
from raysys.logs.shard_ids import ID_COLUMNS, ShardIds
from raysys.logs.shards import ShardReport
from raysys.logs.tasks import CatalogueReport, QuarantineReport, SourceReport
from raysys.lookup import open_vocabulary

_TABLES = {ITEM_ID: "items", USER_ID: "users"}


class Assembly:
    """Collects reports; `finish` lays out the import's folder and returns the new manifest.

    Tasks write below `work`, which is gone when `finish` returns.
    """

    def __init__(
        self,
        staging: Path,
        layout: Layout,
        num_shards: int,
        into: Destination,
        dataset_group: str = DEFAULT_DATASET_GROUP,
        *,
        events: EventsUpTo | None = None,
    ) -> None:
        self.work = staging / WORK
        self.layout = layout
        self.schema = widened(layout.schema, into.base)
        self.num_shards = num_shards
        self.into = into
        self.repeated: list[dict[int, Run]] = []
        self.vocabularies: dict[str, Path] = {}
        self._base = into.base
        # Whether the shards have columns that those of the base lack; also without a base.
        known = schema_in(into.base, Kind.INTERACTIONS)
        self._is_widened = known is None or known.shard_schema() != self.schema.shard_schema()
        self._dataset_group = dataset_group
        self._events = into.events if events is None else events
        self._import_id = new_import_id()
        self._files = NextFiles(staging, self._import_id, into.kept_files())
        self._sources: dict[int, SourceReport] = {}
        self._catalogues: dict[str, CatalogueReport] = {}
        self._shards: dict[int, ShardReport] = {}
        self._ids: dict[int, ShardIds] = {}
        self.work.mkdir(exist_ok=True)

    def add(self, report: object) -> None:
        """Take a report; progress is passed over."""
        if isinstance(report, SourceReport):
            self._sources[report.source_file] = report
        elif isinstance(report, QuarantineReport):
            self._sources[report.source_file].leave_out(report.filtered)
        elif isinstance(report, CatalogueReport):
            self._catalogues[report.id_column] = report
        elif isinstance(report, FinishedTable):
            self._catalogues[report.id_column].finish(report)
        elif isinstance(report, ShardReport):
            self._shards[report.shard] = report
        elif isinstance(report, ShardIds):
            self._ids[report.shard] = report

    def runs(self, shard: int) -> list[Run]:
        """Return the runs of a shard, in log order."""
        return [run for one in self._in_order() for run in one.runs.get(shard, [])]

    def event_runs(self) -> list[list[Run]]:
        """Return the runs with event ids; rows of one event id are within one of the lists."""
        return [
            [run for one in self._in_order() for run in one.event_runs.get(place, [])]
            for place in range(self.num_shards)
        ]

    def shards_to_write(self) -> list[int]:
        """Return the shards that get rows or columns; without a base, all of them."""
        return [n for n in range(self.num_shards) if self._is_widened or self.runs(n)]

    def read_again(self) -> list[tuple[SourceReport, list[Path]]]:
        """Return whose quarantine may repeat that of an earlier source, and those files.

        That is one of the same name, or of the same bytes under another name.
        """
        known = [] if self._base is None else self._base.sources
        quarantines = self.into.quarantines()
        earlier = [(source, quarantines.get(number)) for number, source in enumerate(known)]
        found = []
        for report in self._in_order():
            new = report.source
            same = [
                path
                for old, path in earlier
                if path is not None and (old.name == new.name or old.sha256 == new.sha256)
            ]
            if same and report.quarantine is not None:
                found.append((report, same))
            earlier.append((new, None if report.quarantine is None else Path(report.quarantine)))
        return found

    def new_tables(self) -> dict[str, Path]:
        """Return the tables of items and users that the import brings, by their id column."""
        return {name: Path(one.path) for name, one in self._catalogues.items() if one.path}

    def next_shards(self) -> list[Path]:
        """Return the files of all shards, as they will be."""
        return [
            Path(self._shards[number].path) if kept is None else kept
            for number in range(self.num_shards)
            for kept in [None if self._is_written(number) else self.into.shard(number)]
        ]

    def wanted_vocabularies(self) -> dict[str, Wanted]:
        """Return what the vocabularies are to be made of, by kind; those of a base are gone on
        from, and stay where no shard changes.
        """
        written = [number for number in range(self.num_shards) if self._is_written(number)]
        shards = [self._ids[number].ids for number in written]
        known = {kind: self.into.vocabulary(kind) for kind in ID_COLUMNS}
        return {
            kind: Wanted([ids[kind] for ids in shards], known[kind])
            for kind in ID_COLUMNS
            if written or known[kind] is None
        }

    def check_usable(self) -> None:
        """Raise NothingUsableError, quoting rows, unless some row was accepted or need not be."""
        accounts.check_usable(self._in_order(), self._base)

    def finish(self) -> DatasetManifest:
        """Move every new file to its place, remove the rest, and return the manifest.

        Raises:
            DatasetError: the counts do not add up, so a row was lost or came twice.
        """
        shards = [self._place_shard(number) for number in range(self.num_shards)]
        quarantined = self._place_quarantine()
        num_items = self._count_items()
        fields = {
            "vocabulary": {kind: self._place_vocabulary(kind) for kind in ID_COLUMNS},
            "items_file": self._place_table(ITEM_ID),
            "users_file": self._place_table(USER_ID),
            **told_in_manifest(self._schemas(), self._base),
        }
        manifest = self._manifest(shards, quarantined, num_items=num_items, **fields)
        storage.remove_tree(self.work)
        return manifest

    def _manifest(
        self, shards: list[ShardSummary], quarantined: int, **fields: object
    ) -> DatasetManifest:
        sources = self._in_order()
        record = accounts.record_of(
            sources,
            list(self._shards.values()),
            self.into,
            import_id=self._import_id,
            ended_at=datetime.now(UTC),
            rows_now=sum(shard.rows for shard in shards),
            rows_quarantined=quarantined,
        )
        return accounts.next_manifest(
            self.into,
            record,
            sources,
            shards,
            self._files,
            dataset_group=self._dataset_group,
            num_shards=self.num_shards,
            events=self._events,
            notices=self._notices(),
            **fields,
        )

    def _in_order(self) -> list[SourceReport]:
        return [self._sources[number] for number in sorted(self._sources)]

    def _notices(self) -> list[str]:
        reports: list[SourceReport | CatalogueReport] = [
            *self._in_order(),
            *self._catalogues.values(),
        ]
        gone = [
            f"The table of {name} that was there is gone: everything was replaced, and none was "
            f"given. Name it again with --{name}, or add to a dataset with --mode incremental."
            for id_column, name in _TABLES.items()
            if id_column not in self._catalogues and self.into.is_leaving(id_column)
        ]
        told = [notice for report in reports for notice in report.notices]
        return accounts.shortened([*gone, *told])

    def _is_written(self, number: int) -> bool:
        """Say whether a shard differs from the base's: rows only come in, so a count tells."""
        if self._base is None or self._is_widened:
            return True
        report = self._shards.get(number)
        return report is not None and report.rows != self._base.shards[number].rows

    def _place_shard(self, number: int) -> ShardSummary:
        base = self._base
        if base is not None and not self._is_written(number):
            return base.shards[number]
        report = self._shards[number]
        self._files.place(
            report.path,
            f"interactions/shard-{number:05d}.parquet",
            written=report.file,
            instead_of=None if base is None else base.shard_names()[number],
        )
        return report.summary()

    def _place_quarantine(self) -> int:
        """Move the quarantine in; return how many rows its files hold."""
        rows = 0
        for report in self._in_order():
            if report.quarantine is not None:
                rows += pq.read_metadata(report.quarantine).num_rows
                place = f"quarantine/part-{report.source_file:05d}.parquet"
                self._files.place(report.quarantine, place)
        told = sum(report.quarantined.total() for report in self._in_order())
        if told != rows:
            raise DatasetError(
                f"{told:,} rows were put into quarantine, but {rows:,} are there. Nothing is "
                f"published. This is a bug."
            )
        return rows

    def _place_table(self, id_column: str) -> str | None:
        """Move a table of items or users in; return its name, or that of the one that stays."""
        report = self._catalogues.get(id_column)
        kept = self.into.table_name(id_column)
        if report is None or report.path is None:
            return kept
        return self._files.place(report.path, f"{_TABLES[id_column]}.parquet", instead_of=kept)

    def _schemas(self) -> list[tuple[Schema, bool]]:
        """Return the schemas of the tables that the import brings, and whether users wrote them."""
        found = [(self.schema, self.layout.is_declared)]
        for report in self._catalogues.values():
            found.append((widened(report.schema, self._base), report.is_declared))
        return found

    def _count_items(self) -> int:
        path = self.vocabularies.get("items", self.into.vocabulary("items"))
        return 0 if path is None else len(open_vocabulary(path)[0].texts)

    def _place_vocabulary(self, kind: str) -> str | None:
        kept = None if self._base is None else self._base.vocabulary.get(kind)
        path = self.vocabularies.get(kind)
        if path is None:
            return kept
        return self._files.place(path, f"vocabulary/{kind}.arrow", instead_of=kept)
