"""Items that came after the release was built, items that are hidden, and how often each fresh item
was shown and clicked.

Everything here is what the store takes and gives. No SQL.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from raysys.state.properties import known_of


@dataclass(frozen=True, slots=True)
class Item:
    """One item as a client put it, checked by whoever built it.

    Args:
        properties: the text of a JSON object; None where nothing is known of the item.
        created_at_us: microseconds since 1970 UTC. None: the time of the first put without one
            stands, or what an earlier put said.
    """

    item_id: str
    properties: str | None = None
    created_at_us: int | None = None


@dataclass(frozen=True, slots=True)
class StoredItem:
    """An item as it stands now; `created_at_us` is always known."""

    item_id: str
    properties: str | None
    created_at_us: int

    @property
    def known(self) -> dict[str, Any]:
        """What is known of the item: nothing where a text of a client defeats the parser."""
        return known_of(self.properties)


@dataclass(frozen=True, slots=True)
class ItemCount:
    """How often an item was shown and clicked since the store heard of it, in all.

    What clicks are is said by `StateStore`'s `weigh`.
    """

    item_id: str
    impressions: int
    clicks: int


@dataclass(frozen=True, slots=True)
class Reception:
    """How often the counted items of a dataset group were shown and clicked, all of them together.

    Beyond a million impressions both are halved, again and again, so that what is long past fades.
    """

    impressions: int = 0
    clicks: int = 0

    @property
    def click_rate(self) -> float:
        """Clicks per impression, in (0, 1]; 0.05 where nothing is known, and little moves it."""
        return (1 + self.clicks) / (20 + max(self.impressions, self.clicks))


@dataclass(frozen=True, slots=True)
class ItemHiding:
    """Whether an operator wants an item kept from everybody."""

    item_id: str
    is_hidden: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed since a delta version, in the order in which it changed.

    Args:
        version: the delta version that all of this amounts to; ask for what changed since it next.
        items: whole items, not differences. An item that changed several times stands here once.
        counts: whole counts, likewise.
        hidings: the items that were hidden, or are shown again, likewise.
        reception: of all counts, as they stand now. It follows from them, so two changes that are
            alike but for it are alike.
    """

    version: int
    items: list[StoredItem]
    counts: list[ItemCount]
    hidings: list[ItemHiding] = field(default_factory=list)
    reception: Reception = field(default=Reception(), compare=False)


def merged(items: Iterable[Item]) -> list[Item]:
    """Return one item for each id: what putting all of `items`, one after the other, leaves."""
    by_id: dict[str, Item] = {}
    for item in items:
        earlier = by_id.get(item.item_id)
        if earlier is not None and item.created_at_us is None:
            item = replace(item, created_at_us=earlier.created_at_us)
        by_id[item.item_id] = item
    return list(by_id.values())
