"""Rounds of learning as rows: what became of each, and which of them stay.

    running     it is at work, or was when it ended without a word
    deployed    the campaign answers from the release that it made
    kept        what it learnt was not good enough, so the release stays
    nothing     there was nothing new to learn
    held        somebody rolled the campaign back, and has not deployed since
    failed      something went wrong, and `reason` says what; the release stays
    lost        its process ended, or nothing was heard of it any more, and another one takes over

Of the rounds of an application the newest 1,000 stay, and the newest 1,000 in which there was
nothing to do: without these, a quiet month would push out what was learnt and judged before it.
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from sqlalchemy import ColumnElement, Connection, and_, delete, insert, or_, select, update

from raysys.state.tables import learning_rounds

Outcome = Literal["running", "deployed", "kept", "nothing", "held", "failed", "lost"]

KEPT_ROUNDS = 1_000
_IDLE: tuple[Outcome, ...] = ("nothing", "held")
_JUDGED: tuple[Outcome, ...] = ("deployed", "kept", "nothing")


class Round(msgspec.Struct, frozen=True):
    """One round of learning, as it is stored.

    Args:
        number: of the lease under which it ran; 0: nobody began it.
        step: what it did last.
        mode: UPDATE or FULL; empty where nothing was trained.
        release: the name of the release from which it started; empty before that is known.
        published: the name of the one that it made; empty: none.
        import_id: of the dataset that it learnt from; empty before that is known.
        reason: why it ended as it did.
        began_at_us, ended_at_us: microseconds since 1970 UTC; None: it has not ended.
    """

    round_num: int
    number: int
    owner: str
    status: Outcome
    step: str
    mode: str
    release: str
    published: str
    import_id: str
    reason: str
    began_at_us: int
    ended_at_us: int | None


_COLUMNS = [learning_rounds.c[name] for name in Round.__struct_fields__]


class RoundRows:
    """The rounds of one application, inside a transaction of whoever asks.

    Args:
        key: the dataset group and the application, by column.
        now_us: the database's clock.
    """

    def __init__(self, key: Mapping[str, str], now_us: ColumnElement[int]) -> None:
        self._key = key
        self._now_us = now_us
        columns = learning_rounds.c
        self._is_ours = and_(*(columns[name] == value for name, value in key.items()))

    def newest(
        self, connection: Connection, count: int, *conditions: ColumnElement[bool]
    ) -> tuple[Round, ...]:
        """Return those of which all conditions are true, newest first."""
        query = (
            select(*_COLUMNS)
            .where(self._is_ours, *conditions)
            .order_by(learning_rounds.c.round_num.desc())
            .limit(count)
        )
        return tuple(Round(*row) for row in connection.execute(query).all())

    def add(
        self,
        connection: Connection,
        status: Outcome,
        *,
        number: int = 0,
        owner: str = "",
        reason: str = "",
    ) -> None:
        """Store one that begins now, or that ended before anybody began it; remove the oldest."""
        told = {"number": number, "owner": owner, "status": status, "reason": reason}
        empty = dict.fromkeys(("step", "mode", "release", "published", "import_id"), "")
        ended = None if status == "running" else self._now_us
        times = {"began_at_us": self._now_us, "ended_at_us": ended}
        connection.execute(insert(learning_rounds).values({**self._key, **told, **empty, **times}))
        is_idle = learning_rounds.c.status.in_(_IDLE)
        for kind in (is_idle, ~is_idle):
            self._prune(connection, kind)

    def change(
        self, connection: Connection, which: ColumnElement[bool], changes: Mapping[str, Any]
    ) -> None:
        """Change those that are at work."""
        is_running = learning_rounds.c.status == "running"
        connection.execute(
            update(learning_rounds).where(self._is_ours, which, is_running).values(changes)
        )

    def end(
        self, connection: Connection, which: ColumnElement[bool], status: Outcome, reason: str
    ) -> None:
        """End those that are at work."""
        changes = {"status": status, "reason": reason, "ended_at_us": self._now_us}
        self.change(connection, which, changes)

    def _prune(self, connection: Connection, kind: ColumnElement[bool]) -> None:
        """Remove all of a kind but the newest."""
        number = learning_rounds.c.round_num
        which = and_(self._is_ours, kind)
        newest = select(number).where(which).order_by(number.desc())
        oldest_kept = newest.offset(KEPT_ROUNDS - 1).limit(1).scalar_subquery()
        connection.execute(delete(learning_rounds).where(which, number < oldest_kept))


def trained_from_nothing() -> ColumnElement[bool]:
    """Return the condition that a round did so, and is over."""
    return and_(learning_rounds.c.mode == "FULL", learning_rounds.c.status != "running")


def judged(import_id: str, release: str) -> ColumnElement[bool]:
    """Return the condition that a round came to its end on an import of the dataset, from a release
    or to it."""
    columns = learning_rounds.c
    is_of_it = or_(columns.release == release, columns.published == release)
    return and_(columns.import_id == import_id, columns.status.in_(_JUDGED), is_of_it)
