"""The manifest of a dataset directory: what an import read, kept, refused and wrote."""

from datetime import datetime
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from raysys.config import DEFAULT_DATASET_GROUP, ResourceName

FORMAT_VERSION = 1
MANIFEST_NAME = "manifest.json"


class SourceFile(BaseModel):
    """One file that the import read, in the order in which it was given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    num_bytes: int = Field(ge=0)
    sha256: str
    rows: int = Field(ge=0)


class WrittenFile(BaseModel):
    """Size and hash of one file of the dataset."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_bytes: int = Field(ge=0)
    sha256: str


class DatasetManifest(BaseModel):
    """The commit point of an import.

    Always rows_in = rows_accepted + rows_quarantined + rows_duplicate.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    import_id: str
    """The folder, beside the manifest, that holds the files."""
    created_at: datetime
    dataset_group: ResourceName = DEFAULT_DATASET_GROUP
    """What the dataset, its releases and their campaigns belong to."""
    sources: list[SourceFile]
    num_shards: int
    rows_in: int
    rows_accepted: int
    rows_quarantined: int
    rows_duplicate: int
    quarantined_by_reason: dict[str, int]
    notices: list[str]
    """What was done to the data beyond copying it, one sentence each."""
    num_users: int
    num_items: int
    first_occurred_at: datetime
    last_occurred_at: datetime
    files: dict[str, WrittenFile]
    """By path relative to the manifest."""
    items_file: str | None = None
    users_file: str | None = None

    def shard_names(self) -> list[str]:
        """Return the relative paths of the interaction shards, in shard order."""
        prefix = f"{self.import_id}/interactions/"
        return sorted(name for name in self.files if name.startswith(prefix))


def manifest_path(dataset: Path) -> Path:
    """Return where a dataset directory's manifest lies."""
    return dataset / MANIFEST_NAME
