"""Takes users out of a dataset: their interactions, what of them is in quarantine, and their row in
the table of users. Files that hold nothing of them stay as they are.

What is left is the dataset as if they had never been in the log, a tombstone for each of them, so
that old files do not bring them back, and a receipt. Nothing that is left holds their ids.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath

import numpy as np
from pydantic import BaseModel, ConfigDict

from raysys import storage
from raysys.errors import ConfigError, DatasetError
from raysys.hashing import stable_hashes
from raysys.logs.accounts import summed_up
from raysys.logs.call import Call, RunCalls
from raysys.logs.catalogue_merge import FinishedTable
from raysys.logs.destination import Destination, NextFiles
from raysys.logs.forget_tasks import (
    ForgetInQuarantine,
    ForgetInShard,
    ForgetInUsers,
    ForgottenInQuarantine,
    ForgottenInShard,
)
from raysys.logs.manifest import DatasetManifest, ImportMode, ShardSummary
from raysys.logs.numbering import write_without
from raysys.logs.publish import WORK, new_import_id, publish_import, staging_beside
from raysys.logs.quarantine import Filtered
from raysys.logs.tombstones import Tombstones


class Receipt(BaseModel):
    """What a forgetting did. It names nobody: whoever holds an id and the dataset's tombstones can
    tell whether it is one of `users`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    forgotten_at: datetime
    import_id: str
    """Of the dataset's state without them."""
    users: list[str]
    """Keyed hashes of the ids that were given, in hexadecimal digits."""
    num_users_found: int
    """Those who had interactions."""
    rows: dict[str, int]
    """Rows that were taken out, of "interactions", "quarantine" and "users"."""
    shards_rewritten: list[str]
    releases_checked: list[str]
    releases_with_them: list[str]
    """Releases that still hold some of them, or that could not be read."""
    database_rows: dict[str, int] | None = None
    """Rows that were removed from the tables of the database that is served with; None: none was
    named."""


def forget_users(
    dataset: Path,
    user_ids: Collection[str],
    *,
    dataset_group: str,
    run: RunCalls,
    releases: Mapping[str, bool] | None = None,
    database_rows: Mapping[str, int] | None = None,
    now: datetime | None = None,
) -> tuple[DatasetManifest, Receipt]:
    """Take users out of a dataset, for good.

    Rows up to now are suppressed when they are imported again, and, should some of theirs lie in
    the future, up to the latest of those. Later ones are those of a new user.

    Args:
        user_ids: as they stand in the log. Some may be unknown: they get a tombstone all the same.
        releases: by the name of each release that was looked at, whether it holds some of them.
        database_rows: what was removed from the database before, for the receipt.
        now: when they are forgotten.

    Returns:
        The dataset's new manifest, and the receipt, which is the last of its `receipts`.

    Raises:
        ConfigError: no id was given.
        DatasetError: there is no such dataset of this group, or it was changed meanwhile.
    """
    if not user_ids:
        raise ConfigError("Nobody was named, so nobody was forgotten. Give at least one user id.")
    into = Destination.open(dataset, dataset_group, ImportMode.INCREMENTAL)
    if into.base is None:
        raise DatasetError(f"There is no dataset at {dataset}, so there is nobody to forget in it.")
    now = now or datetime.now(UTC)
    known = Tombstones.none() if into.tombstones is None else Tombstones.open(into.tombstones)
    forgotten = known.of(user_ids, round(now.timestamp() * 1e6))
    with into.watched(), staging_beside(into.path) as staging:
        forgetting = _Forgetting(into.base, into, staging, forgotten)
        for report in run(forgetting.calls(user_ids)):
            forgetting.add(report)
        manifest, receipt = forgetting.finish(user_ids, releases or {}, database_rows, now)
        publish_import(staging, into.path, manifest, into.base, replaces=False)
    return manifest, receipt


