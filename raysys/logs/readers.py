"""A source of interactions -> batches of raw columns with exact row numbers.

Reading streams: memory is a few times the size of a batch, whatever the size of the file. A row
that has no columns to read (too few, an unclosed quote) comes out as refused, with its number;
whether the values of the others make sense is decided in `raysys.logs.validate`.
"""

from collections.abc import Iterator

from raysys.logs.columnar import inspect_parquet, read_parquet
from raysys.logs.delimited import inspect_text, read_text
from raysys.logs.formats import LineFormat
from raysys.logs.header import Header
from raysys.logs.layout import Layout
from raysys.logs.raw import RawBatch
from raysys.logs.source import WHOLE, Extent, Source


def inspect_source(source: Source, layout: Layout) -> tuple[Header, list[str]]:
    """Find the columns of a source, and what they give notice of.

    Only the file's beginning (for Parquet its footer) is read.

    Raises:
        SourceError: the file is gone, not what its name says, or lacks a column.
    """
    if isinstance(source.format, LineFormat):
        return inspect_text(source, source.format, layout)
    return inspect_parquet(source, layout)


def read_source(source: Source, layout: Layout, extent: Extent = WHOLE) -> Iterator[RawBatch]:
    """Yield the rows of a source, or of a part of it, in order, in batches.

    Rows are counted from the start of the part.

    Raises:
        SourceError: as for `inspect_source`, and where a file is damaged further in.
    """
    if isinstance(source.format, LineFormat):
        return read_text(source, source.format, layout, extent=extent)
    return read_parquet(source, layout, extent=extent)
