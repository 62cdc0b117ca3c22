"""A file of interactions -> batches of raw columns with exact row numbers.

Three formats, told apart by the end of the name: `.csv` and `.csv.gz`, `.parquet`, and RecBole's
`.inter`. Reading streams: memory is a few times the size of a batch, whatever the size of the
file. A row that has no columns to read (too few, an unclosed quote) comes out as refused, with its
number; whether the values of the others make sense is decided in `raysys.logs.validate`.
"""

from collections.abc import Iterator
from pathlib import Path

from raysys.errors import SourceError
from raysys.logs.columnar import inspect_parquet, read_parquet
from raysys.logs.delimited import CSV, RECBOLE, TextFormat, inspect_text, read_text
from raysys.logs.raw import RawBatch

_TEXT_FORMATS = {".csv": CSV, ".csv.gz": CSV, ".inter": RECBOLE}
_PARQUET = ".parquet"

SUFFIXES = (*_TEXT_FORMATS, _PARQUET)
"""What a source's name may end with; the case of the letters is free."""


def inspect_source(path: Path, name: str) -> list[str]:
    """Check that a file can be read as interactions; return what its columns give notice of.

    Only the file's beginning (for Parquet its footer) is read.

    Raises:
        SourceError: the file is missing, empty, of an unknown format, or lacks a column.
    """
    text_format = _format_of(path, name)
    return inspect_text(path, name, text_format) if text_format else inspect_parquet(path, name)


def read_source(path: Path, name: str) -> Iterator[RawBatch]:
    """Yield the rows of a file in order, in batches.

    Raises:
        SourceError: as for `inspect_source`, and where a file is damaged further in.
    """
    text_format = _format_of(path, name)
    return read_text(path, name, text_format) if text_format else read_parquet(path, name)


def is_source(path: Path) -> bool:
    """Say whether a file's name is one that `read_source` takes."""
    return path.name.lower().endswith(SUFFIXES)


def _format_of(path: Path, name: str) -> TextFormat | None:
    """Return the text format of a file, None for Parquet."""
    if not path.exists():
        raise SourceError(f"{name} does not exist. Check the path.")
    if not path.is_file():
        raise SourceError(f"{name} is not a file.")
    if path.stat().st_size == 0:
        raise SourceError(f"{name} is empty (0 bytes). Leave it out, or write it again.")
    lowered = path.name.lower()
    if lowered.endswith(_PARQUET):
        return None
    for suffix, text_format in _TEXT_FORMATS.items():
        if lowered.endswith(suffix):
            return text_format
    raise SourceError(
        f"{name} is of no known format: names end with {', '.join(SUFFIXES)}. "
        f"Rename the file if it is one of these."
    )
