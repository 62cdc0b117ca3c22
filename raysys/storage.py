"""Where tables and releases lie: write first, then rename, so that a reader sees all or nothing.

The only file that knows how a path becomes bytes on disk. A name that starts with a dot and holds
`.partial-` is staging: readers ignore it, and the next writer of the same name removes it.
"""

import fcntl
import json
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_PARTIAL = ".partial-"
_SQLITE = "sqlite:///"


def write_text(path: Path, text: str) -> None:
    """Write a file so that `path` holds the old text or the new one, never a part of either."""
    partial = _partial_name(path)
    try:
        with partial.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON with sorted keys, all or nothing. NaN is refused."""
    text = json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: Path) -> Any:
    """Return the value of a JSON file. OSError and ValueError pass through."""
    return json.loads(path.read_text(encoding="utf-8"))


def relative_sqlite_file(url: str) -> Path | None:
    """Return the file of a SQLAlchemy URL if it is SQLite's and relative, else None."""
    path = url.removeprefix(_SQLITE)
    if path == url or path.startswith(("/", ":")) or not path:
        return None
    return Path(path)


def absolute_database(url: str) -> str:
    """Return a SQLAlchemy URL that means the same in every working directory."""
    file = relative_sqlite_file(url)
    return url if file is None else f"{_SQLITE}{file.resolve()}"


def staging_directory(path: Path) -> Path:
    """Make and return an empty directory beside `path`, to be given to `publish_directory`.

    Leftovers of writers of the same `path` that were killed are removed first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    staging = _partial_name(path)
    staging.mkdir()
    return staging


def publish_directory(staging: Path, path: Path) -> None:
    """Rename a finished staging directory to `path`, after its bytes are safe on disk.

    Raises:
        FileExistsError: `path` is there already; `staging` stays as it is.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists already; nothing was changed.")
    sync_tree(staging)
    staging.rename(path)
    _sync_directory(path.parent)


def move_directory(source: Path, target: Path) -> None:
    """Rename a finished directory, after its bytes are safe on disk. `target` must not exist."""
    sync_tree(source)
    source.rename(target)
    _sync_directory(target.parent)


@contextmanager
def locked(directory: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a directory, which other processes of this machine wait for.

    It leaves no file behind and ends with the process, however that ends.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
    """
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def remove_leftovers(path: Path) -> None:
    """Remove staging files and directories of `path` whose writing process is gone."""
    for leftover in path.parent.glob(f".{path.name}{_PARTIAL}*"):
        process_id = leftover.name.rpartition(_PARTIAL)[2].partition("-")[0]
        if process_id.isdigit() and _is_running(int(process_id)):
            continue
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove a directory and all below it; no error when it is not there."""
    shutil.rmtree(path, ignore_errors=True)


def remove_file(path: Path) -> None:
    """Remove a file; no error when it is not there."""
    path.unlink(missing_ok=True)


def remove_empty_directory(path: Path) -> None:
    """Remove a directory if nothing is in it; no error when something is, or when it is gone."""
    with suppress(OSError):
        path.rmdir()


def sync_tree(path: Path) -> None:
    """Make every file and directory below `path` survive a loss of power."""
    for directory, _, files in os.walk(path):
        for name in files:
            with open(os.path.join(directory, name), "rb") as file:
                os.fsync(file.fileno())
        _sync_directory(Path(directory))


def _partial_name(path: Path) -> Path:
    return path.with_name(f".{path.name}{_PARTIAL}{os.getpid()}-{uuid.uuid4().hex[:8]}")


def _is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
