"""The release: everything that a served answer depends on, as one directory with one manifest.

    <releases>/<name>/
        manifest.json            what is below, with a SHA-256 per file; the commit point
        config.json              the resolved PipelineConfig
        metrics.json             what evaluation measured
        vocabulary/items.arrow   ids of the items, in the order of their numbers; users.arrow alike
        vocabulary/event_types.json   the types of interactions that histories tell apart
        vocabulary/context.json  the context of interactions and requests in categories
        items.arrow              what is known of the items, in the same order
        users.arrow              what is known of the users, in the order of the histories; absent
                                 where the dataset has no table of users
        histories.arrow          every user's interactions, up to the watermark
        interaction_types.npy    of which type each of them was, whatever models read of it; names
                                 in vocabulary/interaction_types.json
        popularity.npy           interactions by item number
        ranking.npy              item numbers, best first; only where everybody gets the same list
        created_at.npy           when each item came to be, by item number, in microseconds
        cold_start/              from what is known of a new item to its vector
        model/, index/           weights; partitions of the index

A release is written beside its place and published by one rename, so that a directory with a
manifest is whole. Its name ends with a hash of the manifest, so that a release cannot be altered or
put together from two others without `verify` seeing it. Nothing in a release is ever unpickled.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from raysys import storage
from raysys.config import DEFAULT_DATASET_GROUP, PipelineConfig, parse_config
from raysys.errors import DamagedReleaseError, ReleaseMismatchError, ReleaseNotFoundError
from raysys.hashing import sha256_of_file

FORMAT_VERSION = 4
MANIFEST_NAME = "manifest.json"
CONFIG = "config.json"
METRICS = "metrics.json"
ITEM_VOCABULARY = "vocabulary/items.arrow"
USER_VOCABULARY = "vocabulary/users.arrow"
EVENT_TYPES = "vocabulary/event_types.json"
CONTEXT = "vocabulary/context.json"
INTERACTION_TYPES = "vocabulary/interaction_types.json"
INTERACTION_TYPE_NUMS = "interaction_types.npy"
ITEM_TABLE = "items.arrow"
USER_TABLE = "users.arrow"
HISTORIES = "histories.arrow"
POPULARITY = "popularity.npy"
RANKING = "ranking.npy"
CREATED_AT = "created_at.npy"
COLD_START_FEATURES = "cold_start/features.arrow"
COLD_START_WEIGHTS = "cold_start/weights.npy"
COLD_START_ENCODER = "cold_start/encoder.json"
COLD_START_TOWER = "cold_start/tower.safetensors"
MODEL_DIRECTORY = "model"
INDEX_DIRECTORY = "index"


class ReleaseFile(BaseModel):
    """Size and hash of one file of a release."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_bytes: int = Field(ge=0)
    sha256: str


class Manifest(BaseModel):
    """What a release holds and where it comes from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int
    name: str
    created_at: datetime
    recipe: str
    model_kind: str
    embedding_dim: int
    """Width of the stored candidate embeddings: a multiple of 16, zero-padded."""
    history_length: int
    """The newest interactions that the query tower reads."""
    vocabulary: str
    """Hash of the item vocabulary; every part that holds item numbers carries it too."""
    num_items: int
    num_users: int
    num_partitions: int
    index_factory: str
    watermark: datetime | None
    """The newest interaction that the release has learnt from."""
    metrics: dict[str, float]
    lineage: dict[str, Any]
    """The dataset, its hash and counts, and the versions of what built the release."""
    files: dict[str, ReleaseFile]

    def digest(self) -> str:
        """Return 12 hex digits that change with anything in the manifest but its name."""
        body = self.model_dump(mode="json", exclude={"name"})
        text = json.dumps(body, sort_keys=True, ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


class Release:
    """One published release, opened for reading. `manifest` has been checked, the files not yet."""

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def dataset_group(self) -> str:
        """Return the dataset group of the dataset that the release was made from."""
        return str(self.manifest.lineage.get("dataset_group", DEFAULT_DATASET_GROUP))

    @property
    def trained_at(self) -> datetime:
        """Return when its model was trained from nothing; what it learnt since is younger."""
        told = self.manifest.lineage.get("trained_at")
        return self.manifest.created_at if told is None else datetime.fromisoformat(told)

    def check_dataset_group(self, name: str | None) -> None:
        """Raise ReleaseMismatchError unless the release is of this group; None is every group."""
        if name is not None and self.dataset_group != name:
            raise ReleaseMismatchError(
                f"Release {self.name} belongs to the dataset group {self.dataset_group!r}, but "
                f"{name!r} was asked for: its users and items are those of another catalogue. Name "
                f"a release of {name!r}, or say --dataset-group {self.dataset_group} "
                f"(`dataset_group` in a config file)."
            )

    def check_trained_on(self, dataset: Path, import_id: str) -> None:
        """Raise ReleaseMismatchError unless the release was made from this import of a dataset."""
        trained_on = self.manifest.lineage.get("import_id")
        if trained_on != import_id:
            raise ReleaseMismatchError(
                f"Release {self.name} was trained on import {trained_on}, but {dataset} holds "
                f"import {import_id}. Its test part may have been trained on, so the figures would "
                f"flatter. Name the dataset that the release was trained on."
            )

    def file(self, name: str) -> Path:
        """Return the path of a file, unread; DamagedReleaseError unless the manifest lists it."""
        if name not in self.manifest.files:
            raise DamagedReleaseError(
                f"Release {self.name} has no file {name!r} in its manifest, so it was made by "
                f"another version of raysys or is incomplete. Build the release again."
            )
        return self.path / name

    def verify(self, *names: str) -> None:
        """Read the named files, or all of them, and compare each with its hash in the manifest.

        Raises:
            DamagedReleaseError: a file is missing, or differs from what was published.
        """
        for name in names or self.manifest.files:
            path, published = self.file(name), self.manifest.files[name]
            if not path.is_file():
                raise DamagedReleaseError(
                    f"Release {self.name} is damaged: {name} is missing. Copy the release again "
                    f"from where it was published, or serve another one."
                )
            found = sha256_of_file(path)
            if found != published.sha256:
                raise DamagedReleaseError(
                    f"Release {self.name} is damaged: {name} has SHA-256 {found[:12]}…, but "
                    f"{published.sha256[:12]}… was published, so it was altered or comes from "
                    f"another release. Copy the release again, or serve another one."
                )

    def read_json(self, name: str) -> Any:
        """Return the value of a JSON file of the release, after checking its hash."""
        self.verify(name)
        return storage.read_json(self.file(name))

    def settings(self) -> PipelineConfig:
        """Return the settings that led to the release, after checking the hash of their file.

        Raises:
            DamagedReleaseError: the file is missing, or differs from what was published.
            ConfigError: another version of raysys wrote it, with settings that this one lacks.
        """
        source = f"{self.name}/{CONFIG}"
        return parse_config(self.read_json(CONFIG), PipelineConfig, source=source)

    def check_vocabulary(self, part: str, vocabulary: str) -> None:
        """Raise ReleaseMismatchError unless `part` was built for this release's vocabulary."""
        if vocabulary != self.manifest.vocabulary:
            raise ReleaseMismatchError(
                f"Release {self.name} cannot be served: its {part} was built for item vocabulary "
                f"{vocabulary[:12]}…, the release for {self.manifest.vocabulary[:12]}…. Item "
                f"numbers would point at the wrong items. Build the release again."
            )


