"""What was put since a release was built, as the parts of a server know it.

An item's key is its item number where the release knows it, and below 0 where it does not.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.categories import plain_name
from raysys.dataset.features import Properties
from raysys.dataset.vocabulary import Vocabulary
from raysys.filters.masks import Table
from raysys.index.home import keys_of_items
from raysys.state.items import Changes, ItemHiding, StoredItem

CREATION_TIME = "creation_timestamp"
"""The column of the item table that says when an item came to be, in seconds since 1970 UTC."""


@dataclass(frozen=True, slots=True)
class PutItem:
    """One item as the newest put tells of it.

    Args:
        properties: as the client wrote them.
        created_at_us: microseconds since 1970 UTC; None where what the release says of it stands.
    """

    item_id: str
    properties: Properties
    created_at_us: int | None

    @property
    def columns(self) -> dict[str, Any]:
        """What is known of the item by plain names of columns, its creation included."""
        known = {plain_name(name): value for name, value in self.properties.items()}
        known.pop(plain_name(CREATION_TIME), None)
        if self.created_at_us is not None:
            known[plain_name(CREATION_TIME)] = self.created_at_us / 1e6
        return known


@dataclass(frozen=True, slots=True, eq=False)
class PutItems:
    """An immutable snapshot; another object stands for other items.

    Args:
        new: items that the release does not know, by key.
        known: items of the release that were put again, by item number. What the newest put says
            of one replaces all that the release said, but for its creation where none is named.
        hidden: keys of items that nobody is to be shown.
    """

    new: Mapping[int, PutItem] = field(default_factory=dict)
    known: Mapping[int, PutItem] = field(default_factory=dict)
    hidden: frozenset[int] = frozenset()

    def with_changes(self, changes: Changes, vocabulary: Vocabulary) -> "PutItems":
        """Return the snapshot after what changed, or this one where that is nothing of these."""
        if not changes.items and not changes.hidings:
            return self
        put = dict(zip(_keys(changes.items, vocabulary), changes.items, strict=True))
        new = {key: _put_item(item) for key, item in put.items() if key < 0}
        known = {key: _put_again(item) for key, item in put.items() if key > 0}
        hidden = set(self.hidden)
        for key, hiding in zip(_keys(changes.hidings, vocabulary), changes.hidings, strict=True):
            (hidden.add if hiding.is_hidden else hidden.discard)(key)
        return PutItems({**self.new, **new}, {**self.known, **known}, frozenset(hidden))

    def of(self, key: int) -> PutItem | None:
        """Return what was put of an item; None where nothing was."""
        return self.new.get(key) if key < 0 else self.known.get(key)

    def ids_of(self, keys: NDArray[np.integer]) -> dict[int, str]:
        """Return the ids, by key, of those of some items that the release does not know."""
        return {key: self.new[key].item_id for key in keys[keys < 0].tolist()}

    def hides(self, keys: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return which of some items nobody is to be shown, (n,)."""
        return np.isin(keys, np.array(sorted(self.hidden), dtype=np.int64))

    def table(self, keys: Iterable[int], released: Table) -> Table:
        """Return what was put of some items as a table of the columns of another.

        Args:
            released: of all items of the release, in the order of their numbers.
        """
        items = {key: item for key in keys if (item := self.of(key)) is not None}
        known = []
        for key, item in items.items():
            columns = item.columns
            if item.created_at_us is None and released.has(CREATION_TIME):
                for seconds in released.constants(CREATION_TIME, key - 1):
                    columns[CREATION_TIME] = seconds
            known.append(columns)
        return released.of_properties([item.item_id for item in items.values()], known)


NOTHING_PUT = PutItems()


def _keys(named: Iterable[StoredItem | ItemHiding], vocabulary: Vocabulary) -> list[int]:
    keys: list[int] = keys_of_items([each.item_id for each in named], vocabulary).tolist()
    return keys


def _put_item(item: StoredItem) -> PutItem:
    return PutItem(item.item_id, item.known, item.created_at_us)


def _put_again(item: StoredItem) -> PutItem:
    """Return an item of the release: the time of its first put says nothing of its creation."""
    known = item.known
    is_named = plain_name(CREATION_TIME) in map(plain_name, known)
    return PutItem(item.item_id, known, item.created_at_us if is_named else None)
