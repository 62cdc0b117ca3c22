"""Manifests of datasets that hold nothing, for tests of what a manifest is used for."""

from raysys.logs.manifest import FORMAT_VERSION, DatasetManifest


def empty_manifest(**told: object) -> DatasetManifest:
    """Return a manifest that counts nothing, but for what is told."""
    fields = {
        "format_version": FORMAT_VERSION,
        "import_id": "import-1",
        "created_at": "2024-01-01T00:00:00Z",
        "sources": [],
        "num_shards": 1,
        "rows_in": 0,
        "rows_accepted": 0,
        "rows_quarantined": 0,
        "rows_duplicate": 0,
        "quarantined_by_reason": {},
        "notices": [],
        "num_users": 0,
        "num_items": 0,
        "first_occurred_at": None,
        "last_occurred_at": None,
        "files": {},
    }
    return DatasetManifest.model_validate({**fields, **told})
