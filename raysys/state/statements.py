"""Every statement, built once: building costs more than running.

Rows (`raysys.state.many_rows`) and the other parameters (`dataset_group`, `user_ids`, `after` and
so on) are bound when a statement is executed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import BigInteger, Executable, Table, bindparam, func, literal, select, text

from raysys.state.many_rows import NewRows, insert_rows_of, is_one_of, parameters
from raysys.state.tables import events, slates, user_states


class Statements:
    """The statements on events, user states and slates for one dialect, "sqlite" or "postgresql".

    Those on items and counts are `raysys.state.item_delta.DeltaStatements`.
    """

    def __init__(self, dialect_name: str) -> None:
        self._dialect_name = dialect_name
        self.ping: Executable = select(literal(1))

        self.new_events = NewRows(dialect_name, events, events.c.identity)

        # Those that were inserted a moment ago, of users who were forgotten.
        self.delete_events: Executable = events.delete().where(
            events.c.dataset_group == bindparam("dataset_group"),
            events.c.identity.in_(bindparam("identities", expanding=True)),
        )
        self.delete_new_slates: Executable = slates.delete().where(
            slates.c.dataset_group == bindparam("dataset_group"),
            slates.c.recommendation_id.in_(bindparam("recommendation_ids", expanding=True)),
        )

        states = user_states.c
        select_states = select(
            states.user_id, states.version, states.packed, states.properties
        ).where(
            states.dataset_group == bindparam("dataset_group"),
            is_one_of(dialect_name, states.user_id, "user_ids"),
        )
        self.select_states: Executable = select_states
        # The rows stay locked until the commit (SQLite has locked the file at BEGIN). Everyone
        # locks in one order, so nobody waits in a circle.
        self.lock_states: Executable = (
            select_states.add_columns(states.joined_to, states.shared_at_us)
            .order_by(states.user_id)
            .with_for_update()
        )

        # Returns the users whose rows were written: where another transaction wrote a version in
        # between, nothing happens.
        upsert = insert_rows_of(dialect_name, user_states)
        new = upsert.excluded
        self.upsert_states: Executable = upsert.on_conflict_do_update(
            index_elements=["dataset_group", "user_id"],
            set_={
                "version": new.version,
                "packed": new.packed,
                "properties": new.properties,
                "joined_to": new.joined_to,
                "shared_at_us": new.shared_at_us,
            },
            where=states.version == new.version - 1,
        ).returning(states.user_id)

        self.new_slates = NewRows(dialect_name, slates, slates.c.recommendation_id)

        # Looks at the oldest few alone, in the order of storing, which is nearly that of showing:
        # where those are young, all are. Several gateways delete at once, each other rows.
        oldest = (
            select(slates.c.slate_num)
            # Nothing is appended, so that no index on the group is used and all of it sorted.
            .where(slates.c.dataset_group.concat("") == bindparam("dataset_group"))
            .order_by(slates.c.slate_num)
            .limit(bindparam("num_rows"))
            .with_for_update(skip_locked=True)
        )
        self.delete_slates: Executable = slates.delete().where(
            slates.c.slate_num.in_(oldest),
            slates.c.shown_at_us < bindparam("shown_before_us", type_=BigInteger),
        )

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        """Return rows as the statements that insert or upsert them want to have them bound."""
        return parameters(self._dialect_name, rows)


class LogStatements:
    """The statements that read everything of a dataset group, block by block."""

    def __init__(self, dialect_name: str) -> None:
        self.event_block: Executable = _block(events, events.c.event_num)
        self.slate_block: Executable = _block(slates, slates.c.slate_num)
        self.last_event_num: Executable = _last(events, events.c.event_num)
        self.last_slate_num: Executable = _last(slates, slates.c.slate_num)
        # With the group as it stands its index would be used, and all of the group be sorted.
        self.next_event: Executable = (
            select(events.c.event_num)
            .where(
                events.c.dataset_group.concat("") == bindparam("dataset_group"),
                events.c.event_num > bindparam("after", type_=BigInteger),
            )
            .order_by(events.c.event_num)
            .limit(1)
        )
        self.event_came: Executable = select(events.c.received_at_us).where(
            events.c.dataset_group == bindparam("dataset_group"),
            events.c.event_num == bindparam("event_num", type_=BigInteger),
        )
        groups = [select(table.c.dataset_group).distinct() for table in (events, slates)]
        self.dataset_groups: Executable = groups[0].union(groups[1])
        states = user_states.c
        self.memberships: Executable = select(
            states.user_id, states.joined_to, states.shared_at_us
        ).where(
            states.dataset_group == bindparam("dataset_group"),
            states.user_id.in_(bindparam("session_ids", expanding=True)),
            states.joined_to != states.user_id,
        )
        self.user_block: Executable = (
            select(states.user_id, states.properties)
            .where(
                states.dataset_group == bindparam("dataset_group"),
                states.user_id > bindparam("after"),
                states.properties.is_not(None),
            )
            .order_by(states.user_id)
            .limit(bindparam("num_rows"))
        )
        # PostgreSQL gives out numbers before the commit, so a smaller one may appear after a larger
        # one was read. Nobody gets this lock while a writer is at work, and whoever writes after it
        # gets larger numbers. SQLite has one writer at a time.
        self.wait_for_writers: Executable | None = None
        if dialect_name == "postgresql":
            self.wait_for_writers = text("LOCK TABLE events, slates IN SHARE MODE")


def _block(table: Table, number: Any) -> Executable:
    return (
        select(table)
        .where(
            table.c.dataset_group == bindparam("dataset_group"),
            number > bindparam("after", type_=BigInteger),
            number <= bindparam("up_to", type_=BigInteger),
        )
        .order_by(number)
        .limit(bindparam("num_rows"))
    )


def _last(table: Table, number: Any) -> Executable:
    return select(func.coalesce(func.max(number), 0)).where(
        table.c.dataset_group == bindparam("dataset_group")
    )