@contextmanager
def publishing(releases: Path) -> Iterator["ReleaseDraft"]:
    """Give a draft to write files into; `draft.publish(...)` must be called to keep it.

    When the block raises, or never publishes, nothing is left behind.
    """
    draft = ReleaseDraft(releases)
    try:
        yield draft
    finally:
        draft.discard()


class ReleaseDraft:
    """A release that is being written. Readers do not see it before `publish`."""

    def __init__(self, releases: Path) -> None:
        # Absolute: training workers read and write here from directories of their own.
        self._releases = releases.absolute()
        self._staging = storage.staging_directory(self._releases / "release")
        self.path = self._staging

    def publish(self, **fields: Any) -> Release:
        """Hash every file below `path`, write the manifest and rename the directory into place.

        Args:
            fields: the fields of `Manifest` but for format_version, name, created_at and files.
        """
        created_at = datetime.now(UTC)
        files = {
            str(path.relative_to(self.path)): ReleaseFile(
                num_bytes=path.stat().st_size, sha256=sha256_of_file(path)
            )
            for path in sorted(self.path.rglob("*"))
            if path.is_file()
        }
        unnamed = Manifest(
            format_version=FORMAT_VERSION, name="", created_at=created_at, files=files, **fields
        )
        name = f"{created_at:%Y%m%dT%H%M%S}-{unnamed.digest()}"
        manifest = unnamed.model_copy(update={"name": name})
        storage.write_json(self.path / MANIFEST_NAME, manifest.model_dump(mode="json"))
        destination = self._releases / name
        storage.publish_directory(self._staging, destination)
        return Release(destination, manifest)

    def discard(self) -> None:
        """Remove what was not published; nothing happens after `publish`."""
        storage.remove_tree(self._staging)


def open_release(path: Path) -> Release:
    """Open a release, or the newest release of a directory of releases.

    Raises:
        ReleaseNotFoundError: there is none.
        DamagedReleaseError: the manifest cannot be read, or is not the one that was published.
    """
    if (path / MANIFEST_NAME).is_file():
        return _open(path)
    names = list_releases(path)
    if not names:
        raise ReleaseNotFoundError(
            f"There is no release at {path}: it has no {MANIFEST_NAME}, and no directory below it "
            f"has one. Make one with `raysys train DATASET --releases {path}`."
        )
    return _open(path / names[-1])


def list_releases(releases: Path) -> list[str]:
    """Return the names of the releases in a directory, oldest first."""
    return sorted(entry.parent.name for entry in releases.glob(f"[0-9]*/{MANIFEST_NAME}"))


def _open(path: Path) -> Release:
    try:
        value = storage.read_json(path / MANIFEST_NAME)
        version = value.get("format_version") if isinstance(value, Mapping) else None
        if version != FORMAT_VERSION:
            raise DamagedReleaseError(
                f"Release {path.name} has format {version!r}, this raysys reads {FORMAT_VERSION}. "
                f"Build the release again with this version."
            )
        manifest = Manifest.model_validate(value)
    except (OSError, ValueError, ValidationError) as error:
        raise DamagedReleaseError(
            f"Release {path.name} is damaged: its {MANIFEST_NAME} cannot be read ({error})."
        ) from error
    if manifest.name.rpartition("-")[2] != manifest.digest():
        raise DamagedReleaseError(
            f"Release {path.name} is damaged: its {MANIFEST_NAME} was altered after it was "
            f"published. Copy the release again, or serve another one."
        )
    return Release(path, manifest)
