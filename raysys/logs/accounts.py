"""What became of every row of an import, told from the reports of its tasks."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from raysys.errors import NothingUsableError
from raysys.logs.destination import Destination
from raysys.logs.manifest import DatasetManifest, ImportRecord, RowCounts
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
    )


def totals(base: DatasetManifest | None, record: ImportRecord) -> dict[str, int]:
    """Return the counts of all imports since the last FULL one."""
    return {
        name: getattr(record, name) + (0 if base is None else getattr(base, name))
        for name in RowCounts.model_fields
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
            f"{names}{more}: there is a header, but no row below it. Nothing was written."
        )
    reasons: Counter[Any] = sum((report.quarantined for report in sources), Counter())
    counts = [f"{count:,} {reason}" for reason, count in reasons.most_common()]
    counts += [f"{suppressed:,} of forgotten users"] if suppressed else []
    quoted = [str(row) for report in sources for row in report.first_quarantined][:_QUOTED_ROWS]
    raise NothingUsableError(
        f"{names}{more}: none of {rows_in:,} rows can be used ({', '.join(counts)}), so nothing "
        f"was written. The first of them:\n  " + "\n  ".join(quoted)
    )
