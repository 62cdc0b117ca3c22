"""The keys that an operator made for the clients of a dataset group."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import BigInteger, Connection, Executable, bindparam, select, update

from raysys.state.credentials import KeyKind, KeyScope
from raysys.state.database import Database
from raysys.state.many_rows import insert_of
from raysys.state.tables import access_key_versions, access_keys

_SCOPES = msgspec.json.Decoder(tuple[KeyScope, ...])


@dataclass(frozen=True, slots=True)
class StoredKey:
    """What the database holds of a key: nothing with which anybody could show it.

    Args:
        proof: the sealed secret of a signing key, the hash of a bearer token.
        campaign: the only one that the key is good for; None for every one of the dataset group.
        label: the operator's own word for it.
        expires_at_us: from then on it is refused. None: never.
        revoked_at_us: since then it is refused.
    """

    key_id: str
    kind: KeyKind
    proof: bytes = field(repr=False)
    scopes: tuple[KeyScope, ...]
    created_at_us: int
    campaign: str | None = None
    label: str = ""
    expires_at_us: int | None = None
    revoked_at_us: int | None = None

    def is_good(self, now_us: int) -> bool:
        """Say whether it is neither revoked nor past its time."""
        if self.revoked_at_us is not None:
            return False
        return self.expires_at_us is None or now_us < self.expires_at_us


class KeyStatements:
    """The statements on keys for one dialect."""

    def __init__(self, dialect_name: str) -> None:
        insert, keys = insert_of(dialect_name), access_keys.c
        is_in_group = keys.dataset_group == bindparam("its_group")
        self.add: Executable = insert(access_keys).on_conflict_do_nothing(index_elements=["key_id"])
        self.all: Executable = (
            select(access_keys).where(is_in_group).order_by(keys.created_at_us, keys.key_id)
        )
        # The names differ from those of columns, which an UPDATE sets.
        one = is_in_group & (keys.key_id == bindparam("its_key_id"))
        # Returns the id when it is that of a key that was not revoked yet.
        self.revoke: Executable = (
            update(access_keys)
            .where(one, keys.revoked_at_us.is_(None))
            .values(revoked_at_us=bindparam("now_us", type_=BigInteger))
            .returning(keys.key_id)
        )
        self.seal_again: Executable = (
            update(access_keys).where(one).values(proof=bindparam("new_proof"))
        )
        versions = access_key_versions.c
        raised = insert(access_key_versions).values(version=1)
        self.raise_version: Executable = raised.on_conflict_do_update(
            index_elements=["dataset_group"], set_={"version": versions.version + 1}
        )
        self.version: Executable = select(versions.version).where(
            versions.dataset_group == bindparam("dataset_group")
        )


class KeyTable:
    """The keys of one dataset group; any thread may use it. Errors are those of the store."""

    def __init__(self, database: Database, dataset_group: str) -> None:
        self._database = database
        self._statements = KeyStatements(database.dialect_name)
        self._group = {"dataset_group": dataset_group}
        self._its_group = {"its_group": dataset_group}

    def version(self) -> int:
        """Return a number that differs as soon as any key does; 0 while there was never one."""

        def read(connection: Connection) -> int:
            found = connection.execute(self._statements.version, self._group)
            return int(found.scalar_one_or_none() or 0)

        return self._database.read(read)

    def all(self) -> list[StoredKey]:
        """Return every key that was ever made, the oldest first."""
        rows = self._database.read(
            lambda connection: [
                *connection.execute(self._statements.all, self._its_group).mappings()
            ]
        )
        return [
            StoredKey(
                **{
                    **{name: row[name] for name in StoredKey.__slots__},
                    "scopes": _SCOPES.decode(row["scopes"]),
                }
            )
            for row in rows
        ]

    def add(self, key: StoredKey) -> None:
        """Store a key whose id nobody has yet."""
        row = {name: getattr(key, name) for name in StoredKey.__slots__}
        row |= {**self._group, "scopes": msgspec.json.encode(key.scopes).decode()}

        def write(connection: Connection) -> None:
            connection.execute(self._statements.add, row)
            connection.execute(self._statements.raise_version, self._group)

        self._database.write(write)

    def revoke(self, key_id: str, now_us: int) -> None:
        """Refuse a key from now on; one that is revoked, or is not there, stays as it is."""

        def write(connection: Connection) -> None:
            named = {**self._its_group, "its_key_id": key_id, "now_us": now_us}
            if connection.execute(self._statements.revoke, named).first() is not None:
                connection.execute(self._statements.raise_version, self._group)

        self._database.write(write)

    def seal_again(self, proofs: Iterable[tuple[str, bytes]]) -> None:
        """Replace the sealed secrets of some keys, by their ids: all of them or none."""
        rows = [
            {**self._its_group, "its_key_id": key_id, "new_proof": proof}
            for key_id, proof in proofs
        ]

        def write(connection: Connection) -> None:
            if rows:
                connection.execute(self._statements.seal_again, rows)
                connection.execute(self._statements.raise_version, self._group)

        self._database.write(write)
