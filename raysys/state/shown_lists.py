"""What lists showed, and which clicks name them, for whoever counts.

Every method runs inside its caller's transaction.
"""

from collections.abc import Iterable

import msgspec
from sqlalchemy import Connection, Executable, bindparam, select

from raysys.state.tables import events, slates

_ITEM_IDS = msgspec.json.Decoder(frozenset[str])


class ShownLists:
    """The lists of one dataset group, found by their recommendation ids."""

    def __init__(self, dataset_group: str) -> None:
        self._dataset_group = dataset_group
        self._select_items: Executable = select(
            slates.c.recommendation_id, slates.c.item_ids
        ).where(
            slates.c.dataset_group == bindparam("dataset_group"),
            slates.c.recommendation_id.in_(bindparam("recommendation_ids", expanding=True)),
        )
        self._select_clicks: Executable = select(
            events.c.recommendation_id, events.c.item_id
        ).where(
            events.c.dataset_group == bindparam("dataset_group"),
            events.c.recommendation_id.in_(bindparam("recommendation_ids", expanding=True)),
            events.c.is_click,
        )

    def items(
        self, connection: Connection, recommendation_ids: Iterable[str]
    ) -> dict[str, frozenset[str]]:
        """Return what each of these lists showed; one that is not stored has no key."""
        found = connection.execute(self._select_items, self._parameters(recommendation_ids))
        return {name: _ITEM_IDS.decode(item_ids) for name, item_ids in found}

    def clicks(
        self, connection: Connection, recommendation_ids: Iterable[str]
    ) -> list[tuple[str, str]]:
        """Return the list and the item of each stored event that is a click and names a list.

        The list need not have shown the item.
        """
        found = connection.execute(self._select_clicks, self._parameters(recommendation_ids))
        return [(name, item_id) for name, item_id in found]

    def _parameters(self, recommendation_ids: Iterable[str]) -> dict[str, object]:
        return {
            "dataset_group": self._dataset_group,
            "recommendation_ids": sorted(set(recommendation_ids)),
        }
