"""Which column of a source is which: names are found by name, whatever their case and order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raysys.errors import SourceError

USER_ID = "user_id"
ITEM_ID = "item_id"
TIMESTAMP = "timestamp"
EVENT_TYPE = "event_type"
EVENT_VALUE = "event_value"
EVENT_ID = "event_id"

REQUIRED = (USER_ID, ITEM_ID, TIMESTAMP)
OPTIONAL = (EVENT_TYPE, EVENT_VALUE, EVENT_ID)

RECBOLE_ALIASES: Mapping[str, str] = {"rating": EVENT_VALUE}
"""RecBole's names of interaction columns that differ from ours."""


@dataclass(frozen=True, slots=True)
class Header:
    """The columns of one source of interactions.

    `positions` says where each known column is, `unused` names the columns that are not read.
    """

    names: tuple[str, ...]
    positions: dict[str, int]
    unused: tuple[str, ...]

    def notices(self, source: str) -> list[str]:
        """Return what a user should know about this header."""
        if not self.unused:
            return []
        return [f"{source}: not read, since no known column has that name: {_list(self.unused)}."]


def find_columns(
    names: Sequence[str],
    source: str,
    *,
    required: Sequence[str] = REQUIRED,
    optional: Sequence[str] = OPTIONAL,
    aliases: Mapping[str, str] | None = None,
) -> Header:
    """Find the columns of a source by name.

    Args:
        names: the column names as they stand in the source.
        source: the source's name, for messages.
        aliases: further lower-case names of known columns. The column's own name wins.

    Raises:
        SourceError: a required column is missing, or a known one is there twice.
    """
    known = (*required, *optional)
    lowered = [name.strip().lower() for name in names]
    own = set(lowered) & set(known)
    canonical = [
        aliases[name] if aliases and name in aliases and aliases[name] not in own else name
        for name in lowered
    ]
    for name in known:
        if canonical.count(name) > 1:
            raise SourceError(
                f"{source} has the column {name.upper()} {canonical.count(name)} times, so it is "
                f"not clear which one is meant. Rename or remove the others. Its columns are: "
                f"{_list(names)}."
            )
    positions = {name: canonical.index(name) for name in known if name in canonical}
    missing = [name.upper() for name in required if name not in positions]
    if missing:
        raise SourceError(_explain_missing(missing, names, source, required, bool(positions)))
    unused = tuple(
        name for name, found in zip(names, canonical, strict=True) if name and found not in known
    )
    return Header(tuple(names), positions, unused)


def _explain_missing(
    missing: Sequence[str],
    names: Sequence[str],
    source: str,
    required: Sequence[str],
    any_found: bool,
) -> str:
    wanted = ", ".join(name.upper() for name in required)
    message = (
        f"{source} has no column {' and no column '.join(missing)}, but {wanted} are needed "
        f"(the case of the letters is free). Its columns are: {_list(names)}."
    )
    if len(names) == 1 and (separator := _other_separator(names[0])):
        return (
            f"{message} Columns seem to be separated by {separator}; "
            f"in a .csv file they must be separated by commas."
        )
    if not any_found and any(name.strip().replace(".", "").isdigit() for name in names):
        return f"{message} The first line looks like data: put the line {wanted} above it."
    return f"{message} Rename or add the column."


def _other_separator(name: str) -> str | None:
    for separator, spelled in ((";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")):
        if separator in name:
            return spelled
    return None


def _list(names: Sequence[str], most: int = 20) -> str:
    shown = ", ".join(repr(name[:80]) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
