"""The rows of users' states. Every method runs inside its caller's transaction."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, Executable

from raysys.state.failures import WriteConflict
from raysys.state.statements import Statements
from raysys.state.tombstones import Tombstones
from raysys.state.user_state import NO_STATE, Membership, UserState


class StateRows:
    """The states of one dataset group."""

    def __init__(self, statements: Statements, tombstones: Tombstones, dataset_group: str) -> None:
        self._statements = statements
        self._tombstones = tombstones
        self._dataset_group = dataset_group

    def read(self, connection: Connection, user_ids: Iterable[str]) -> dict[str, UserState]:
        """Return the states of those users of whom there is one."""
        return self._found(connection, self._statements.select_states, user_ids)

    def lock(self, connection: Connection, user_ids: Iterable[str]) -> dict[str, UserState]:
        """Return the state of each user, new or not; until the commit nobody else changes them.

        A new one of an id that was forgotten goes on from the version of the old one.
        """
        wanted = set(user_ids)
        found = self._found(connection, self._statements.lock_states, wanted)
        missing = wanted - found.keys()
        if missing:
            stones = self._tombstones.of(connection, missing)
            for user_id in missing:
                stone = stones.get(user_id)
                found[user_id] = UserState(stone.version) if stone else NO_STATE
        return found

    def describe(self, connection: Connection, properties: Mapping[str, str]) -> None:
        """Let these be the properties of some users; versions grow where they are others."""
        known = self.lock(connection, properties)
        changed = {
            user_id: state.described(text, Membership(user_id))
            for user_id, text in sorted(properties.items())
            if (state := known[user_id]).properties != text
        }
        if changed:
            self.write(connection, changed)

    def write(self, connection: Connection, states: Mapping[str, UserState]) -> None:
        """Store the next version of some states that were locked.

        Raises:
            WriteConflict: a row that was not there to be locked was made meanwhile.
        """
        rows = [
            {
                "dataset_group": self._dataset_group,
                "user_id": user_id,
                "version": state.version,
                "packed": state.pack(),
                "properties": state.properties,
                **state.membership._asdict(),
            }
            for user_id, state in states.items()
        ]
        written = connection.execute(self._statements.upsert_states, self._statements.rows(rows))
        if len(written.all()) < len(rows):
            raise WriteConflict

    def _found(
        self, connection: Connection, query: Executable, user_ids: Iterable[str]
    ) -> dict[str, UserState]:
        parameters = {"dataset_group": self._dataset_group, "user_ids": list(user_ids)}
        return {
            user_id: UserState.unpack(*columns)
            for user_id, *columns in connection.execute(query, parameters)
        }
