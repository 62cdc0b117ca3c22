"""States say of what type and value each interaction is, as the events do."""

from itertools import groupby

import msgspec
import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_events = sa.table(
    "events",
    sa.column("event_num"),
    sa.column("dataset_group"),
    sa.column("user_id"),
    sa.column("item_id"),
    sa.column("event_type"),
    sa.column("occurred_at_us"),
    sa.column("event_value"),
)
_states = sa.table(
    "user_states",
    sa.column("dataset_group"),
    sa.column("user_id"),
    sa.column("version"),
    sa.column("packed", sa.LargeBinary),
)


def upgrade() -> None:
    connection = op.get_bind()
    events = _events.c
    interactions = (events.item_id, events.occurred_at_us, events.event_type, events.event_value)
    found = connection.execute(
        sa.select(events.dataset_group, events.user_id, *interactions)
        .where(events.item_id.is_not(None))
        .order_by(events.dataset_group, events.user_id, events.occurred_at_us, events.event_num),
        execution_options={"stream_results": True, "yield_per": 1000},
    )
    for (group, user_id), rows in groupby(found, key=lambda row: (row[0], row[1])):
        is_theirs = sa.and_(_states.c.dataset_group == group, _states.c.user_id == user_id)
        asked = sa.select(_states.c.version, _states.c.packed).where(is_theirs)
        version, packed = connection.execute(asked).one()
        item_ids, _ = msgspec.msgpack.decode(packed)  # as many are kept as there were
        newest = [tuple(row[2:]) for row in rows][-len(item_ids) :]
        values = {"version": version + 1, "packed": msgspec.msgpack.encode(newest)}
        connection.execute(sa.update(_states).where(is_theirs).values(values))
