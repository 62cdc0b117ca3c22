"""What an import tells Ray's metrics: see docs/serving.md, "Metrics"."""

from ray.util.metrics import Counter

from raysys.logs.manifest import DatasetManifest


def count_rows(manifest: DatasetManifest) -> None:
    """Count an import's rows. Ray sends the counts on its way out, however short the program."""
    rows = Counter("raysys_import_rows", "Rows of logs that were imported.", ("outcome",))
    counts = {
        "accepted": manifest.rows_accepted,
        "quarantined": manifest.rows_quarantined,
        "duplicate": manifest.rows_duplicate,
    }
    for outcome, count in counts.items():
        if count:
            rows.inc(count, {"outcome": outcome})
