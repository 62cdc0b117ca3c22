"""Files that lie elsewhere: any URL that pyarrow (S3, GCS, HDFS, Azure) or fsspec opens.

Libraries for this raise what they like, and put URLs with keys in them into what they say. So all
of it is turned into OSError here, with what may be secret left out.
"""

import io
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import unquote, urlsplit

import fsspec
import pyarrow.fs
from fsspec.implementations.arrow import ArrowFSWrapper

T = TypeVar("T")

_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]+://")
_ARROW_SCHEMES = ("s3", "gs", "gcs", "hdfs", "viewfs", "abfs", "abfss")
_MAGIC = re.compile(r"[*\[]")  # a question mark begins the options of a URL
_BUFFER_BYTES = 1 << 20
_BETWEEN = "\n"  # the URL that leads to a file system, and a path in it


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file elsewhere.

    Attributes:
        name: its URL without user, password and options.
        location: what `open_file` takes; with all of that.
        num_bytes: None where the server does not say.
        state: differs whenever the file was written again, as far as the server says.
    """

    name: str
    location: str = field(repr=False)
    num_bytes: int | None
    state: str


def is_url(text: str) -> bool:
    """Say whether a text is a URL; a path is none."""
    return _URL.match(text) is not None


def shown(url: str) -> str:
    """Return a URL without user, password and options."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def find_files(url: str) -> list[RemoteFile]:
    """Return the file of a URL, or those of a directory or of a glob, sorted by name.

    Raises:
        OSError: it cannot be reached, or is not there.
    """
    return _told(url, lambda: _find_files(url))


@contextmanager
def open_file(location: str, *, at_any_place: bool = False) -> Generator[BinaryIO, None, None]:
    """Open a file for reading, from its beginning to its end unless said otherwise.

    What fails, such as reading at any place from a server that knows no ranges, raises OSError.
    """
    url, path = location.split(_BETWEEN)
    is_web = urlsplit(url).scheme in ("http", "https")
    # A server that knows no ranges can still be read from the beginning.
    options = {"block_size": 0} if is_web and not at_any_place else {}
    file = _told(url, lambda: _file_system(url)[0].open(path, "rb", **options))
    try:
        yield cast(BinaryIO, io.BufferedReader(_Reader(file, url), _BUFFER_BYTES))
    finally:
        file.close()


def state_of(location: str) -> str:
    """Return what tells whether a file was written again. OSError: it is gone."""
    url, path = location.split(_BETWEEN)
    return _told(url, lambda: _state(_file_system(url)[0].info(path)))


class _Reader(io.RawIOBase):
    """Reads a file of any file system, whose errors become OSError."""

    def __init__(self, file: Any, url: str) -> None:
        self._file = file
        self._url = url

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return bool(self._file.seekable())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return _told(self._url, lambda: int(self._file.seek(offset, whence)))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        content = _told(self._url, lambda: self._file.read(len(buffer)))
        buffer[: len(content)] = content
        return len(content)


def _find_files(url: str) -> list[RemoteFile]:
    files, path = _file_system(url)
    scheme = urlsplit(url).scheme
    files.invalidate_cache()
    if _MAGIC.search(path):
        entries = files.glob(path, detail=True).values()
    else:
        entry = files.info(path)
        # To a web server a directory is a page like any other.
        is_directory = entry["type"] == "directory" and scheme not in ("http", "https")
        entries = files.ls(path, detail=True) if is_directory else [{**entry, "name": path}]
    found = [
        RemoteFile(
            _name(url, entry["name"]),
            f"{url}{_BETWEEN}{entry['name']}",
            entry.get("size"),
            _state(files.info(entry["name"])),
        )
        for entry in entries
        if entry["type"] == "file"
    ]
    return sorted(found, key=lambda file: file.name)


def _file_system(url: str) -> tuple[Any, str]:
    """Return a file system in the words of fsspec, and the URL's path in it."""
    parts = urlsplit(url)
    if parts.scheme in _ARROW_SCHEMES:
        # What leads there is all but the key, whose characters pyarrow would want escaped.
        root = parts._replace(path="/").geturl()
        files, inside = pyarrow.fs.FileSystem.from_uri(root)
        return ArrowFSWrapper(files), f"{inside.rstrip('/')}/{parts.path.lstrip('/')}"
    files, path = fsspec.core.url_to_fs(url)
    return files, path


def _name(url: str, path: str) -> str:
    """Return the URL of a path in a file system, without user, password and options."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    inside = (urlsplit(path).path if is_url(path) else path).lstrip("/")
    if inside.startswith(f"{host}/"):  # a bucket, which is the beginning of all paths in it
        return f"{parts.scheme}://{inside}"
    return f"{parts.scheme}://{host}/{inside}"


def _state(entry: Any) -> str:
    """Return what changes with a file; each kind of storage has its own word for it."""
    words = ("size", "mtime", "ETag", "etag", "LastModified", "Last-Modified", "updated", "created")
    return " ".join(f"{word}={entry[word]}" for word in words if entry.get(word) is not None)


def _told(url: str, attempt: Callable[[], T]) -> T:
    """Return what an attempt returns; whatever it raises becomes an OSError without secrets."""
    try:
        return attempt()
    except ImportError as error:
        scheme = urlsplit(url).scheme
        raise OSError(f"{scheme}:// needs a library that is not installed: {error}") from None
    except Exception as error:  # of any library
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else OSError
        said = str(error) or type(error).__name__
        if error.__cause__ is not None:  # fsspec says but the URL, whatever a web server answered
            said = str(error.__cause__) if said == url else f"{said} ({error.__cause__})"
        raise kind(_without_secrets(said, url)) from None


def _without_secrets(text: str, url: str) -> str:
    parts = urlsplit(url)
    user_info = parts.netloc.rpartition("@")[0]
    values = [part.partition("=")[2] for part in parts.query.split("&")]
    secrets = [parts.query, user_info, *user_info.split(":"), *values]
    for secret in sorted({*secrets, *map(unquote, secrets)}, key=len, reverse=True):
        if secret:
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "***", text)
    return text
