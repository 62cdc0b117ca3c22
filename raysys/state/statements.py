"""Every statement on events and user states, built once: building costs more than running.

Both dialects write the same INSERT … ON CONFLICT, each by a class of its own. Rows and the
parameters `dataset_group` and `user_ids` are bound when a statement is executed.
"""

from typing import Any

from sqlalchemy import Executable, bindparam, literal, select
from sqlalchemy.dialects import postgresql, sqlite

from raysys.state.tables import events, user_states

_DIALECTS: dict[str, Any] = {"postgresql": postgresql, "sqlite": sqlite}


class Statements:
    """The statements for one dialect, "sqlite" or "postgresql"."""

    def __init__(self, dialect_name: str) -> None:
        insert = _DIALECTS[dialect_name].insert
        self.ping: Executable = select(literal(1))

        # Returns the identities of those rows that were not there before.
        self.insert_events: Executable = (
            insert(events)
            .on_conflict_do_nothing(index_elements=["dataset_group", "identity"])
            .returning(events.c.identity)
        )

        states = user_states.c
        select_states = select(states.user_id, states.version, states.packed).where(
            states.dataset_group == bindparam("dataset_group"),
            states.user_id.in_(bindparam("user_ids", expanding=True)),
        )
        self.select_states: Executable = select_states
        # The rows stay locked until the commit (SQLite has locked the file at BEGIN). Everyone
        # locks in one order, so nobody waits in a circle.
        self.lock_states: Executable = select_states.order_by(states.user_id).with_for_update()

        # Returns the users whose rows were written: where another transaction wrote a version in
        # between, nothing happens.
        upsert = insert(user_states)
        new = upsert.excluded
        self.upsert_states: Executable = upsert.on_conflict_do_update(
            index_elements=["dataset_group", "user_id"],
            set_={"version": new.version, "packed": new.packed},
            where=states.version == new.version - 1,
        ).returning(states.user_id)
