"""Who learns for an application, and what became of each round of learning.

A round belongs to whoever holds the application's lease: one process, for as long as it says again
and again that it is there. One that was killed loses it when the time is over, and then another
takes it. Each holder has a number, larger than that of the one before: what a holder without the
newest number wants of a campaign is refused (`raysys.state.campaigns`), however late it comes.

All times are those of the database's clock, so those of the machines may differ.

    running     it is at work, or was when it ended without a word
    deployed    the campaign answers from the release that it made
    kept        what it learnt was not good enough, so the release stays
    nothing     there was nothing new to learn
    failed      something went wrong, and `reason` says what; the release stays
    lost        another one took over, since nothing was heard of it any more
"""

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    cast,
    extract,
    func,
    insert,
    literal_column,
    select,
    update,
)

from raysys.state.database import Database
from raysys.state.many_rows import insert_of
from raysys.state.tables import learning_leases, learning_rounds

Outcome = Literal["running", "deployed", "kept", "nothing", "failed", "lost"]

_NOBODY = ""


class Lease(msgspec.Struct, frozen=True):
    """The right to learn for an application, until another holder has a larger number."""

    owner: str
    number: int


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


class Now(msgspec.Struct, frozen=True):
    """The newest rounds, newest first, and what time it is.

    Args:
        is_held: whether somebody holds the lease and has time left.
    """

    now_us: int
    is_held: bool
    rounds: tuple[Round, ...]


_COLUMNS = [learning_rounds.c[name] for name in Round.__struct_fields__]


