"""The first rows of what no file of this machine begins with: queries, Parquet files elsewhere."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from raysys.errors import SourceError
from raysys.logs.fetching import fetch_file
from raysys.logs.formats import PARQUET
from raysys.logs.source import Source, local_source
from raysys.logs.sources import Origin

_BUFFER_BYTES = 1 << 20


def first_rows(origins: Sequence[Origin], num_rows: int, directory: Path) -> list[Source]:
    """Return the origins as sources that can be read from their beginning, here and now.

    Of a query, and of each Parquet file elsewhere, the first `num_rows` rows become a file in a new
    directory; what has a beginning is returned as it is.

    Raises:
        SourceError: an origin cannot be reached, or is not what its name says.
    """
    directory.mkdir()
    return [
        _first_rows(origin, num_rows, directory / f"{place:05d}.parquet")
        for place, origin in enumerate(origins)
    ]


def _first_rows(origin: Origin, num_rows: int, target: Path) -> Source:
    if isinstance(origin, Source):
        return origin if origin.has_beginning else _of_parquet(origin, num_rows, target)
    from raysys.logs.sql import fetch_query  # SQLAlchemy, which files do not need

    *_, source = fetch_query(origin, target, lambda _, __: None, most_rows=num_rows)
    assert isinstance(source, Source)
    return source


def _of_parquet(source: Source, num_rows: int, target: Path) -> Source:
    try:
        with (
            source.open(at_any_place=True) as file,
            pq.ParquetFile(file, buffer_size=_BUFFER_BYTES, pre_buffer=False) as parquet,
        ):
            batch = next(parquet.iter_batches(batch_size=num_rows), None)
            rows = [] if batch is None else [batch]
            pq.write_table(pa.Table.from_batches(rows, parquet.schema_arrow), target)
    except (SourceError, pa.ArrowException):
        # A web server that knows no ranges gives the whole file only. What is damaged is told by
        # whoever reads the copy.
        *_, copy = fetch_file(source, target)
        assert isinstance(copy, Source)
        return copy
    return local_source(target, source.name, {target.suffix: PARQUET})