class _Forgetting:
    """The tasks that take users out, and what becomes of the dataset by their reports."""

    def __init__(
        self, base: DatasetManifest, into: Destination, staging: Path, forgotten: Tombstones
    ) -> None:
        self.work = staging / WORK
        self.work.mkdir()
        self._base = base
        self._into = into
        self._import_id = new_import_id()
        self._files = NextFiles(staging, self._import_id, into.kept_files())
        self._forgotten = forgotten
        self._shards: dict[int, ForgottenInShard] = {}
        self._quarantines: dict[str, Filtered] = {}
        self._users_table: FinishedTable | None = None

    def calls(self, user_ids: Collection[str]) -> list[Call]:
        """Return what is to be run: a task for each file that may hold something of them."""
        base, path = self._base, self.work / "forgotten"
        self._forgotten.save(path)
        hashes = stable_hashes(user_ids) % np.uint64(base.num_shards)
        names = base.shard_names()
        calls: list[Call] = [
            ForgetInShard(self._into.path / names[number], number, path, self.work)
            for number in np.unique(hashes).tolist()
        ]
        calls += [
            ForgetInQuarantine(name, self._into.path / name, path, self.work)
            for name in base.quarantine_names()
        ]
        if base.users_file is not None:
            calls.append(ForgetInUsers(self._into.path / base.users_file, path, self.work))
        return calls

    def add(self, report: object) -> None:
        """Take a report."""
        if isinstance(report, ForgottenInShard):
            self._shards[report.shard] = report
        elif isinstance(report, FinishedTable):
            self._users_table = report
        elif isinstance(report, ForgottenInQuarantine):
            self._quarantines[report.name] = report.filtered

    def finish(
        self,
        user_ids: Collection[str],
        releases: Mapping[str, bool],
        database_rows: Mapping[str, int] | None,
        now: datetime,
    ) -> tuple[DatasetManifest, Receipt]:
        """Lay out the new folder; return the manifest of what is left, and the receipt."""
        base = self._base
        shards = [self._place_shard(number) for number in range(base.num_shards)]
        left_out = self._place_quarantine()
        rows = {
            "interactions": sum(report.num_rows for report in self._shards.values()),
            "quarantine": left_out.total(),
            "users": 0 if self._users_table is None else self._users_table.num_forgotten,
        }
        found: set[bytes] = set().union(*(report.users for report in self._shards.values()))
        receipt = Receipt(
            forgotten_at=now,
            import_id=self._import_id,
            users=sorted(digest.hex() for digest in self._forgotten.forgotten_at_us),
            num_users_found=len(found),
            rows=rows,
            shards_rewritten=[
                base.shard_names()[number].partition("/")[2]
                for number, report in sorted(self._shards.items())
                if report.written is not None
            ],
            releases_checked=sorted(releases),
            releases_with_them=sorted(name for name, has_them in releases.items() if has_them),
            database_rows=None if database_rows is None else dict(database_rows),
        )
        manifest = base.model_copy(
            update={
                "import_id": self._import_id,
                "created_at": now,
                "rows_accepted": base.rows_accepted - rows["interactions"],
                "rows_quarantined": base.rows_quarantined - rows["quarantine"],
                "rows_forgotten": base.rows_forgotten + rows["interactions"] + rows["quarantine"],
                "quarantined_by_reason": dict(Counter(base.quarantined_by_reason) - left_out),
                "users_file": self._place_users_table(),
                "vocabulary": self._place_vocabulary(user_ids if found else ()),
                "tombstones_file": self._place_tombstones(),
                "receipts": [*base.receipts, self._place_receipt(receipt)],
                "files": self._files.written,
                **summed_up(shards),
            }
        )
        manifest.check_counts()
        storage.remove_tree(self.work)
        return manifest, receipt

    def _place_shard(self, number: int) -> ShardSummary:
        report = self._shards.get(number)
        if report is None or report.written is None:
            return self._base.shards[number]
        self._files.place(
            report.written.path,
            f"interactions/shard-{number:05d}.parquet",
            written=report.written.file,
            instead_of=self._base.shard_names()[number],
        )
        return report.written.summary()

    def _place_quarantine(self) -> Counter[str]:
        """Put files without their rows in; return how many rows were left out, by reason."""
        left_out: Counter[str] = Counter()
        for name, filtered in self._quarantines.items():
            left_out += filtered.left_out
            if filtered.left_out and filtered.path is None:
                self._files.drop(name)
            elif filtered.left_out and filtered.path is not None:
                place = f"quarantine/{PurePosixPath(name).name}"
                self._files.place(filtered.path, place, instead_of=name)
        return left_out

    def _place_users_table(self) -> str | None:
        table = self._users_table
        if table is None or table.path is None or not table.num_forgotten:
            return self._base.users_file
        return self._files.place(table.path, "users.parquet", instead_of=self._base.users_file)

    def _place_vocabulary(self, user_ids: Collection[str]) -> dict[str, str]:
        known = self._into.vocabulary("users")
        if known is None or not user_ids:
            return self._base.vocabulary
        path = write_without(known, user_ids, self.work)
        place = "vocabulary/users.arrow"
        name = self._files.place(path, place, instead_of=self._base.vocabulary["users"])
        return {**self._base.vocabulary, "users": name}

    def _place_tombstones(self) -> str:
        """Write the tombstones, old and new; each holds up to the user's latest interaction."""
        known = self._into.tombstones
        before = {} if known is None else Tombstones.open(known).forgotten_at_us
        tombstones = self._forgotten.merged(before)
        for report in self._shards.values():
            tombstones = tombstones.merged(report.latest_us)
        path = self.work / "tombstones"
        tombstones.save(path)
        old = self._base.tombstones_file
        return self._files.place(path, "tombstones.arrow", instead_of=old)

    def _place_receipt(self, receipt: Receipt) -> str:
        path = self.work / "receipt"
        storage.write_text(path, receipt.model_dump_json(indent=2) + "\n")
        return self._files.place(path, "receipt.json")
