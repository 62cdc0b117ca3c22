"""Who learns for an application, and what became of each round of learning.

A round belongs to whoever holds the application's lease: one process, for as long as it says again
and again that it is there. One that was killed loses it when the time is over, and then another
takes it. Each holder has a number, larger than that of the one before: what a holder without the
newest number wants of a campaign is refused (`raysys.state.campaigns`), however late it comes.

All times are those of the database's clock, so those of the machines may differ.
"""

import socket
import uuid
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    cast,
    extract,
    func,
    literal_column,
    select,
    update,
)

from raysys.state.database import Database
from raysys.state.learning_rounds import (
    Outcome,
    Round,
    RoundRows,
    judged,
    trained_from_nothing,
)
from raysys.state.many_rows import insert_of
from raysys.state.tables import learning_leases, learning_rounds

_NOBODY = ""


class Lease(msgspec.Struct, frozen=True):
    """The right to learn for an application, until another holder has a larger number."""

    owner: str
    number: int


class Now(msgspec.Struct, frozen=True):
    """The newest rounds, newest first, and what time it is.

    Args:
        is_held: whether somebody holds the lease and has time left.
    """

    now_us: int
    is_held: bool
    rounds: tuple[Round, ...]


class LearningTable:
    """The lease and the rounds of one application; any thread may use it. Errors are those of the
    store."""

    def __init__(self, database: Database, dataset_group: str, application: str) -> None:
        self._database = database
        self._key = {"dataset_group": dataset_group, "application": application}
        self._now_us = clock_of(database.dialect_name)
        self._rounds = RoundRows(self._key, self._now_us)
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
                self._rounds.end(connection, learning_rounds.c.number < number, "lost", _SILENT)
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

    def give_up(self, owner: str, reason: str) -> None:
        """Take the lease from an owner whose process has ended, and tell why its round is lost.

        Nothing happens where another one holds it, and no harm is done if it is alive after all:
        what it wants of a campaign under an old number is refused.
        """

        def write(connection: Connection) -> None:
            connection.execute(
                update(learning_leases)
                .where(self._is_ours(learning_leases), learning_leases.c.owner == owner)
                .values(owner=_NOBODY, expires_at_us=0)
            )
            self._rounds.end(connection, learning_rounds.c.owner == owner, "lost", reason)

        self._database.write(write)

    def begin(self, lease: Lease) -> None:
        """Store that a round began; a lease has one."""

        def write(connection: Connection) -> None:
            if not self._rounds.newest(connection, 1, _is_of(lease)):
                number, owner = lease.number, lease.owner
                self._rounds.add(connection, "running", number=number, owner=owner)

        self._database.write(write)

    def tell(self, lease: Lease, **changes: str) -> None:
        """Store what is known by now of the round of a lease: some members of `Round`."""
        self._database.write(
            lambda connection: self._rounds.change(connection, _is_of(lease), changes)
        )

    def end(self, lease: Lease, status: Outcome, reason: str) -> None:
        """Store what became of the round of a lease; nothing happens where it was lost."""
        self._database.write(
            lambda connection: self._rounds.end(connection, _is_of(lease), status, reason)
        )

    def add(self, status: Outcome, reason: str) -> None:
        """Store a round that ended before anybody began it."""
        self._database.write(lambda connection: self._rounds.add(connection, status, reason=reason))

    def now(self, num_rounds: int = 2) -> Now:
        """Return the newest rounds, and whether one is at work."""
        lease = select(learning_leases.c.expires_at_us).where(self._is_ours(learning_leases))
        clock = select(self._now_us.label("now_us"), lease.scalar_subquery().label("until_us"))

        def read(connection: Connection) -> Now:
            found = self._rounds.newest(connection, num_rounds)
            at = connection.execute(clock).one()
            return Now(at.now_us, (at.until_us or 0) > at.now_us, found)

        return self._database.read(read)

    def newest_full(self) -> Round | None:
        """Return the newest round that trained from nothing and is over; None: there is none."""
        return self._newest(trained_from_nothing())

    def has_judged(self, import_id: str, release: str) -> bool:
        """Say whether a round came to its end on an import of the dataset, from a release or to
        it."""
        return self._newest(judged(import_id, release)) is not None

    def _newest(self, condition: ColumnElement[bool]) -> Round | None:
        found = self._database.read(
            lambda connection: self._rounds.newest(connection, 1, condition)
        )
        return found[0] if found else None

    def _hold(self, connection: Connection, owner: str, number: int, until_us: int) -> None:
        connection.execute(
            update(learning_leases)
            .where(self._is_ours(learning_leases))
            .values(owner=owner, number=number, expires_at_us=until_us)
        )

    def _is_held_by(self, lease: Lease) -> ColumnElement[bool]:
        columns = learning_leases.c
        return and_(columns.owner == lease.owner, columns.number == lease.number)

    def _is_ours(self, table: Any) -> ColumnElement[bool]:
        return and_(*(table.c[name] == value for name, value in self._key.items()))


def owner_of(process: str) -> str:
    """Return a name of its own for a holder; `runs_in` tells of which process of this machine."""
    return f"{socket.gethostname()}/{process}/{uuid.uuid4().hex[:8]}"


def runs_in(owner: str, process: str) -> bool:
    """Say whether an owner was named after a process, see `owner_of`."""
    return owner.split("/")[1:2] == [process]


def _is_of(lease: Lease) -> ColumnElement[bool]:
    return learning_rounds.c.number == lease.number


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
