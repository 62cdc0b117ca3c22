"""The rows of slates, and what they count. Every method runs inside its caller's transaction."""

from collections.abc import Mapping

from sqlalchemy import Connection

from raysys.state.item_delta import ItemDelta
from raysys.state.slates import Slate
from raysys.state.statements import Statements
from raysys.state.tombstones import Tombstones


class SlateRows:
    """The slates of one dataset group."""

    def __init__(
        self,
        statements: Statements,
        delta: ItemDelta,
        tombstones: Tombstones,
        dataset_group: str,
    ) -> None:
        self._statements = statements
        self._delta = delta
        self._tombstones = tombstones
        self._dataset_group = dataset_group

    def put(self, connection: Connection, slates: Mapping[str, Slate]) -> int:
        """Store what is new of some slates, by their recommendation ids; return how many are."""
        rows = [slate.to_row() for slate in slates.values()]
        for row in rows:
            row["dataset_group"] = self._dataset_group
        new_ids = self._statements.new_slates.insert(connection, rows)
        new_ids -= self._take_back_forgotten(connection, slates, new_ids)
        self._delta.count_slates(connection, (slates[new_id] for new_id in new_ids))
        return len(new_ids)

    def prune(self, connection: Connection, shown_before_us: int, at_most: int) -> int:
        """Remove those of the oldest `at_most` that are too old; return how many they were."""
        parameters = {
            "dataset_group": self._dataset_group,
            "shown_before_us": shown_before_us,
            "num_rows": at_most,
        }
        return connection.execute(self._statements.delete_slates, parameters).rowcount

    def _take_back_forgotten(
        self, connection: Connection, slates: Mapping[str, Slate], new_ids: set[str]
    ) -> set[str]:
        """Remove new slates of before their users were forgotten; return which ones."""
        new = [slates[new_id] for new_id in new_ids]
        forgotten = self._tombstones.suppressed(
            connection,
            (
                (slate.recommendation_id, slate.user_id, slate.shown_at_us)
                for slate in new
                if slate.user_id is not None
            ),
        )
        if forgotten:
            parameters = {"dataset_group": self._dataset_group, "recommendation_ids": [*forgotten]}
            connection.execute(self._statements.delete_new_slates, parameters)
        return forgotten
