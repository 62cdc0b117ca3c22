"""A directory for what all workers of a run write and read: a path that means the same on every
node, or a URL of a storage that every node reaches (S3, GCS, HDFS, Azure, whatever fsspec opens).
"""

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import fsspec
import pyarrow.fs
from pyarrow.fs import FileSystem, FileType

from raysys import storage
from raysys.errors import ConfigError
from raysys.logs.remote import is_url, shown


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of a file system.

    Attributes:
        name: for people; without user, password and options of a URL.
        path: in the words of the file system.
    """

    name: str
    filesystem: FileSystem
    path: str

    @classmethod
    def of(cls, location: Path | str) -> "Place":
        """Return the place of a path or of a URL; a relative path is one of this process.

        Raises:
            ConfigError: nothing here can open such a URL.
        """
        if not is_url(str(location)):
            path = os.path.abspath(location)
            return cls(path, pyarrow.fs.LocalFileSystem(), path)
        url = str(location)
        try:
            filesystem, path = _opened(url)
        except Exception as error:  # of any library, and it may hold what is secret
            raise ConfigError(
                f"Checkpoints cannot be kept at {shown(url)}: no library that is installed opens "
                f"it ({type(error).__name__}). Name a path that every node sees, or an s3:// or "
                f"gs:// URL."
            ) from None
        return cls(shown(url), filesystem, path.rstrip("/"))

    def below(self, name: str) -> "Place":
        """Return a directory in this one."""
        return Place(f"{self.name}/{name}", self.filesystem, f"{self.path}/{name}")

    def write_text(self, name: str, text: str) -> None:
        """Write a file, all or nothing; the directory is made if it is not there."""
        self.filesystem.create_dir(self.path)
        if self._is_local:
            storage.write_text(Path(self.path) / name, text)
            return
        # An object is there when it was sent whole, and not before.
        with self.filesystem.open_output_stream(f"{self.path}/{name}") as file:
            file.write(text.encode())

    def read_text(self, name: str) -> str | None:
        """Return what is in a file; None where there is none."""
        try:
            with self.filesystem.open_input_stream(f"{self.path}/{name}") as file:
                return bytes(file.read()).decode()
        except FileNotFoundError:
            return None

    def remove(self, name: str) -> None:
        """Remove a file or directory and all in it; nothing happens where there is none."""
        path = f"{self.path}/{name}"
        found = self.filesystem.get_file_info(path).type
        if found == FileType.Directory:
            self.filesystem.delete_dir(path)
        elif found == FileType.File:
            self.filesystem.delete_file(path)

    def send(self, directory: Path) -> None:
        """Put a local directory's files here."""
        self.filesystem.create_dir(self.path)
        pyarrow.fs.copy_files(
            str(directory), self.path, destination_filesystem=self.filesystem, use_threads=False
        )

    def fetch(self, directory: Path) -> None:
        """Put the files that lie here into a local directory."""
        pyarrow.fs.copy_files(self.path, str(directory), source_filesystem=self.filesystem)

    @property
    def _is_local(self) -> bool:
        return isinstance(self.filesystem, pyarrow.fs.LocalFileSystem)


def _opened(url: str) -> tuple[FileSystem, str]:
    if urlsplit(url).scheme in ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss", "file"):
        filesystem, path = FileSystem.from_uri(url)
        return filesystem, path
    files, path = fsspec.core.url_to_fs(url)
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(files)), path
