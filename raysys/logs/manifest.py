"""The manifest of a dataset directory: what its imports read, kept, refused and wrote."""

from datetime import datetime
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raysys import storage
from raysys.config import DEFAULT_DATASET_GROUP, ResourceName
from raysys.errors import DatasetError
from raysys.logs.impressions import Impressions

FORMAT_VERSION = 2
MANIFEST_NAME = "manifest.json"


class ImportMode(StrEnum):
    """What an import does to the dataset that is there: replace it, or add to it."""

    FULL = "FULL"
    INCREMENTAL = "INCREMENTAL"


class SourceFile(BaseModel):
    """One file that an import read, in the order in which it was given."""

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


class ShardSummary(BaseModel):
    """What one shard holds, so that an import need not read the shards that it leaves alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: int = Field(ge=0)
    num_users: int = Field(ge=0)
    first_occurred_at: datetime | None
    """None where there is no row."""
    last_occurred_at: datetime | None
    impressions: Impressions = Impressions()


class RowCounts(BaseModel):
    """What became of the rows that were read; each row is counted once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows_in: int = Field(ge=0)
    rows_accepted: int = Field(ge=0)
    rows_quarantined: int = Field(ge=0)
    rows_duplicate: int = Field(ge=0)
    rows_suppressed: int = Field(default=0, ge=0)
    """Of users who had been forgotten, from before they were."""

    @property
    def num_told(self) -> int:
        """Return how many rows the counts tell of; `rows_in`, unless a row was lost."""
        told = self.rows_accepted, self.rows_quarantined, self.rows_duplicate, self.rows_suppressed
        return sum(told)


class ImportRecord(RowCounts):
    """One import in the lineage of a dataset, as it was when it ended."""

    import_id: str
    mode: ImportMode
    created_at: datetime
    first_source: int = Field(ge=0)
    """The place of its first source in the manifest's `sources`."""
    num_sources: int = Field(ge=0)
    quarantined_by_reason: dict[str, int] = {}
    """Of its own rows."""


class EventsUpTo(BaseModel):
    """How far a dataset has what the database of a server holds of its dataset group."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    event_num: int = Field(default=0, ge=0)
    """Of the newest event that was there."""
    received_at_us: int | None = None
    """When that came, by the server's clock: another event of this number came at another time, as
    where the newest events were removed and their numbers given out again, or where the database is
    another one."""
    delta_version: int = Field(default=0, ge=0)
    """Of the items that clients put."""


class DatasetManifest(RowCounts):
    """The commit point of an import: the dataset is what its manifest names, and nothing else.

    Always rows_in = rows_accepted + rows_quarantined + rows_duplicate + rows_suppressed +
    rows_forgotten, over all imports since the last FULL one.
    """

    format_version: int
    import_id: str
    """Of the last import, or forgetting, that changed what the dataset holds."""
    created_at: datetime
    dataset_group: ResourceName = DEFAULT_DATASET_GROUP
    """What the dataset, its releases and their campaigns belong to."""
    imports: list[ImportRecord] = []
    """The lineage: the last FULL import, then what was added to it, oldest first."""
    sources: list[SourceFile]
    """Of all these imports. The column `source_file` of the interactions is a place in it."""
    num_shards: int
    rows_forgotten: int = Field(default=0, ge=0)
    """Accepted or quarantined rows that were taken out since, with the users they belong to."""
    quarantined_by_reason: dict[str, int]
    notices: list[str]
    """What the last import did to the data beyond copying it, one sentence each."""
    num_users: int
    num_items: int
    first_occurred_at: datetime | None
    """None where no row is left."""
    last_occurred_at: datetime | None
    shards: list[ShardSummary] = []
    """In the order of `shard_names`."""
    files: dict[str, WrittenFile]
    """By path relative to the manifest. They lie in the folders of the imports that wrote them."""
    items_file: str | None = None
    users_file: str | None = None
    schemas: dict[str, Any] = {}
    """By kind ("interactions", "users", "items"): the Avro schema that the columns follow."""
    declared_schemas: list[str] = []
    """The kinds whose schema a user wrote; the others say what was found."""
    impressions: Impressions = Impressions()
    """What the interactions tell of what was shown."""
    vocabulary: dict[str, str] = {}
    """By kind ("items", "users"): the file that numbers its ids."""
    tombstones_file: str | None = None
    """Who was forgotten and when; it outlives FULL imports, as the receipts do."""
    receipts: list[str] = []
    """One file for each forgetting, oldest first."""
    events: EventsUpTo = EventsUpTo()
    """What it has of a server's database (`raysys.logs.event_intake`)."""

    def shard_names(self) -> list[str]:
        """Return the relative paths of the interaction shards, in shard order."""
        return self._names_in("interactions")

    def quarantine_names(self) -> list[str]:
        """Return the relative paths of the quarantine's files, in the order of their sources."""
        return self._names_in("quarantine")

    def check_counts(self) -> None:
        """Raise DatasetError unless every row that was read is accounted for."""
        told = self.num_told + self.rows_forgotten
        lost = [record.import_id for record in self.imports if record.num_told != record.rows_in]
        if told != self.rows_in or lost or self._counts_of_imports() != self.rows_in:
            raise DatasetError(
                f"{self.rows_in:,} rows were read, but {self.rows_accepted:,} accepted, "
                f"{self.rows_quarantined:,} quarantined, {self.rows_duplicate:,} duplicate, "
                f"{self.rows_suppressed:,} suppressed and {self.rows_forgotten:,} forgotten rows "
                f"were counted. Nothing is published. Were the files written to during the "
                f"import? If not, this is a bug."
            )

    def _counts_of_imports(self) -> int:
        return sum(record.rows_in for record in self.imports) if self.imports else self.rows_in

    def _names_in(self, folder: str) -> list[str]:
        found = [name for name in self.files if PurePosixPath(name).parent.name == folder]
        return sorted(found, key=lambda name: PurePosixPath(name).name)


def manifest_path(dataset: Path) -> Path:
    """Return where a dataset directory's manifest lies."""
    return dataset / MANIFEST_NAME


def read_manifest(dataset: Path) -> DatasetManifest:
    """Return the manifest of a dataset directory.

    Raises:
        DatasetError: there is none, it is damaged, or another version of raysys wrote it.
    """
    path = manifest_path(dataset)
    try:
        value = storage.read_json(path)
    except FileNotFoundError as error:
        raise DatasetError(
            f"There is no dataset at {dataset}: it has no {path.name}. Make one with "
            f"`raysys import --interactions FILE --to {dataset}`."
        ) from error
    except (OSError, ValueError) as error:
        raise DatasetError(
            f"Dataset {dataset} is damaged: {path.name} cannot be read ({error}). "
            f"Import the log again."
        ) from error
    version = value.get("format_version") if isinstance(value, dict) else None
    if version != FORMAT_VERSION:
        raise DatasetError(
            f"Dataset {dataset} has format {version!r}, but this raysys reads {FORMAT_VERSION}. "
            f"Import the log again with this version."
        )
    try:
        return DatasetManifest.model_validate(value)
    except ValidationError as error:
        raise DatasetError(
            f"Dataset {dataset} is damaged: its {path.name} does not say what it must "
            f"({error}). Import the log again."
        ) from error
