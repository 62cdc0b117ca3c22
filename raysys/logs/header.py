"""Which column of a source is which: names are found by name, whatever their case and order."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raysys.errors import SchemaError

USER_ID = "user_id"
ITEM_ID = "item_id"
TIMESTAMP = "timestamp"
EVENT_TYPE = "event_type"
EVENT_VALUE = "event_value"
EVENT_ID = "event_id"

RECBOLE_ALIASES: Mapping[str, str] = {"rating": EVENT_VALUE}
"""RecBole's names of interaction columns that differ from ours."""


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of one source of interactions.

    Attributes:
        names: as they stand in the source.
        positions: where each known column is, in the order of the known columns.
        unused: the names of the columns that are not read.
        later: known columns that are not here, but that later rows may have.
    """

    names: tuple[str, ...]
    positions: dict[str, int]
    unused: tuple[str, ...]
    later: tuple[str, ...] = ()

    def notices(self, source: str) -> list[str]:
        """Return what a user should know about this header."""
        if not self.unused:
            return []
        return [
            f"{source}: not read, since no known column has that name: {_list(self.unused)}. A "
            f"schema can declare it: see `raysys schema`."
        ]


def find_columns(
    names: Sequence[str],
    source: str,
    *,
    required: Sequence[str],
    optional: Sequence[str],
    aliases: Mapping[str, str] | None = None,
    called: Mapping[str, str] | None = None,
    is_open: bool = False,
    option: str = "--column",
) -> Header:
    """Find the columns of a source by name.

    Args:
        names: the column names as they stand in the source.
        source: the source's name, for messages.
        aliases: further lower-case names of known columns. The column's own name wins.
        called: what a known column is called in the source, where that is told. It wins over the
            column's own name.
        is_open: whether rows may have columns that `names` does not show.
        option: what tells on the command line what a column is called, for messages.

    Raises:
        SchemaError: a required column, or one that was told by name, is missing, or a known one is
            there twice.
    """
    known = (*required, *optional)
    told = _places_told(names, source, called or {})
    own = {place: name.strip().lower() for place, name in enumerate(names)}
    for column, place in told.items():
        own = {at: name for at, name in own.items() if name != column} | {place: column}
    canonical = [own.get(place, "") for place in range(len(names))]
    if aliases:
        present = set(canonical)
        canonical = [
            aliases[name] if name in aliases and aliases[name] not in present else name
            for name in canonical
        ]
    for name in known:
        if canonical.count(name) > 1:
            raise SchemaError(
                f"{source} has the column {name.upper()} {canonical.count(name)} times, so it is "
                f"not clear which one is meant. Rename or remove the others. Its columns are: "
                f"{_list(names)}."
            )
    positions = {name: canonical.index(name) for name in known if name in canonical}
    missing = [name.upper() for name in required if name not in positions]
    if missing:
        raise SchemaError(_explain_missing(missing, names, source, bool(positions), option))
    unused = tuple(
        name for name, found in zip(names, canonical, strict=True) if name and found not in known
    )
    later = tuple(name for name in optional if is_open and name not in positions)
    return Header(tuple(names), positions, unused, later)


def _places_told(names: Sequence[str], source: str, called: Mapping[str, str]) -> dict[str, int]:
    """Return where the columns are whose names were told; case counts only to tell two apart."""
    places = {}
    for column, name in called.items():
        found = [place for place, one in enumerate(names) if one == name] or [
            place for place, one in enumerate(names) if one.strip().lower() == name.strip().lower()
        ]
        if len(found) != 1:
            raise SchemaError(
                f"{source} has {len(found) or 'no'} columns called {name!r}, and exactly one was "
                f"to be {column.upper()}. Its columns are: {_list(names)}.{_meant(name, names)}"
            )
        places[column] = found[0]
    return places


def _explain_missing(
    missing: Sequence[str], names: Sequence[str], source: str, any_found: bool, option: str
) -> str:
    if any(not letter.isprintable() for name in names for letter in name.replace("\t", " ")):
        return (
            f"{source} seems to be no text: it begins with {names[0][:40]!r}. It must be a text "
            f"file in UTF-8 whose first line names the columns."
        )
    message = f"{source} has no column {_either(missing)}. Its columns are: {_list(names)}."
    if len(names) == 1 and (separator := _other_separator(names[0])):
        return (
            f"{message} Columns seem to be separated by {separator}; "
            f"in a .csv file they must be separated by commas."
        )
    if not any_found and any(name.strip().replace(".", "").isdigit() for name in names):
        return (
            f"{message} The first line looks like data: put a line above it that names the columns."
        )
    meant = "".join(_meant(name, names) for name in missing)
    told = " ".join(f"{option} {name}=..." for name in missing)
    return (
        f"{message}{meant} Rename columns (the case of letters does not matter), or tell the "
        f"import what they are called there: {told}"
    )


def _either(names: Sequence[str]) -> str:
    """Return names as "A", "A or B", "A, B or C"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _meant(name: str, names: Sequence[str]) -> str:
    lowered = {one.strip().lower(): one for one in names}
    close = difflib.get_close_matches(name.strip().lower(), list(lowered), 1, 0.7)
    return f" Is {lowered[close[0]]!r} meant by {name}?" if close else ""


def _other_separator(name: str) -> str | None:
    for separator, spelled in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if separator in name:
            return spelled
    return None


def _list(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
