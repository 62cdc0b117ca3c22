"""The reports of a source's pieces -> one report of the source.

Only now is it known how many rows come before each piece, so every number of a row moves up by as
many: in the runs when they are merged, in the quarantine as its files become one.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

from raysys.logs.parts import Runs
from raysys.logs.quarantine import join_quarantines
from raysys.logs.tasks import SourceReport


def join(reports: Sequence[SourceReport], quarantine: Path) -> SourceReport:
    """Return the report of a source, of which these tell each a piece, or one all.

    Args:
        quarantine: where the quarantine of several pieces is written as one file, if there is any.
    """
    pieces = sorted(reports, key=lambda report: report.piece)
    rows = [piece.source.rows for piece in pieces]
    offsets = list(accumulate(rows, initial=0))[:-1]
    first = pieces[0]
    found = [
        (piece.quarantine, offset)
        for piece, offset in zip(pieces, offsets, strict=True)
        if piece.quarantine is not None
    ]
    path, quoted = first.quarantine, first.first_quarantined
    if len(pieces) > 1 and found:
        written = join_quarantines(found, quarantine)
        path, quoted = written.path, written.first
    joined = SourceReport(
        first.source_file,
        first.source.model_copy(update={"rows": sum(rows)}),
        num_surrounded=sum(piece.num_surrounded for piece in pieces),
        rows_accepted=sum(piece.rows_accepted for piece in pieces),
        rows_suppressed=sum(piece.rows_suppressed for piece in pieces),
        quarantined=sum((piece.quarantined for piece in pieces), Counter()),
        quarantine=path,
        first_quarantined=quoted,
        runs=_moved([piece.runs for piece in pieces], offsets),
        event_runs=_moved([piece.event_runs for piece in pieces], offsets),
    )
    joined.notices = [*first.notices, *_notices(joined)]
    return joined


def _moved(runs_of_pieces: Sequence[Runs], offsets: Sequence[int]) -> Runs:
    moved: Runs = {}
    for runs, offset in zip(runs_of_pieces, offsets, strict=True):
        for shard, of_shard in runs.items():
            moved.setdefault(shard, []).extend(replace(run, row_offset=offset) for run in of_shard)
    return moved


def _notices(report: SourceReport) -> list[str]:
    name, notices = report.source.name, []
    if not report.source.rows:
        notices.append(f"{name} has a header and no rows.")
    if report.num_surrounded:
        notices.append(
            f"{name}: {report.num_surrounded:,} ids begin or end with white space; it was kept as "
            f"a part of them."
        )
    return notices
