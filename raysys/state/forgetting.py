"""Takes users out of the database, with the sessions that joined them, in steps that hold nobody up
for long.

The first step decides: the tombstones are there and the states are gone, and whatever is written
later obeys the tombstones. The others only remove what can no longer be added to. So whoever is
killed in between runs it again with the same users, and it ends the same.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Connection, Executable, Table, bindparam, func, select, text

from raysys.state.database import Database
from raysys.state.tables import events, slates, user_states
from raysys.state.tombstones import Tombstone, Tombstones

T = TypeVar("T")

_ROWS_READ = 20_000
_ROWS_CHANGED = 500  # by one transaction; beside them the sessions of so many users


@dataclass(frozen=True, slots=True)
class ForgottenRows:
    """How many rows a forgetting removes from each table.

    Args:
        session_ids: the sessions that had joined the users. They were forgotten along, but for the
            rows that say whose they are: see `Forgetting.forget_sessions`.
    """

    events: int = 0
    user_states: int = 0
    slates: int = 0
    session_ids: frozenset[str] = frozenset()


class _Log:
    """The statements on a table of things that happened to users, which grows at its end."""

    def __init__(self, table: Table, number: Any, happened_at_us: Any) -> None:
        of_group = table.c.dataset_group == bindparam("dataset_group")
        self.name = table.name
        self.last: Executable = select(func.coalesce(func.max(number), 0)).where(of_group)
        self.block: Executable = (
            select(number.label("number"), table.c.user_id, happened_at_us.label("at_us"))
            .where(
                of_group,
                number > bindparam("after", type_=BigInteger),
                number <= bindparam("up_to", type_=BigInteger),
            )
            .order_by(number)
            .limit(_ROWS_READ)
        )
        # The users too: SQLite gives the number of a removed newest row out again.
        self.delete: Executable = table.delete().where(
            of_group,
            number.in_(bindparam("numbers", expanding=True)),
            table.c.user_id.in_(bindparam("user_ids", expanding=True)),
        )


_LOGS = (
    _Log(events, events.c.event_num, events.c.occurred_at_us),
    _Log(slates, slates.c.slate_num, slates.c.shown_at_us),
)
_STATES = (
    user_states.c.dataset_group == bindparam("dataset_group"),
    user_states.c.user_id.in_(bindparam("user_ids", expanding=True)),
)
_SELECT_STATES = (
    select(user_states.c.user_id, user_states.c.version)
    .where(*_STATES)
    .order_by(user_states.c.user_id)
    .with_for_update()
)
_DELETE_STATES = user_states.delete().where(*_STATES)
_SELECT_SESSIONS = select(user_states.c.user_id).where(
    user_states.c.dataset_group == bindparam("dataset_group"),
    user_states.c.joined_to.in_(bindparam("user_ids", expanding=True)),
    user_states.c.joined_to != user_states.c.user_id,
)


class Forgetting:
    """Takes users out of one dataset group."""

    def __init__(
        self,
        database: Database,
        dataset_group: str,
        on_progress: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self._database = database
        self._on_progress = on_progress
        self._dataset_group = dataset_group
        self._tombstones = Tombstones(database.dialect_name, dataset_group)

    def forget(self, user_ids: Iterable[str], now_us: int) -> ForgottenRows:
        """Remove the events, states and slates of users, and remember that it was done.

        Reads all events and slates, block by block, for there is no index on their users: few are
        forgotten, and an index would be paid for with each event.

        Args:
            now_us: microseconds since 1970 UTC; later events are those of new users.
        """
        users, removed, ends = set(user_ids), Counter[str](), [0] * len(_LOGS)
        session_ids: set[str] = set()
        for part in _parts(sorted(users)):
            num_states, theirs, ends = self._write(partial(self._begin, part, now_us))
            removed[user_states.name] += num_states
            session_ids |= theirs
        session_ids -= users
        removed[user_states.name] += len(session_ids)
        wanted = users | session_ids
        before, total = 0, sum(ends)
        for log, end in zip(_LOGS, ends, strict=True):
            for rows in self._blocks(log, end):
                for part in _parts([row for row in rows if row.user_id in wanted]):
                    removed[log.name] += self._write(partial(self._remove, log, part))
                self._on_progress(before + rows[-1].number, total)
            before += end
        self._empty_write_ahead_log()
        return ForgottenRows(**removed, session_ids=frozenset(session_ids))

    def forget_sessions(self, session_ids: Iterable[str], now_us: int) -> None:
        """Remove what says whose these sessions were.

        The last step, for when their users are forgotten elsewhere too: without it nobody could
        tell, after a crash, which sessions are still to be forgotten there.
        """
        for part in _parts(sorted(session_ids)):
            self._write(partial(self._entomb, part, now_us))
        self._empty_write_ahead_log()

    def _begin(
        self, user_ids: Sequence[str], now_us: int, connection: Connection
    ) -> tuple[int, set[str], list[int]]:
        """Let users and their sessions have a tombstone, and users no state.

        Returns how many had one, their sessions, and where the logs end.
        """
        if connection.dialect.name == "postgresql":
            # Whoever wrote without having seen the tombstones ends first; all others see them.
            tables = "events, slates, user_states"
            connection.execute(text(f"LOCK TABLE {tables} IN SHARE ROW EXCLUSIVE MODE"))
        parameters = {"dataset_group": self._dataset_group, "user_ids": user_ids}
        session_ids = set(connection.execute(_SELECT_SESSIONS, parameters).scalars())
        if session_ids:
            stones = dict.fromkeys(session_ids, Tombstone(now_us, 0))
            self._tombstones.put(connection, stones)
        num_states = self._entomb(user_ids, now_us, connection)
        ends = [connection.execute(log.last, parameters).scalar_one() for log in _LOGS]
        return num_states, session_ids, ends

    def _entomb(self, user_ids: Sequence[str], now_us: int, connection: Connection) -> int:
        """Let users have a tombstone and no state; return how many had one."""
        parameters = {"dataset_group": self._dataset_group, "user_ids": user_ids}
        states = connection.execute(_SELECT_STATES, parameters).all()
        versions = {state.user_id: state.version for state in states}
        stones = {user: Tombstone(now_us, versions.get(user, 0)) for user in user_ids}
        self._tombstones.put(connection, stones)
        connection.execute(_DELETE_STATES, parameters)
        return len(states)

    def _blocks(self, log: _Log, end: int) -> Iterator[Sequence[Any]]:
        after = 0
        while after < end:
            rows = self._database.read(partial(self._block, log, after, end))
            if not rows:
                return
            yield rows
            after = rows[-1].number

    def _block(self, log: _Log, after: int, end: int, connection: Connection) -> Sequence[Any]:
        parameters = {"dataset_group": self._dataset_group, "after": after, "up_to": end}
        return connection.execute(log.block, parameters).all()

    def _remove(self, log: _Log, rows: Sequence[Any], connection: Connection) -> int:
        """Remove rows; what was to happen in the future is not taken from a retry either."""
        latest: dict[str, int] = {}
        for row in rows:
            latest[row.user_id] = max(row.at_us, latest.get(row.user_id, row.at_us))
        self._tombstones.put(connection, {user: Tombstone(at, 0) for user, at in latest.items()})
        parameters = {
            "dataset_group": self._dataset_group,
            "numbers": [row.number for row in rows],
            "user_ids": [*latest],
        }
        return connection.execute(log.delete, parameters).rowcount

    def _empty_write_ahead_log(self) -> None:
        """Let SQLite's begin anew, which holds what was there until then."""
        if self._database.dialect_name == "sqlite":
            checkpoint = text("PRAGMA wal_checkpoint(TRUNCATE)")
            self._database.read(lambda connection: connection.execute(checkpoint).all())

    def _write(self, step: Callable[[Connection], T]) -> T:
        def transaction(connection: Connection) -> T:
            if connection.dialect.name == "sqlite":
                # Bytes that are left in the file would outlive the rows.
                connection.execute(text("PRAGMA secure_delete = ON")).all()
            return step(connection)

        return self._database.write(transaction)


def _parts(things: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), _ROWS_CHANGED):
        yield things[start : start + _ROWS_CHANGED]
