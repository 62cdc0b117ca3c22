"""Who was forgotten and when, so that old files that are read again do not bring them back.

Ids are not kept. A tombstone holds a keyed hash of the id, the key being drawn when the first user
of a dataset is forgotten: whoever holds an id can ask whether it was forgotten, while nobody can
read off who was. (Short ids can still be tried one by one by whoever holds the dataset.)
"""

import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys import tables
from raysys.errors import DatasetError
from raysys.hashing import keyed_digest
from raysys.parquet_file import read_batches

_DIGEST_BYTES = 16
_KEY = b"key"
_SCHEMA = pa.schema(
    [
        pa.field("digest", pa.binary(_DIGEST_BYTES), nullable=False),
        pa.field("forgotten_at", tables.TIMESTAMP, nullable=False),
    ]
)
_NEVER = np.iinfo(np.int64).min
# Between the fields of a line of CSV, TSV or JSON. Inside of an id they hide it from `of_rows`.
_DELIMITERS = re.compile(r"""[\s,;|"'{}\[\]:]+""")


@dataclass(frozen=True, slots=True)
class Tombstones:
    """The forgotten users of a dataset."""

    key: bytes
    forgotten_at_us: Mapping[bytes, int]
    """By the digest of the id: microseconds since 1970 UTC. Rows at or before it are suppressed."""

    @classmethod
    def none(cls) -> "Tombstones":
        """Return those of a dataset in which nobody was forgotten, with a new key."""
        return cls(secrets.token_bytes(_DIGEST_BYTES), {})

    @classmethod
    def open(cls, path: Path) -> "Tombstones":
        """Read what `save` wrote (DatasetError)."""
        try:
            with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
                table, metadata = reader.read_all(), reader.schema.metadata or {}
            digests = table.column("digest").to_pylist()
            times = table.column("forgotten_at").cast(pa.int64()).to_pylist()
            return cls(
                bytes.fromhex(metadata[_KEY].decode()), dict(zip(digests, times, strict=True))
            )
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise DatasetError(
                f"{path} cannot be read ({error}), so it is not known who must stay forgotten. "
                f"Copy the dataset again from where it is whole."
            ) from error

    def save(self, path: Path) -> None:
        """Write one Arrow IPC file."""
        schema = _SCHEMA.with_metadata({_KEY: self.key.hex()})
        digests = sorted(self.forgotten_at_us)
        times = pa.array([self.forgotten_at_us[one] for one in digests], pa.int64())
        columns = [pa.array(digests, _SCHEMA.field("digest").type), times.cast(tables.TIMESTAMP)]
        with pa.ipc.new_file(str(path), schema) as writer:
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))

    def __len__(self) -> int:
        return len(self.forgotten_at_us)

    def digest(self, user_id: str) -> bytes:
        """Return what stands for a user here."""
        return keyed_digest(user_id, self.key)

    def of(self, user_ids: Iterable[str], forgotten_at_us: int) -> "Tombstones":
        """Return tombstones of these users only, under the same key."""
        return replace(self, forgotten_at_us={self.digest(u): forgotten_at_us for u in user_ids})

    def merged(self, forgotten_at_us: Mapping[bytes, int]) -> "Tombstones":
        """Return these and others; of two times the later one holds."""
        merged = dict(self.forgotten_at_us)
        for digest, time in forgotten_at_us.items():
            merged[digest] = max(time, merged.get(digest, time))
        return replace(self, forgotten_at_us=merged)

    def without(self, digests: Collection[bytes]) -> "Tombstones":
        """Return these but for some."""
        kept = {one: time for one, time in self.forgotten_at_us.items() if one not in digests}
        return replace(self, forgotten_at_us=kept)

    def found_in(self, shard: Path) -> set[bytes]:
        """Return the digests of those users who have interactions in a shard."""
        found: set[bytes] = set()
        for rows in read_batches(shard, ["user_id"]):
            digests = map(self.digest, pc.unique(rows.column(0)).to_pylist())
            found.update(one for one in digests if one in self.forgotten_at_us)
        return found

    def leave_out(self, accepted: pa.Table, quarantine: pa.Table) -> tuple[pa.Table, pa.Table]:
        """Return interactions and quarantine without the rows that are suppressed."""
        suppressed = self.suppress(accepted.column("user_id"), accepted.column("occurred_at"))
        if suppressed.any():
            accepted = accepted.filter(pa.array(~suppressed))
        if (belongs := self.quarantined(quarantine)).any():
            quarantine = quarantine.filter(pa.array(~belongs))
        return accepted, quarantine

    def suppress(
        self, user_ids: pa.ChunkedArray, occurred_at: pa.ChunkedArray
    ) -> NDArray[np.bool_]:
        """Say of each interaction whether its user was forgotten when it happened or later."""
        times = occurred_at.cast(tables.TIMESTAMP).cast(pa.int64()).to_numpy()
        suppressed: NDArray[np.bool_] = self._times_of(user_ids) >= times
        return suppressed

    def name(self, user_ids: pa.ChunkedArray) -> NDArray[np.bool_]:
        """Say of each id whether it is that of a forgotten user; not of null."""
        named: NDArray[np.bool_] = self._times_of(user_ids) != _NEVER
        return named

    def quarantined(self, rows: pa.Table) -> NDArray[np.bool_]:
        """Say which rows of `tables.QUARANTINE` belong to forgotten users, whatever their time.

        A row whose user could not be told belongs to them if one of its fields is the id.
        """
        belongs = self.name(rows.column("user_id"))
        for place in np.flatnonzero(pc.is_null(rows.column("user_id")).to_numpy()).tolist():
            fields = _DELIMITERS.split(rows.column("row")[place].as_py())
            belongs[place] = any(self.digest(one) in self.forgotten_at_us for one in fields if one)
        return belongs

    def _times_of(self, user_ids: pa.ChunkedArray) -> NDArray[np.int64]:
        """Return when each user was forgotten. Each distinct id is hashed once."""
        encoded = pc.dictionary_encode(user_ids, null_encoding="encode").combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # no rows
            return np.empty(0, np.int64)
        times = [
            _NEVER if user_id is None else self.forgotten_at_us.get(self.digest(user_id), _NEVER)
            for user_id in encoded.dictionary.to_pylist()
        ]
        of_rows: NDArray[np.int64] = np.array(times, np.int64)[encoded.indices.to_numpy()]
        return of_rows
