"""What lists showed, and what events tell of them, for whoever counts.

A list showed what it is made of, unless a client says what was visible: an event that names the
list and has an `impression`. Then that counts, of several such events all that they name together.

Every method runs inside its caller's transaction.
"""

from collections.abc import Container, Iterable
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import BigInteger, Connection, Executable, bindparam, or_, select

from raysys.state.tables import events, slates

_ALL = 2**63 - 1
_ITEM_IDS = msgspec.json.Decoder(frozenset[str])


@dataclass(frozen=True, slots=True)
class ShownList:
    """A list that is stored."""

    item_ids: frozenset[str]
    fresh_item_ids: frozenset[str]


@dataclass(slots=True)
class Told:
    """What stored events tell of one list."""

    clicks: list[str] = field(default_factory=list)
    """The item of each that is a click; the list need not have shown it."""
    _visible: dict[str, frozenset[str]] = field(default_factory=dict)  # by the event's identity

    def visible(self, *, without: Container[str] = ()) -> frozenset[str] | None:
        """Return what was visible; None where no event says so.

        Args:
            without: the identities of events that are passed over.
        """
        told = [items for identity, items in self._visible.items() if identity not in without]
        return frozenset().union(*told) if told else None

    def add(
        self, identity: str, item_id: str | None, is_click: bool, impression: str | None
    ) -> None:
        """Add what one event tells."""
        if is_click and item_id is not None:
            self.clicks.append(item_id)
        if impression is not None:
            self._visible[identity] = _ITEM_IDS.decode(impression)


class ShownLists:
    """The lists of one dataset group, found by their recommendation ids."""

    def __init__(self, dataset_group: str) -> None:
        self._dataset_group = dataset_group
        self._select_lists: Executable = select(
            slates.c.recommendation_id, slates.c.item_ids, slates.c.fresh_item_ids
        ).where(
            slates.c.dataset_group == bindparam("dataset_group"),
            slates.c.recommendation_id.in_(bindparam("recommendation_ids", expanding=True)),
        )
        self._select_told: Executable = select(
            events.c.recommendation_id,
            events.c.identity,
            events.c.item_id,
            events.c.is_click,
            events.c.impression,
        ).where(
            events.c.dataset_group == bindparam("dataset_group"),
            events.c.recommendation_id.in_(bindparam("recommendation_ids", expanding=True)),
            events.c.event_num <= bindparam("up_to", type_=BigInteger),
            or_(events.c.is_click, events.c.impression.is_not(None)),
        )

    def lists(
        self, connection: Connection, recommendation_ids: Iterable[str]
    ) -> dict[str, ShownList]:
        """Return these lists; one that is not stored has no key."""
        found = connection.execute(self._select_lists, self._parameters(recommendation_ids))
        return {
            name: ShownList(_ITEM_IDS.decode(item_ids), _ITEM_IDS.decode(fresh))
            for name, item_ids, fresh in found
        }

    def told(
        self, connection: Connection, recommendation_ids: Iterable[str], *, up_to: int = _ALL
    ) -> dict[str, Told]:
        """Return what stored events tell of these lists, each of which has a key.

        Args:
            up_to: events with larger numbers are passed over.
        """
        told = {name: Told() for name in recommendation_ids}
        parameters = {**self._parameters(told), "up_to": up_to}
        for name, *event in connection.execute(self._select_told, parameters):
            told[name].add(*event)
        return told

    def _parameters(self, recommendation_ids: Iterable[str]) -> dict[str, object]:
        return {
            "dataset_group": self._dataset_group,
            "recommendation_ids": sorted(set(recommendation_ids)),
        }
