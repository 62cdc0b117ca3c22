"""What an import or a forgetting has written becomes the dataset, in one step: old or new.

The new folder is moved in beside the old ones, the manifest is replaced, and only then are the
files removed that it no longer names. Whoever is killed in between leaves a readable dataset, and
files that the next change removes.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from pydantic import ValidationError

from raysys import storage
from raysys.errors import DatasetError
from raysys.logs.manifest import DatasetManifest, manifest_path

WORK = "work"
"""The folder of a staging directory that tasks write below, and that is not published."""

_PREFIX = "import-"


def new_import_id() -> str:
    """Return a name for an import; names sort by time."""
    return f"{_PREFIX}{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid4().hex[:8]}"


def check_destination(destination: Path, dataset_group: str) -> DatasetManifest | None:
    """Return the manifest of the dataset that is there, None where none is; refuse anything else.

    Raises:
        DatasetError: `destination` is a file, a directory with other things in it, or the dataset
            of another dataset group.
    """
    if not destination.exists() or _is_empty_directory(destination):
        return None
    if not destination.is_dir():
        raise DatasetError(f"{destination} is a file; a dataset is a directory. Choose another.")
    if not manifest_path(destination).exists():
        raise DatasetError(
            f"{destination} is a directory with other things in it, not a dataset (it has no "
            f"{manifest_path(destination).name}). Choose another; nothing was changed."
        )
    manifest = _manifest(destination)
    if manifest.dataset_group != dataset_group:
        found = manifest.dataset_group
        raise DatasetError(
            f"{destination} is a dataset of the dataset group {found!r}, so an import into the "
            f"group {dataset_group!r} does not replace it: releases and campaigns of {found!r} "
            f"rest on it. Choose another directory, or import with --dataset-group {found}."
        )
    return manifest


@contextmanager
def staging_beside(destination: Path) -> Iterator[Path]:
    """Give a directory beside the dataset, which is gone afterwards unless it became the dataset.

    Raises:
        DatasetError: something cannot be written there, a full disk being the usual cause.
    """
    staging = None
    try:
        staging = storage.staging_directory(destination)
        yield staging
    except OSError as error:
        raise DatasetError(
            f"Files could not be written beside {destination}, so nothing was published: {error}. "
            f"If the disk is full, make room and run it again."
        ) from error
    finally:
        if staging is not None:
            storage.remove_tree(staging)


def publish_import(
    staging: Path,
    destination: Path,
    manifest: DatasetManifest,
    base: DatasetManifest | None = None,
    *,
    replaces: bool = True,
) -> None:
    """Make what lies in `staging`, and the files that `manifest` keeps, the dataset.

    Args:
        staging: holds the folder `manifest.import_id`, unless no file of the dataset changes; it
            is gone afterwards.
        base: the manifest that lay at `destination` when the work began; None where none did.
        replaces: whether it does without what was there, whatever that is by now. Else it goes on
            from `base`, and may keep files of it.

    Raises:
        DatasetError: something else came to lie there in the meantime, or users were forgotten, of
            whom an import knew nothing.
    """
    with storage.locked(destination.parent):  # two imports at once: one after the other
        found = check_destination(destination, manifest.dataset_group)
        if replaces and found is not None and _forgotten(found) != _forgotten(base):
            raise DatasetError(
                f"Users were forgotten in {destination} while the import ran, and it may hold rows "
                f"of them. Nothing is published; import again."
            )
        if not replaces and found != base:
            raise changed_meanwhile(destination)
        _publish(staging, destination, manifest, found)


def changed_meanwhile(destination: Path) -> DatasetError:
    """Return the error that a dataset is not any more what it was when the work began."""
    return DatasetError(
        f"{destination} was changed by another import or forgetting while this one ran. Nothing is "
        f"published; run it again."
    )


def _publish(
    staging: Path, destination: Path, manifest: DatasetManifest, found: DatasetManifest | None
) -> None:
    text = manifest.model_dump_json(indent=2) + "\n"
    if found is None:
        storage.write_text(manifest_path(staging), text)
        if destination.exists():
            destination.rmdir()
        storage.publish_directory(staging, destination)
        return
    folder = destination / manifest.import_id
    is_new = (staging / manifest.import_id).exists()
    try:
        if is_new:
            storage.move_directory(staging / manifest.import_id, folder)
        storage.write_text(manifest_path(destination), text)
    except BaseException:
        if is_new and _manifest(destination).import_id != manifest.import_id:
            storage.remove_tree(folder)
        raise
    _remove_unnamed(destination, manifest)
    storage.remove_leftovers(manifest_path(destination))
    storage.remove_tree(staging)


def _remove_unnamed(destination: Path, manifest: DatasetManifest) -> None:
    """Remove what lies in folders of imports and is not part of the dataset (any more)."""
    for folder in destination.glob(f"{_PREFIX}*"):
        for directory, _, names in os.walk(folder, topdown=False):
            for name in names:
                file = Path(directory) / name
                if str(file.relative_to(destination)) not in manifest.files:
                    storage.remove_file(file)
            storage.remove_empty_directory(Path(directory))


def _forgotten(manifest: DatasetManifest | None) -> tuple[str | None, list[str]]:
    return (None, []) if manifest is None else (manifest.tombstones_file, manifest.receipts)


def _manifest(destination: Path) -> DatasetManifest:
    """Return the manifest that lies there, of whichever version it is."""
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
