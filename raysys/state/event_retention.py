"""Removes events that are old and that a dataset has.

Every method runs inside its caller's transaction.
"""

from sqlalchemy import BigInteger, BindParameter, Connection, Executable, bindparam, func, select

from raysys.state.many_rows import insert_of
from raysys.state.tables import events, taken_over


class EventRetention:
    """The old events of one dataset group."""

    def __init__(self, dialect_name: str, dataset_group: str) -> None:
        self._dataset_group = dataset_group
        group: BindParameter[str] = bindparam("dataset_group")
        put = insert_of(dialect_name)(taken_over)
        self._put: Executable = put.on_conflict_do_update(
            index_elements=["dataset_group"], set_={"event_num": put.excluded.event_num}
        )
        # As of slates: nothing is appended, so that the order of the primary key is followed.
        oldest = (
            select(events.c.event_num)
            .where(events.c.dataset_group.concat("") == group)
            .order_by(events.c.event_num)
            .limit(bindparam("num_rows"))
            .with_for_update(skip_locked=True)
        )
        up_to = (
            select(func.coalesce(func.max(taken_over.c.event_num), 0))
            .where(taken_over.c.dataset_group == group)
            .scalar_subquery()
        )
        # The last one that was taken over stays: by it the dataset tells where to read on.
        self._delete: Executable = events.delete().where(
            events.c.event_num.in_(oldest),
            events.c.event_num < up_to,
            events.c.received_at_us < bindparam("received_before_us", type_=BigInteger),
        )

    def take_over(self, connection: Connection, event_num: int) -> None:
        """Remember that a dataset has the events up to a number, and that it is the one to ask."""
        connection.execute(
            self._put, {"dataset_group": self._dataset_group, "event_num": event_num}
        )

    def prune(self, connection: Connection, received_before_us: int, at_most: int) -> int:
        """Remove those of the oldest `at_most` that are too old and taken over; return how many."""
        parameters = {
            "dataset_group": self._dataset_group,
            "received_before_us": received_before_us,
            "num_rows": at_most,
        }
        return connection.execute(self._delete, parameters).rowcount
