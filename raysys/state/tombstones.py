"""Who was forgotten and when, so that what still arrives of them does not bring them back.

Ids are not kept: a tombstone holds a hash of the id, under a key that is drawn when the first user
of a dataset group is forgotten. Every method runs inside its caller's transaction.
"""

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import BindParameter, Connection, Executable, bindparam, case, select

from raysys.hashing import keyed_digest
from raysys.state.many_rows import insert_of
from raysys.state.tables import tombstone_keys, tombstones

_KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Tombstone:
    """What is remembered of one forgotten user.

    Args:
        forgotten_at_us: microseconds since 1970 UTC; what happened until then is not stored.
        version: the last one that their state had. The state of a new user of that id goes on from
            there, so that no cache takes the one for the other.
    """

    forgotten_at_us: int
    version: int


class Tombstones:
    """The forgotten users of one dataset group."""

    def __init__(self, dialect_name: str, dataset_group: str) -> None:
        self._dataset_group = dataset_group
        self._key: bytes | None = None  # once there is one it stays
        insert = insert_of(dialect_name)
        group: BindParameter[str] = bindparam("dataset_group")
        self._select_key: Executable = select(tombstone_keys.c.key).where(
            tombstone_keys.c.dataset_group == group
        )
        self._insert_key: Executable = insert(tombstone_keys).on_conflict_do_nothing()
        rows = tombstones.c
        self._select: Executable = select(rows.digest, rows.forgotten_at_us, rows.version).where(
            rows.dataset_group == group, rows.digest.in_(bindparam("digests", expanding=True))
        )
        put = insert(tombstones)
        new = put.excluded
        later = case(
            (new.forgotten_at_us > rows.forgotten_at_us, new.forgotten_at_us),
            else_=rows.forgotten_at_us,
        )
        higher = case((new.version > rows.version, new.version), else_=rows.version)
        self._put: Executable = put.on_conflict_do_update(
            index_elements=["dataset_group", "digest"],
            set_={"forgotten_at_us": later, "version": higher},
        )

    def of(self, connection: Connection, user_ids: Iterable[str]) -> dict[str, Tombstone]:
        """Return the tombstones of those users who have one."""
        key = self._known_key(connection)
        if key is None:
            return {}
        by_digest = {keyed_digest(user_id, key): user_id for user_id in user_ids}
        parameters = {"dataset_group": self._dataset_group, "digests": [*by_digest]}
        return {
            by_digest[bytes(digest)]: Tombstone(forgotten_at_us, version)
            for digest, forgotten_at_us, version in connection.execute(self._select, parameters)
        }

    def suppressed(
        self, connection: Connection, happened: Iterable[tuple[str, str, int]]
    ) -> set[str]:
        """Return the names of those things that happened to users before they were forgotten.

        To be asked once the things are written: then whoever forgets at this moment either has
        ended, and is heard of here, or waits for this transaction, and finds them.

        Args:
            happened: name, user id, microseconds since 1970 UTC.
        """
        things = [*happened]
        stones = self.of(connection, {user_id for _, user_id, _ in things}) if things else {}
        return {
            name
            for name, user_id, at_us in things
            if user_id in stones and at_us <= stones[user_id].forgotten_at_us
        }

    def put(self, connection: Connection, stones: Mapping[str, Tombstone]) -> None:
        """Remember users; of two times and of two versions the later one holds."""
        key = self._known_key(connection)
        if key is None:
            row = {"dataset_group": self._dataset_group, "key": secrets.token_bytes(_KEY_BYTES)}
            connection.execute(self._insert_key, row)
            key = connection.execute(self._select_key, row).scalar_one()
        rows = [
            {
                "dataset_group": self._dataset_group,
                "digest": keyed_digest(user_id, key),
                "forgotten_at_us": stone.forgotten_at_us,
                "version": stone.version,
            }
            for user_id, stone in stones.items()
        ]
        connection.execute(self._put, rows)

    def _known_key(self, connection: Connection) -> bytes | None:
        if self._key is None:
            row = {"dataset_group": self._dataset_group}
            self._key = connection.execute(self._select_key, row).scalar_one_or_none()
        return self._key
