"""What became of every row of an import, told from the reports of its tasks."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from raysys.errors import NothingUsableError
from raysys.logs.destination import Destination, NextFiles
from raysys.logs.impressions import total
from raysys.logs.manifest import (
    FORMAT_VERSION,
    DatasetManifest,
    ImportRecord,
    RowCounts,
    ShardSummary,
)
from raysys.logs.shards import ShardReport
from raysys.logs.tasks import SourceReport

_MAX_NOTICES = 100
_QUOTED_ROWS = 5


def record_of(
    sources: Sequence[SourceReport],
    shards: Sequence[ShardReport],
    into: Destination,
    *,
    import_id: str,
    ended_at: datetime,
    rows_now: int,
    rows_quarantined: int,
) -> ImportRecord:
    """Return the import's record.

    Args:
        sources, shards: what was read, and the shards that were written.
        rows_now: in the dataset's shards after the import.
        rows_quarantined: in the files of quarantine that the import leaves.
    """
    return ImportRecord(
        import_id=import_id,
        mode=into.mode,
        created_at=ended_at,
        first_source=into.first_source,
        num_sources=len(sources),
        rows_in=sum(report.source.rows for report in sources),
        rows_accepted=rows_now - (0 if into.base is None else into.base.rows_accepted),
        rows_quarantined=rows_quarantined,
        rows_duplicate=sum(report.rows_repeated for report in sources)
        + sum(shard.duplicates for shard in shards),
        rows_suppressed=sum(report.rows_suppressed for report in sources),
        quarantined_by_reason=by_reason(sources, None),
    )


def totals(base: DatasetManifest | None, record: ImportRecord) -> dict[str, int]:
    """Return the counts of all imports since the last FULL one."""
    return {
        name: getattr(record, name) + (0 if base is None else getattr(base, name))
        for name in RowCounts.model_fields
    }


def next_manifest(
    into: Destination,
    record: ImportRecord,
    sources: Sequence[SourceReport],
    shards: list[ShardSummary],
    files: NextFiles,
    **fields: object,
) -> DatasetManifest:
    """Return the manifest of a dataset after an import, all rows of which are accounted for.

    Where no file changes, it stays the dataset of the last import that changed one.

    Args:
        fields: of the manifest, those that do not follow from the rest.

    Raises:
        DatasetError: a row was lost, or came twice.
    """
    base, found = into.base, into.found
    is_same = base is not None and not files.is_changed
    state = base if base is not None and is_same else record
    manifest = DatasetManifest.model_validate(
        {
            "format_version": FORMAT_VERSION,
            "import_id": state.import_id,
            "created_at": state.created_at,
            "imports": [*(() if base is None else base.imports), record],
            "sources": [
                *(() if base is None else base.sources),
                *(report.source for report in sources),
            ],
            "rows_forgotten": 0 if base is None else base.rows_forgotten,
            "quarantined_by_reason": by_reason(sources, base),
            "files": files.written,
            "tombstones_file": None if found is None else found.tombstones_file,
            "receipts": [] if found is None else found.receipts,
            **summed_up(shards),
            **totals(base, record),
            **fields,
        }
    )
    manifest.check_counts()
    return manifest


def summed_up(shards: list[ShardSummary]) -> dict[str, object]:
    """Return the fields of a manifest that follow from the summaries of its shards."""
    firsts = [one.first_occurred_at for one in shards if one.first_occurred_at is not None]
    lasts = [one.last_occurred_at for one in shards if one.last_occurred_at is not None]
    return {
        "shards": shards,
        "num_users": sum(shard.num_users for shard in shards),
        "first_occurred_at": min(firsts, default=None),
        "last_occurred_at": max(lasts, default=None),
        "impressions": total(shard.impressions for shard in shards),
    }


def by_reason(sources: Sequence[SourceReport], base: DatasetManifest | None) -> dict[str, int]:
    """Return how many rows are in quarantine, by reason."""
    counts = sum((report.quarantined for report in sources), Counter())
    counts += Counter({} if base is None else base.quarantined_by_reason)
    return dict(sorted(counts.items()))


def shortened(notices: Sequence[str]) -> list[str]:
    """Return the distinct notices, but not more of them than anybody reads."""
    distinct = list(dict.fromkeys(notices))
    if len(distinct) > _MAX_NOTICES:
        more = f"and {len(distinct) - _MAX_NOTICES:,} more notices of this kind."
        distinct = [*distinct[:_MAX_NOTICES], more]
    return distinct


def check_usable(sources: Sequence[SourceReport], base: DatasetManifest | None) -> None:
    """Raise NothingUsableError, quoting rows, unless some row was accepted.

    To add nothing to a dataset is no error: a log without a row, or only with rows of forgotten
    users.
    """
    rows_in = sum(report.source.rows for report in sources)
    suppressed = sum(report.rows_suppressed for report in sources)
    adds_nothing = base is not None and (suppressed or not rows_in)
    if adds_nothing or any(report.rows_accepted for report in sources):
        return
    names = ", ".join(report.source.name for report in sources[:3])
    more = f" and {len(sources) - 3} more files" if len(sources) > 3 else ""
    if not rows_in:
        raise NothingUsableError(
            f"{names}{more}: there are columns, but there is no row. Nothing was written."
        )
    reasons: Counter[Any] = sum((report.quarantined for report in sources), Counter())
    counts = [f"{count:,} {reason}" for reason, count in reasons.most_common()]
    counts += [f"{suppressed:,} of forgotten users"] if suppressed else []
    quoted = [str(row) for report in sources for row in report.first_quarantined][:_QUOTED_ROWS]
    raise NothingUsableError(
        f"{names}{more}: none of {rows_in:,} rows can be used ({', '.join(counts)}), so nothing "
        f"was written. The first of them:\n  " + "\n  ".join(quoted)
    )
