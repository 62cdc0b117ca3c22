"""What lies elsewhere is brought here first: a query or a remote file becomes a file, by one task.

So all that follows reads files, each of which stays as it is; a query runs once, and of a remote
file the bytes that are hashed are the bytes that are imported.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from raysys.errors import SourceError
from raysys.logs.call import Call, RunCalls
from raysys.logs.columnar import check_columns
from raysys.logs.layout import Layout
from raysys.logs.progress import OnProgress
from raysys.logs.source import Source, local_source
from raysys.logs.sources import Origin

_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Fetched:
    """How much of an origin is here."""

    rows: int = 0
    num_bytes: int = 0


def fetch_origins(
    origins: Sequence[Origin],
    directory: Path,
    layout: Layout,
    run: RunCalls,
    on_progress: OnProgress | None,
) -> list[Source]:
    """Return the origins as files, those that are none yet fetched into a new directory.

    Args:
        layout: of the table that they hold; a query that lacks a column of it is refused.

    Raises:
        SourceError: an origin cannot be reached, or is not what it is taken for.
    """
    sources = {
        place: origin
        for place, origin in enumerate(origins)
        if isinstance(origin, Source) and not origin.is_remote
    }
    calls: list[Call] = [
        _Fetch(place, origin, directory, layout)
        for place, origin in enumerate(origins)
        if place not in sources
    ]
    if calls:
        directory.mkdir(parents=True)
        done = _Done(on_progress)
        for place, found in run(calls):
            if isinstance(found, Source):
                sources[place] = found
            else:
                done.follow(place, found)
    return [sources[place] for place in range(len(origins))]


def fetch_file(source: Source, target: Path) -> Iterator[Fetched | Source]:
    """Copy a remote file; yield how far that is, then the copy under the name of the original.

    Raises:
        SourceError: it cannot be read to its end, or was written to meanwhile.
    """
    num_bytes = 0
    with target.open("wb") as copy:
        for chunk in source.chunks(_CHUNK_BYTES):
            copy.write(chunk)
            num_bytes += len(chunk)
            yield Fetched(num_bytes=num_bytes)
    source.check_unchanged()
    if source.num_bytes not in (0, num_bytes):
        raise SourceError(
            f"{source.name} has {source.num_bytes:,} bytes, but only {num_bytes:,} came. Import "
            f"again; if it happens again, the server cuts it off."
        )
    yield local_source(target, source.name, {target.suffix: source.format})


class _Done:
    """Tells how much is here of all that is fetched."""

    def __init__(self, on_progress: OnProgress | None) -> None:
        self._on_progress = on_progress
        self._fetched: dict[int, Fetched] = {}

    def follow(self, place: int, fetched: Fetched) -> None:
        self._fetched[place] = fetched
        rows = sum(one.rows for one in self._fetched.values())
        num_bytes = sum(one.num_bytes for one in self._fetched.values())
        of_files = f" {num_bytes / 1e6:,.0f} MB" if num_bytes else ""
        if self._on_progress is not None:
            self._on_progress(rows, None, f"fetching{of_files}")


@dataclass(frozen=True, slots=True)
class _Fetch:
    place: int
    origin: Origin
    directory: Path
    layout: Layout

    def run(self) -> Iterator[tuple[int, Fetched | Source]]:
        target = self.directory / f"{self.place:05d}-{uuid.uuid4().hex}"
        for found in self._fetch(target):
            yield self.place, found

    def _fetch(self, target: Path) -> Iterator[Fetched | Source]:
        if isinstance(self.origin, Source):
            yield from fetch_file(self.origin, target.with_suffix(".copy"))
            return
        from raysys.logs.sql import fetch_query  # SQLAlchemy, which most imports do not need

        check = partial(check_columns, self.layout)
        for found in fetch_query(self.origin, target.with_suffix(".parquet"), check):
            yield found if isinstance(found, Source) else Fetched(rows=found)
