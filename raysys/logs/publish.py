"""A finished import becomes the dataset: in one step, so that a reader sees the old or the new.

The import's folder is moved in beside the old one, the manifest is replaced, and only then is the
old folder removed. Whoever is killed in between leaves a readable dataset, and folders that the
next import removes.
"""

from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from raysys import storage
from raysys.errors import DatasetError
from raysys.logs.manifest import DatasetManifest, manifest_path

_PREFIX = "import-"


def new_import_id() -> str:
    """Return a name for an import; names sort by time."""
    return f"{_PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"


def check_destination(destination: Path, dataset_group: str) -> None:
    """Refuse to write where something else lies.

    Raises:
        DatasetError: `destination` is a file, a directory with other things in it, or the dataset
            of another dataset group.
    """
    if not destination.exists() or _is_empty_directory(destination):
        return
    if not destination.is_dir():
        raise DatasetError(f"{destination} is a file; a dataset is a directory. Choose another.")
    if not manifest_path(destination).exists():
        raise DatasetError(
            f"{destination} is a directory with other things in it, not a dataset (it has no "
            f"{manifest_path(destination).name}). Choose another; nothing was changed."
        )
    found = _manifest(destination).dataset_group
    if found != dataset_group:
        raise DatasetError(
            f"{destination} is a dataset of the dataset group {found!r}, so an import into the "
            f"group {dataset_group!r} does not replace it: releases and campaigns of {found!r} "
            f"rest on it. Choose another directory, or import with --dataset-group {found}."
        )


def publish_import(staging: Path, destination: Path, manifest: DatasetManifest) -> None:
    """Make `staging`, which holds the folder `manifest.import_id`, the dataset at `destination`.

    Raises:
        DatasetError: something else came to lie at `destination` in the meantime.
    """
    text = manifest.model_dump_json(indent=2) + "\n"
    with storage.locked(destination.parent):  # two imports at once: one after the other
        check_destination(destination, manifest.dataset_group)
        if not manifest_path(destination).exists():
            storage.write_text(manifest_path(staging), text)
            if destination.exists():
                destination.rmdir()
            storage.publish_directory(staging, destination)
            return
        folder = destination / manifest.import_id
        try:
            storage.move_directory(staging / manifest.import_id, folder)
            storage.write_text(manifest_path(destination), text)
        except BaseException:
            if _manifest(destination).import_id != manifest.import_id:
                storage.remove_tree(folder)
            raise
        for other in destination.glob(f"{_PREFIX}*"):
            if other.name != manifest.import_id:
                storage.remove_tree(other)
        storage.remove_leftovers(manifest_path(destination))
        storage.remove_tree(staging)


def _manifest(destination: Path) -> DatasetManifest:
    path = manifest_path(destination)
    try:
        return DatasetManifest.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise DatasetError(
            f"{path} is not the manifest of a dataset, so {destination} is not written to: it may "
            f"hold something else. Choose another directory, or remove this one."
        ) from error


def _is_empty_directory(path: Path) -> bool:
    return path.is_dir() and not any(path.iterdir())
