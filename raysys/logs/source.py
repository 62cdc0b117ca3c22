"""One file that an import reads: what it is called, where it lies, what it looks like inside.

It lies on this machine's file systems, or elsewhere; `raysys.logs.fetching` brings it here.

A source crosses to other processes, so it holds no open file. Everything that can go wrong with
the file itself is told as a SourceError that names it.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

from raysys.errors import SourceError
from raysys.logs import remote
from raysys.logs.formats import PACKED, Format, Formats, ParquetFormat, format_of


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a source: bytes of a text, row groups of a Parquet file. None: up to the end.

    A text's extent starts and ends between records.
    """

    start: int = 0
    end: int | None = None


WHOLE = Extent()


@dataclass(frozen=True, slots=True)
class Source:
    """One file, as it was when the import began.

    Attributes:
        name: as it was given, fit for messages and manifests.
        location: where it lies, the same in every process of the cluster: a path, or what
            `raysys.logs.remote` takes.
        format: what it looks like inside, once unpacked.
        num_bytes: of the file as it lies there, packed or not; 0 where a server does not say.
        state: differs whenever the file was written again.
    """

    name: str
    location: str = field(repr=False)
    format: Format
    num_bytes: int
    state: str

    @property
    def is_remote(self) -> bool:
        """Whether the file lies elsewhere."""
        return remote.is_url(self.location)

    @property
    def has_beginning(self) -> bool:
        """Whether the file's beginning says what its columns are. A Parquet file's end says it."""
        return not (self.is_remote and isinstance(self.format, ParquetFormat))

    @property
    def is_packed(self) -> bool:
        """Whether the file's bytes are those of a gzip file."""
        return self.name.lower().endswith(PACKED)

    @contextmanager
    def open(self, *, at_any_place: bool = False) -> Generator[BinaryIO, None, None]:
        """Open the file as it lies there.

        Args:
            at_any_place: whether a remote file will be read anywhere, not from its beginning to
                its end. Not every server can do that: where it cannot, reading is what fails.

        Raises:
            SourceError: it is gone, or an OSError of reading came out of the block.
        """
        try:
            if self.is_remote:
                with remote.open_file(self.location, at_any_place=at_any_place) as file:
                    yield file
            else:
                with Path(self.location).open("rb") as file:
                    yield file
        except OSError as error:
            raise self._unreadable(error) from error

    @contextmanager
    def open_unpacked(self) -> Generator[tuple[BinaryIO, Callable[[], int]], None, None]:
        """Open the file for reading from its beginning, unpacked if it is packed.

        The second value tells how many of the file's own bytes were read.

        Raises:
            SourceError: it is gone, cut off, or not what its name says.
        """
        with self.open() as file:
            if not self.is_packed:
                yield file, file.tell
                return
            try:
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield cast(BinaryIO, unpacked), file.tell
            except gzip.BadGzipFile as error:
                raise SourceError(
                    f"{self.name} is no gzip file, or not to its end: {error}. If it is not "
                    f"packed, take {PACKED} off its name."
                ) from error
            except (EOFError, zlib.error) as error:
                raise self._unreadable(error) from error

    def sha256(self) -> str:
        """Return the hex SHA-256 of the file's bytes, reading it in pieces (SourceError)."""
        with self.open() as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    def chunks(self, num_bytes: int) -> Iterator[bytes]:
        """Yield the file's bytes, so many at a time (SourceError)."""
        with self.open() as file:
            while chunk := file.read(num_bytes):
                yield chunk

    def check_unchanged(self) -> None:
        """Raise SourceError if the file is gone, or is not as it was when the import began."""
        try:
            is_remote = self.is_remote
            state = remote.state_of(self.location) if is_remote else _state(Path(self.location))
        except OSError as error:
            raise SourceError(
                f"{self.name} was there when the import began and is gone ({error}). "
                f"Nothing was imported; put it back and import again."
            ) from error
        if state != self.state:
            raise SourceError(
                f"{self.name} was written to during the import, so what was read may be half of "
                f"the old file and half of the new one. Nothing was imported; import again when "
                f"nobody writes to it."
            )

    def _unreadable(self, error: Exception) -> SourceError:
        return SourceError(
            f"{self.name} cannot be read to its end: {error}. It may have been cut off or damaged "
            f"on its way here; fetch or write it again."
        )


def local_source(path: Path, name: str, formats: Formats) -> Source:
    """Return a file of this machine as a source.

    Raises:
        SourceError: it does not exist, is no file, is empty, or its path tells no format.
    """
    if not path.exists():
        raise SourceError(f"{name} does not exist. Check the path.")
    if not path.is_file():
        raise SourceError(f"{name} is not a file. Check the path.")
    num_bytes = path.stat().st_size
    if num_bytes == 0:
        raise _empty(name)
    found = format_of(path.name, name, formats)
    return Source(name, str(path.absolute()), found, num_bytes, _state(path))


def remote_source(file: remote.RemoteFile, formats: Formats) -> Source:
    """Return a file elsewhere as a source. SourceError: it is empty, or of no known format."""
    if file.num_bytes == 0:
        raise _empty(file.name)
    found = format_of(file.name, file.name, formats)
    return Source(file.name, file.location, found, file.num_bytes or 0, file.state)


def _empty(name: str) -> SourceError:
    return SourceError(f"{name} is empty (0 bytes). Leave it out, or write it again.")


def _state(path: Path) -> str:
    found = path.stat()
    return f"{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"
