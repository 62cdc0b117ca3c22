"""What an answer says of its items: values of the item table."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import pyarrow as pa

from raysys.errors import InvalidInputError

BECAUSE_OF = "RAYSYS_BECAUSE_OF"
"""Asked for like a column: the item of the user's history that is most like the shown one."""


class ItemMetadata:
    """The item table of a release, read by single rows.

    Args:
        table: one row per item, in the order of their numbers, mapped.
    """

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._index_of = {
            name.lower(): index
            for index, name in enumerate(table.column_names)
            if name != "item_id"
        }

    def check(self, columns: Iterable[str]) -> None:
        """Return if there are all of these columns, whatever the case of their letters.

        Raises:
            InvalidInputError: there is none of such a name.
        """
        unknown = [
            name for name in columns if name != BECAUSE_OF and name.lower() not in self._index_of
        ]
        if unknown:
            known = ", ".join(sorted(name.upper() for name in self._index_of))
            raise InvalidInputError(
                f"The items have no column {', '.join(map(repr, unknown))}. metadataColumns may "
                f"name {known}, and {BECAUSE_OF} for the item of the user's history that is most "
                f"like each."
            )

    def of(self, keys: Iterable[int], columns: Sequence[str]) -> list[dict[str, str]]:
        """Return what is known of each item, by the names that were asked for, as texts.

        What is missing is left out, and so is all of an item that the release does not know.

        Args:
            keys: item numbers; below 0 for items that were put since the release.
            columns: of `check`; `BECAUSE_OF` is passed over.
        """
        found = [
            (name, self._table.column(self._index_of[name.lower()]))
            for name in columns
            if name != BECAUSE_OF
        ]
        return [
            {
                name: text
                for name, column in found
                if key > 0 and (text := _text(column[key - 1].as_py())) is not None
            }
            for key in keys
        ]


def _text(value: object) -> str | None:
    """Return a value in words: times as seconds since 1970, truth values in small letters."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"{value.timestamp():.0f}"
    return str(value)
