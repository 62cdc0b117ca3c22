"""What a server's database has beyond a dataset, by the dataset's manifest."""

from dataclasses import dataclass
from pathlib import Path

from raysys.logs.manifest import DatasetManifest, EventsUpTo
from raysys.logs.publish import check_destination
from raysys.state.items import StoredItem
from raysys.state.store import StateStore

_ALL = EventsUpTo()


@dataclass(frozen=True, slots=True)
class EventNews:
    """What a database has beyond a dataset.

    Args:
        known: what the manifest says that the dataset has.
        after: where to read on from: there, or at the beginning.
        items: that were put since; `delta_version` is of them.
    """

    known: EventsUpTo
    after: EventsUpTo
    items: list[StoredItem]
    delta_version: int
    has_events: bool

    @classmethod
    def of(cls, store: StateStore, manifest: DatasetManifest | None) -> "EventNews":
        known = _ALL if manifest is None else manifest.events
        received_at_us = store.log.received_at_us(known.event_num) if known.event_num else None
        after = known if received_at_us == known.received_at_us else _ALL
        changes = store.changed_items(after.delta_version)
        if changes.version < after.delta_version:
            after, changes = _ALL, store.changed_items(0)
        has_events = store.log.has_events(after=after.event_num)
        return cls(known, after, changes.items, changes.version, has_events)

    def __bool__(self) -> bool:
        return self.has_events or bool(self.items)


def has_news(store: StateStore, dataset: Path) -> bool:
    """Say whether an import of events would add something; that costs three small statements.

    Raises:
        DatasetError: `dataset` is something else, or of another dataset group.
        StateError: the database cannot be used.
    """
    return bool(EventNews.of(store, check_destination(dataset.absolute(), store.log.dataset_group)))
