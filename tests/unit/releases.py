"""Releases of tests: their manifest says what a test is about, and something plain besides."""

from raysys.release import Release, ReleaseDraft


def published(draft: ReleaseDraft, **said: object) -> Release:
    """Publish what was written into a draft; `said` are fields of its manifest."""
    plain: dict[str, object] = {
        "recipe": "r",
        "model_kind": "gru",
        "embedding_dim": 16,
        "history_length": 8,
        "vocabulary": "v",
        "num_items": 1,
        "num_users": 1,
        "num_partitions": 2,
        "index_factory": "Flat",
        "watermark": None,
        "metrics": {},
        "lineage": {},
    }
    return draft.publish(**{**plain, **said})  # type: ignore[arg-type]
