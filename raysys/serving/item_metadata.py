"""What an answer says of its items: values of the item table, or of what was put since."""

from collections.abc import Iterable, Sequence
from datetime import datetime

import pyarrow as pa

from raysys.dataset.categories import plain_name
from raysys.dataset.features import text_of
from raysys.errors import InvalidInputError
from raysys.index.put_items import CREATION_TIME, NOTHING_PUT, PutItems

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

    def of(
        self, keys: Iterable[int], columns: Sequence[str], put: PutItems = NOTHING_PUT
    ) -> list[dict[str, str]]:
        """Return what is known of each item, by the names that were asked for, as texts.

        What is missing is left out.

        Args:
            keys: item numbers; below 0 for items that the release does not know.
            columns: of `check`; `BECAUSE_OF` is passed over.
            put: what was put since, which counts instead of what the release says.
        """
        names = [name for name in columns if name != BECAUSE_OF]
        return [
            {name: text for name in names if (text := self._cell(key, name, put)) is not None}
            for key in keys
        ]

    def _cell(self, key: int, name: str, put: PutItems) -> str | None:
        item = put.of(key)
        is_creation = plain_name(name) == plain_name(CREATION_TIME)
        if item is not None and is_creation and item.created_at_us is not None:
            return f"{item.created_at_us / 1e6:.0f}"
        if item is not None and not is_creation:
            return text_of(item.columns.get(plain_name(name)))
        if key < 0:
            return None
        return _text(self._table.column(self._index_of[name.lower()])[key - 1].as_py())


def _text(value: object) -> str | None:
    """Return a value in words: times as seconds since 1970, truth values in small letters."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return f"{value.timestamp():.0f}"
    return str(value)
