"""What the files of an import look like inside, told apart by the end of their names."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from raysys.errors import SourceError
from raysys.logs.header import RECBOLE_ALIASES
from raysys.logs.records import Dialect

PACKED = ".gz"


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Delimited text: how columns are separated, and what their names mean."""

    dialect: Dialect
    aliases: Mapping[str, str] = field(default_factory=dict)
    has_typed_names: bool = False  # RecBole writes user_id:token

    def column_name(self, written: str) -> str:
        """Return a column's name without its type."""
        return written.partition(":")[0] if self.has_typed_names else written


@dataclass(frozen=True, slots=True)
class ParquetFormat:
    """Parquet files say everything themselves."""


Format = TextFormat | ParquetFormat

CSV = TextFormat(Dialect(",", is_quoted=True))
RECBOLE = TextFormat(Dialect("\t", is_quoted=False), RECBOLE_ALIASES, has_typed_names=True)
PARQUET = ParquetFormat()

Formats = Mapping[str, Format]
"""By what a name may end with; the case of the letters is free."""

_EVERYWHERE: Formats = {".csv": CSV, ".csv.gz": CSV, ".parquet": PARQUET}
INTERACTION_FORMATS: Formats = {**_EVERYWHERE, ".inter": RECBOLE}
TABLE_FORMATS: Formats = {**_EVERYWHERE, ".item": RECBOLE, ".user": RECBOLE}
"""Of tables of items and of users."""


def is_known(name: str, formats: Formats) -> bool:
    """Say whether a file's name tells its format."""
    return name.lower().endswith(tuple(formats))


def format_of(name: str, formats: Formats) -> Format:
    """Return the format that a file's name tells. SourceError: it tells none."""
    for suffix, found in formats.items():
        if name.lower().endswith(suffix):
            return found
    raise SourceError(
        f"{name} is of no known format: names end with {', '.join(formats)}. "
        f"Rename the file if it is one of these."
    )
