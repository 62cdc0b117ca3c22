"""Reads all events, slates and put users of a dataset group, block by block, however many there
are."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Executable

from raysys.state.database import Database
from raysys.state.events import Event
from raysys.state.sessions import user_of
from raysys.state.shown_lists import ShownLists, Told
from raysys.state.slates import Slate
from raysys.state.statements import LogStatements
from raysys.state.user_state import Membership
from raysys.state.users import User

_IMPRESSION = msgspec.json.Decoder(tuple[str, ...])


@dataclass(frozen=True, slots=True)
class LogEnd:
    """The newest event and the newest slate at one moment; 0 where there is none.

    What is stored later has larger numbers, so reading up to here twice finds the same twice.
    """

    event_num: int
    slate_num: int


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event and its place among all events; numbers grow, with gaps."""

    event_num: int
    event: Event


@dataclass(frozen=True, slots=True)
class StoredSlate:
    """A slate, its place among all slates, and what events tell of it.

    Args:
        clicked_item_ids: those of its items that were clicked in it.
        visible_item_ids: what clients say that was visible of it, among which may be other items;
            None where none said so.
    """

    slate_num: int
    slate: Slate
    clicked_item_ids: frozenset[str]
    visible_item_ids: frozenset[str] | None = None


class LogReader:
    """The events and slates of one dataset group in the order in which they were stored, and users.

    Each block is a statement of its own: nobody is held up, and memory holds one block.
    """

    def __init__(self, database: Database, dataset_group: str) -> None:
        self._database = database
        self.dataset_group = dataset_group
        self._statements = LogStatements(database.dialect_name)
        self._lists = ShownLists(dataset_group)

    def end(self) -> LogEnd:
        """Return where the log ends now; on PostgreSQL writers wait for each other meanwhile."""
        wait = self._statements.wait_for_writers

        def read(connection: Connection) -> LogEnd:
            if wait is not None:
                connection.execute(wait)
            numbers = [
                connection.execute(statement, {"dataset_group": self.dataset_group}).scalar_one()
                for statement in (self._statements.last_event_num, self._statements.last_slate_num)
            ]
            return LogEnd(*numbers)

        return self._database.write(read)

    def has_events(self, *, after: int) -> bool:
        """Say whether there is an event with a number larger than `after`; nobody waits for it."""
        parameters = {"dataset_group": self.dataset_group, "after": after}
        return bool(self._read(self._statements.next_event, parameters))

    def received_at_us(self, event_num: int) -> int | None:
        """Return when an event came, in microseconds since 1970 UTC; None: there is no such one."""
        parameters = {"dataset_group": self.dataset_group, "event_num": event_num}
        rows = self._read(self._statements.event_came, parameters)
        return rows[0]["received_at_us"] if rows else None

    def events(
        self, end: LogEnd, *, after: int = 0, block_size: int = 20_000
    ) -> Iterator[list[StoredEvent]]:
        """Yield the events whose numbers are larger than `after`, up to `end`; no empty block.

        Those of a visitor whose session has joined a user by now are events of that user.
        """
        for rows in self._blocks(
            self._statements.event_block, "event_num", after, end.event_num, block_size
        ):
            visitors = {row["user_id"] for row in rows if row["user_id"] == row["session_id"]}
            memberships = self._memberships(visitors) if visitors else {}
            yield [_stored_event(row, memberships) for row in rows]

    def slates(self, end: LogEnd, *, block_size: int = 2_000) -> Iterator[list[StoredSlate]]:
        """Yield all slates up to `end`, each with what events up to `end` tell of it."""
        for rows in self._blocks(
            self._statements.slate_block, "slate_num", 0, end.slate_num, block_size
        ):
            told = self._told([row["recommendation_id"] for row in rows], end.event_num)
            yield [_stored_slate(row, told[row["recommendation_id"]]) for row in rows]

    def users(self, *, block_size: int = 20_000) -> Iterator[list[User]]:
        """Yield all users that were put, as their newest put tells of them; no empty block.

        Who is put meanwhile may be among them or not.
        """
        after = ""
        while True:
            rows = self._read(
                self._statements.user_block,
                {"dataset_group": self.dataset_group, "after": after, "num_rows": block_size},
            )
            if not rows:
                return
            yield [User(row["user_id"], row["properties"]) for row in rows]
            after = rows[-1]["user_id"]

    def dataset_groups(self) -> list[str]:
        """Return the groups of which the database holds events or slates. Reads all of it."""
        statement = self._statements.dataset_groups
        return sorted(
            self._database.read(lambda connection: connection.execute(statement).scalars().all())
        )

    def _blocks(
        self, statement: Executable, number: str, after: int, up_to: int, block_size: int
    ) -> Iterator[list[Mapping[str, Any]]]:
        while after < up_to:
            parameters = {
                "dataset_group": self.dataset_group,
                "after": after,
                "up_to": up_to,
                "num_rows": block_size,
            }
            rows = self._read(statement, parameters)
            if not rows:
                return
            yield rows
            after = rows[-1][number]

    def _told(self, recommendation_ids: Iterable[str], up_to: int) -> dict[str, Told]:
        return self._database.read(
            lambda connection: self._lists.told(connection, recommendation_ids, up_to=up_to)
        )

    def _memberships(self, session_ids: Iterable[str]) -> dict[str, Membership]:
        ids = [*session_ids]
        parameters = {"dataset_group": self.dataset_group, "session_ids": ids}
        rows = self._read(self._statements.memberships, parameters)
        return {row["user_id"]: Membership(row["joined_to"], row["shared_at_us"]) for row in rows}

    def _read(
        self, statement: Executable, parameters: Mapping[str, Any]
    ) -> list[Mapping[str, Any]]:
        return self._database.read(
            lambda connection: [*connection.execute(statement, parameters).mappings()]
        )


def _stored_event(row: Mapping[str, Any], memberships: Mapping[str, Membership]) -> StoredEvent:
    members = {name: row[name] for name in Event.__slots__}
    user_id = members["user_id"]
    if user_id in memberships and user_id == members["session_id"]:
        members["user_id"] = user_of(user_id, row["received_at_us"], memberships[user_id])
    if members["impression"] is not None:
        members["impression"] = _IMPRESSION.decode(members["impression"])
    return StoredEvent(row["event_num"], Event(**members))


def _stored_slate(row: Mapping[str, Any], told: Told) -> StoredSlate:
    slate = Slate.from_row({name: row[name] for name in Slate.__slots__})
    clicked = frozenset(told.clicks).intersection(slate.item_ids)
    return StoredSlate(row["slate_num"], slate, clicked, told.visible())
