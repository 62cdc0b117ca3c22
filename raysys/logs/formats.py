"""What the files of an import look like inside, told apart by the end of their names."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from raysys.errors import SourceError
from raysys.logs.header import RECBOLE_ALIASES
from raysys.logs.records import Dialect

PACKED = ".gz"


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Delimited text: how columns are separated, and what their names mean.

    Attributes:
        aliases: further names of known columns, see `find_columns`.
        has_typed_names: names are written with their types, as RecBole's user_id:token.
        names: of the columns of a file without a header line; empty: the first line names them.
    """

    dialect: Dialect
    aliases: Mapping[str, str] = field(default_factory=dict)
    has_typed_names: bool = False
    names: tuple[str, ...] = ()

    def column_name(self, written: str) -> str:
        """Return a column's name without its type."""
        return written.partition(":")[0] if self.has_typed_names else written


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """JSON lines: one object a line, whose keys name the columns."""

    aliases: Mapping[str, str] = field(default_factory=dict)
    dialect: ClassVar = Dialect("\n", is_quoted=False)

    def column_name(self, written: str) -> str:
        """Return a column's name."""
        return written


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """Parquet files say everything themselves."""


@dataclass(frozen=True, slots=True)
class MovieLensTable:
    """A table of films or of people as the MovieLens data sets publish it.

    Attributes:
        separator: of the columns; a comma means a CSV file with a header line.
        tags: where the file lies that says which tags people gave to films, None for nowhere.
    """

    separator: str
    tags: str | None = None


LineFormat = TextFormat | JsonFormat
"""What is cut into records before anything else is known of it."""

Format = LineFormat | ParquetFormat | MovieLensTable

CSV = TextFormat(Dialect(",", is_quoted=True))
RECBOLE = TextFormat(Dialect("\t", is_quoted=False), RECBOLE_ALIASES, has_typed_names=True)
JSON = JsonFormat()
PARQUET = ParquetFormat()

Formats = Mapping[str, Format]
"""By what a name may end with; the case of the letters is free."""

_PLAIN_TEXTS: Formats = {".csv": CSV, ".jsonl": JSON, ".ndjson": JSON, ".json": JSON}
_EVERYWHERE: Formats = {
    **_PLAIN_TEXTS,
    **{suffix + PACKED: found for suffix, found in _PLAIN_TEXTS.items()},
    ".parquet": PARQUET,
}
INTERACTION_FORMATS: Formats = {**_EVERYWHERE, ".inter": RECBOLE}
TABLE_FORMATS: Formats = {**_EVERYWHERE, ".item": RECBOLE, ".user": RECBOLE}
"""Of tables of items and of users."""


def is_known(name: str, formats: Formats) -> bool:
    """Say whether a file's name tells its format."""
    return name.lower().endswith(tuple(formats))


def format_of(path: str, name: str, formats: Formats) -> Format:
    """Return the format that a path tells. SourceError, which calls it `name`: it tells none."""
    for suffix, found in formats.items():
        if path.lower().endswith(suffix):
            return found
    raise SourceError(
        f"{name} is of no known format: names end with {', '.join(formats)}. "
        f"Rename the file if it is one of these."
    )