class LearningTable:
    """The lease and the rounds of one application; any thread may use it. Errors are those of the
    store."""

    def __init__(self, database: Database, dataset_group: str, application: str) -> None:
        self._database = database
        self._key = {"dataset_group": dataset_group, "application": application}
        self._now_us = clock_of(database.dialect_name)
        self._first = insert_of(database.dialect_name)(learning_leases).on_conflict_do_nothing()

    def acquire(self, owner: str, seconds: float) -> Lease | None:
        """Return the lease, good for so long; None while another owner has it.

        Whoever had it before and said nothing any more is given up: its round is lost.
        """

        def write(connection: Connection) -> Lease | None:
            free = {**self._key, "number": 0, "owner": _NOBODY, "expires_at_us": 0}
            connection.execute(self._first, free)
            row = connection.execute(
                select(learning_leases, self._now_us.label("now_us"))
                .where(self._is_ours(learning_leases))
                .with_for_update()
            ).one()
            if row.owner == owner:
                number = row.number
            elif row.expires_at_us > row.now_us:
                return None
            else:
                number = row.number + 1
                self._end(connection, learning_rounds.c.number < number, "lost", _SILENT)
            self._hold(connection, owner, number, row.now_us + _us(seconds))
            return Lease(owner, number)

        return self._database.write(write)

    def renew(self, lease: Lease, seconds: float) -> bool:
        """Go on holding it for so long; False: another one holds it, or did since."""

        def write(connection: Connection) -> bool:
            until_us = self._now_us + _us(seconds)
            found = connection.execute(
                update(learning_leases)
                .where(self._is_ours(learning_leases), self._is_held_by(lease))
                .values(expires_at_us=until_us)
            )
            return bool(found.rowcount)

        return self._database.write(write)

    def release(self, lease: Lease) -> None:
        """Let the next one take it at once; nothing happens where it was lost."""
        self._database.write(
            lambda connection: connection.execute(
                update(learning_leases)
                .where(self._is_ours(learning_leases), self._is_held_by(lease))
                .values(owner=_NOBODY, expires_at_us=0)
            )
        )

    def begin(self, lease: Lease) -> None:
        """Store that a round began; a lease has one."""

        def write(connection: Connection) -> None:
            is_its = learning_rounds.c.number == lease.number
            found = select(learning_rounds.c.round_num).where(
                self._is_ours(learning_rounds), is_its
            )
            if connection.execute(found).first() is None:
                self._insert(connection, number=lease.number, owner=lease.owner, status="running")

        self._database.write(write)

    def tell(self, lease: Lease, **changes: str) -> None:
        """Store what is known by now of the round of a lease: some members of `Round`."""
        self._change(lease, changes)

    def end(self, lease: Lease, status: Outcome, reason: str) -> None:
        """Store what became of the round of a lease; nothing happens where it was lost."""
        self._change(lease, {"status": status, "reason": reason, "ended_at_us": self._now_us})

    def add(self, status: Outcome, reason: str) -> None:
        """Store a round that ended before anybody began it."""
        self._database.write(
            lambda connection: self._insert(
                connection, number=0, owner="", status=status, reason=reason, ended_at=self._now_us
            )
        )

    def now(self, num_rounds: int = 2) -> Now:
        """Return the newest rounds, and whether one is at work."""
        rounds = (
            select(*_COLUMNS)
            .where(self._is_ours(learning_rounds))
            .order_by(learning_rounds.c.round_num.desc())
            .limit(num_rounds)
        )
        lease = select(learning_leases.c.expires_at_us).where(self._is_ours(learning_leases))
        clock = select(self._now_us.label("now_us"), lease.scalar_subquery().label("until_us"))

        def read(connection: Connection) -> Now:
            found = connection.execute(rounds).all()
            at = connection.execute(clock).one()
            return Now(
                at.now_us, (at.until_us or 0) > at.now_us, tuple(Round(*row) for row in found)
            )

        return self._database.read(read)

    def _hold(self, connection: Connection, owner: str, number: int, until_us: int) -> None:
        connection.execute(
            update(learning_leases)
            .where(self._is_ours(learning_leases))
            .values(owner=owner, number=number, expires_at_us=until_us)
        )

    def _insert(
        self,
        connection: Connection,
        *,
        number: int,
        owner: str,
        status: Outcome,
        reason: str = "",
        ended_at: Any = None,
    ) -> None:
        told = {"number": number, "owner": owner, "status": status, "reason": reason}
        empty = dict.fromkeys(("step", "mode", "release", "published", "import_id"), "")
        times = {"began_at_us": self._now_us, "ended_at_us": ended_at}
        connection.execute(insert(learning_rounds).values({**self._key, **told, **empty, **times}))

    def _change(self, lease: Lease, changes: Mapping[str, Any]) -> None:
        def write(connection: Connection) -> None:
            is_its = learning_rounds.c.number == lease.number
            self._set(connection, is_its, changes)

        self._database.write(write)

    def _end(
        self, connection: Connection, which: ColumnElement[bool], status: Outcome, reason: str
    ) -> None:
        changes = {"status": status, "reason": reason, "ended_at_us": self._now_us}
        self._set(connection, which, changes)

    def _set(
        self, connection: Connection, which: ColumnElement[bool], changes: Mapping[str, Any]
    ) -> None:
        is_running = learning_rounds.c.status == "running"
        connection.execute(
            update(learning_rounds)
            .where(self._is_ours(learning_rounds), which, is_running)
            .values(changes)
        )

    def _is_held_by(self, lease: Lease) -> ColumnElement[bool]:
        columns = learning_leases.c
        return and_(columns.owner == lease.owner, columns.number == lease.number)

    def _is_ours(self, table: Any) -> ColumnElement[bool]:
        return and_(*(table.c[name] == value for name, value in self._key.items()))


_SILENT = "Nothing was heard of it any more: its process ended, or could not reach the database."


def newest_number(connection: Connection, dataset_group: str, application: str) -> int:
    """Return the number of the newest lease, which nobody changes until the transaction ends."""
    columns = learning_leases.c
    found = connection.execute(
        select(columns.number)
        .where(columns.dataset_group == dataset_group, columns.application == application)
        .with_for_update()
    ).scalar()
    return 0 if found is None else int(found)


def clock_of(dialect_name: str) -> ColumnElement[int]:
    """Return the database's own time, in microseconds since 1970 UTC."""
    if dialect_name == "postgresql":  # now() would be when the transaction began
        return cast(extract("epoch", func.clock_timestamp()) * 1_000_000, BigInteger)
    return literal_column(
        "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)", BigInteger
    )


def _us(seconds: float) -> int:
    return round(seconds * 1_000_000)
