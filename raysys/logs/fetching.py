"""What lies elsewhere is brought here first: every query becomes a file on storage, by one task.

So all that follows reads files, each of which stays as it is, and a query runs once.
"""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from raysys.logs.call import RunCalls
from raysys.logs.columnar import check_columns
from raysys.logs.layout import Layout
from raysys.logs.progress import OnProgress
from raysys.logs.queries import SqlQuery
from raysys.logs.source import Source
from raysys.logs.sources import Origin


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
    calls = [
        _Fetch(place, origin, directory, layout)
        for place, origin in enumerate(origins)
        if not isinstance(origin, Source)
    ]
    sources = {place: one for place, one in enumerate(origins) if isinstance(one, Source)}
    if calls:
        directory.mkdir(parents=True)
        rows: dict[int, int] = {}
        for place, found in run(calls):
            if isinstance(found, Source):
                sources[place] = found
            else:
                rows[place] = found
            if on_progress is not None:
                on_progress(sum(rows.values()), None, "fetching from the database")
    return [sources[place] for place in range(len(origins))]


@dataclass(frozen=True, slots=True)
class _Fetch:
    place: int
    query: SqlQuery
    directory: Path
    layout: Layout

    def run(self) -> Iterator[tuple[int, int | Source]]:
        from raysys.logs.sql import fetch_query  # SQLAlchemy, which most imports do not need

        target = self.directory / f"{self.place:05d}-{uuid.uuid4().hex}.parquet"
        for found in fetch_query(self.query, target, partial(check_columns, self.layout)):
            yield self.place, found
