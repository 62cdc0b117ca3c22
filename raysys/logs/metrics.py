"""What an import tells Ray's metrics: see docs/serving.md, "Metrics"."""

from ray.util.metrics import Counter

from raysys.logs.manifest import ImportRecord


def count_rows(record: ImportRecord) -> None:
    """Count an import's rows. Ray sends the counts on its way out, however short the program."""
    rows = Counter("raysys_import_rows", "Rows of logs that were imported.", ("outcome",))
    counts = {
        "accepted": record.rows_accepted,
        "quarantined": record.rows_quarantined,
        "duplicate": record.rows_duplicate,
        "suppressed": record.rows_suppressed,
    }
    for outcome, count in counts.items():
        if count:
            rows.inc(count, {"outcome": outcome})
