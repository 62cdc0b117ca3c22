"""What happened to each user, oldest first, as three flat arrays.

The interactions of the user in row r are `item_nums[offsets[r]:offsets[r + 1]]`. Everything here
is a view or one vectorised pass; nothing loops over users.

Letters for shapes:
    U  users
    T  interactions of all users
    B  chosen rows
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike, NDArray

from raysys import arrow_file, tables
from raysys.lookup import RowLookup, Texts

SCHEMA = pa.schema([*tables.HISTORIES, *tables.LOOKUP])
"""Of a file of interactions that all weigh 1 and are of one type."""
_MORE = {
    field.name: field
    for field in (
        tables.HISTORY_WEIGHTS,
        tables.HISTORY_EVENT_TYPES,
        tables.HISTORY_CONTEXTS,
        tables.HISTORY_LABELS,
    )
}
_SAVED = ("weights", "event_types", "contexts")
"""Of these, what a file keeps; each only where there are some."""
_KIND = "histories"

SEEN_ONLY = -1.0
"""The weight of an interaction that is neither learnt nor read, and whose item counts as seen."""

BLOCK_INTERACTIONS = 1 << 20
"""What is worked on at a time, where histories are larger than memory."""


@dataclass(frozen=True, slots=True, eq=False)
class Histories:
    """Interactions by user. Arrays of an opened file are read-only; copy before writing to them."""

    user_ids: pa.StringArray
    """(U,), distinct."""
    offsets: NDArray[np.int64]
    """(U + 1,), from 0 to T."""
    item_nums: NDArray[np.int32]
    """(T,); 0 where the vocabulary does not know the item."""
    occurred_at_us: NDArray[np.int64]
    """(T,) microseconds since 1970 UTC, never falling within a user."""
    vocabulary_hash: str = ""
    """Of the vocabulary that gave the item numbers; empty where that does not matter."""
    weights: NDArray[np.float32] | None = None
    """(T,): above 0, how much it counts to find this item; 0: it is read and never to be found;
    `SEEN_ONLY`. None: all are 1."""
    labels: NDArray[np.float32] | None = None
    """(T,) what explicit feedback learns to predict; nan where there is nothing. None: no labels.
    No file keeps them: they are for learning alone."""
    event_types: NDArray[np.int16] | None = None
    """(T,) numbers of `EventTypes`. None: they are not told apart."""
    contexts: NDArray[np.int64] | None = None
    """(T,) codes of `ContextEncoder`: what each interaction happened in. None: nothing is known."""
    asked_in: NDArray[np.int64] | None = None
    """(U,) codes of the contexts in which the users ask now. None: nothing is known. No file keeps
    them."""
    _lookups: list[RowLookup] = field(default_factory=list, repr=False)
    """Empty until `rows_of` is first asked, then one."""

    def __post_init__(self) -> None:
        num_users, num_interactions = len(self.user_ids), len(self.item_nums)
        if (
            len(self.offsets) != num_users + 1
            or self.offsets[0] != 0
            or self.offsets[-1] != num_interactions
            or len(self.occurred_at_us) != num_interactions
            or any(len(each) != num_interactions for each in self._more().values())
        ):
            raise ValueError(
                f"Histories of {num_users} users need {num_users + 1} offsets that end at the "
                f"number of interactions, but got {len(self.offsets)} offsets, "
                f"{num_interactions} items, {len(self.occurred_at_us)} times"
                + "".join(f", {len(each)} {name}" for name, each in self._more().items())
                + "."
            )

    @classmethod
    def from_lists(
        cls,
        user_ids: Sequence[str],
        item_nums: Sequence[ArrayLike],
        occurred_at_us: Sequence[ArrayLike],
        *,
        weights: Sequence[ArrayLike] | None = None,
        event_types: Sequence[ArrayLike] | None = None,
        vocabulary_hash: str = "",
    ) -> "Histories":
        """Build from one list of items, of times and so on per user, each oldest first."""
        items = [np.asarray(nums, dtype=np.int32) for nums in item_nums]
        times = [np.asarray(times, dtype=np.int64) for times in occurred_at_us]
        lengths = np.fromiter((len(nums) for nums in items), dtype=np.int64, count=len(items))
        return cls(
            pa.array(user_ids, type=pa.string()),
            offsets_of(lengths),
            np.concatenate([np.zeros(0, np.int32), *items]),
            np.concatenate([np.zeros(0, np.int64), *times]),
            vocabulary_hash,
            weights=_end_to_end(weights, np.float32),
            event_types=_end_to_end(event_types, np.int16),
        )

    @classmethod
    def from_table(cls, table: pa.Table, *, vocabulary_hash: str = "") -> "Histories":
        """Read a table of `tables.HISTORIES`, which what only some histories have may follow."""
        more = [name for name in _MORE if name in table.column_names]
        schema = _with_more(tables.HISTORIES, more)
        batch = table.select(schema.names).cast(schema).combine_chunks()
        columns = [
            column.chunk(0) if column.num_chunks else pa.array([], column.type)
            for column in batch.columns
        ]
        return _of_columns(columns, more, vocabulary_hash=vocabulary_hash)

    def to_table(self) -> pa.Table:
        """Return a table of `tables.HISTORIES`, behind it what only some histories have."""
        schema = _with_more(tables.HISTORIES, self._more())
        return pa.Table.from_arrays([*self._columns(), *self._lists(self._more())], schema=schema)

    @property
    def num_interactions(self) -> int:
        return len(self.item_nums)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(U,) interactions of each user."""
        return np.diff(self.offsets)

    @property
    def is_target(self) -> NDArray[np.bool_]:
        """(T,) whether it counts to find the interaction's item."""
        if self.weights is None:
            return np.ones(self.num_interactions, dtype=bool)
        return self.weights > 0

    @property
    def places(self) -> NDArray[np.int64]:
        """(T,) how many older interactions each interaction's user has."""
        return np.arange(self.num_interactions) - np.repeat(self.offsets[:-1], self.lengths)

    def num_targets(self) -> NDArray[np.int64]:
        """Return how many interactions of each user, (U,), are to be found."""
        return self.lengths if self.weights is None else self.targets().lengths

    def targets_to_come(self) -> NDArray[np.int64]:
        """Return how many targets each user has from each interaction on, (T,), itself included."""
        before = offsets_of(self.is_target)
        return np.repeat(before[self.offsets[1:]], self.lengths) - before[:-1]

    def inputs(self) -> "Histories":
        """Return the same users with what models read: all but what is `SEEN_ONLY`."""
        return self if self.weights is None else self.where(self.weights >= 0)

    def targets(self) -> "Histories":
        """Return the same users with what is to be found."""
        return self if self.weights is None else self.where(self.is_target)

    def __len__(self) -> int:
        return len(self.user_ids)

    def of(self, row: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Return the items and the times of one user, oldest first."""
        span = slice(self.offsets[row], self.offsets[row + 1])
        return self.item_nums[span], self.occurred_at_us[span]

    def rows_of(self, user_ids: Texts) -> NDArray[np.int64]:
        """Return the row of each user, (B,); -1 where there is none.

        The first call hashes every user, unless the histories were opened from a file.
        """
        if not self._lookups:
            self._lookups.append(RowLookup.build(self.user_ids))
        return self._lookups[0].rows(user_ids)

    def take(self, rows: Sequence[int] | NDArray[np.integer]) -> "Histories":
        """Return the users of the given rows, in that order."""
        chosen = np.asarray(rows, dtype=np.int64)
        starts, lengths = self.offsets[chosen], self.offsets[chosen + 1] - self.offsets[chosen]
        offsets = offsets_of(lengths)
        places = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Histories(
            self.user_ids.take(pa.array(chosen)),
            offsets,
            **self.columns_at(places),
            vocabulary_hash=self.vocabulary_hash,
            asked_in=None if self.asked_in is None else self.asked_in[chosen],
        )

    def slice(self, first: int, end: int) -> "Histories":
        """Return the users of the rows from `first` to `end`; no interaction is copied."""
        offsets = self.offsets[first : end + 1]
        return Histories(
            self.user_ids.slice(first, end - first),
            offsets - offsets[0],
            **self.columns_at(slice(offsets[0], offsets[-1])),
            vocabulary_hash=self.vocabulary_hash,
            asked_in=None if self.asked_in is None else self.asked_in[first:end],
        )

    def blocks(self, num_interactions: int | None = None) -> list["Histories"]:
        """Return all users in order, cut into slices of about so many interactions.

        Of mapped histories no slice takes memory before it is read.

        Args:
            num_interactions: None: `BLOCK_INTERACTIONS`.
        """
        num_interactions = num_interactions or BLOCK_INTERACTIONS
        num_blocks = -(-self.num_interactions // num_interactions)
        cuts = np.searchsorted(self.offsets, np.arange(1, num_blocks) * num_interactions)
        borders = np.unique([0, *cuts.tolist(), len(self)]).tolist()
        return [self.slice(*pair) for pair in itertools.pairwise(borders)]

    def where(self, keep: NDArray[np.bool_]) -> "Histories":
        """Return the same users with the interactions that `keep`, (T,), marks."""
        kept_before = offsets_of(keep)
        return replace(self, offsets=kept_before[self.offsets], **self.columns_at(keep))

    def columns_at(self, where: Any) -> dict[str, Any]:
        """Return what there is of some interactions, by name: the arrays of T at these places."""
        columns: dict[str, NDArray[Any]] = {
            "item_nums": self.item_nums,
            "occurred_at_us": self.occurred_at_us,
            **self._more(),
        }
        return {name: values[where] for name, values in columns.items()}

    def positions_from_newest(self) -> NDArray[np.int64]:
        """Return for each interaction, (T,), how many newer ones its user has; the newest has 0."""
        return np.repeat(self.offsets[1:], self.lengths) - np.arange(self.num_interactions) - 1

    def last(self, n: int) -> "Histories":
        """Return the same users with their newest `n` interactions, or all where they have less."""
        return self.where(self.positions_from_newest() < n)

    def split_off_last(self, n: int) -> tuple["Histories", "Histories"]:
        """Return what came before the newest `n` interactions of each user, and those."""
        is_last = self.positions_from_newest() < n
        return self.where(~is_last), self.where(is_last)

    def newest_distinct(self, n: int) -> "Histories":
        """Return the same users with their newest `n` different known items.

        Each item stands where it is newest. This is what a user "has seen": evaluation and serving
        leave out these items, and no others.
        """
        users = rows_of_offsets(self.offsets)
        keys = (users << 32) | self.item_nums
        _, newest_first = np.unique(keys[::-1], return_index=True)
        keep = np.zeros(self.num_interactions, dtype=bool)
        keep[self.num_interactions - 1 - newest_first] = True
        keep &= self.item_nums != tables.UNKNOWN_NUM
        return self.where(keep).last(n)

    def save(self, path: Path) -> None:
        """Write one Arrow IPC file that `open` maps into memory."""
        self.rows_of([])  # makes the lookup
        kept = {name: values for name, values in self._more().items() if name in _SAVED}
        columns = [*self._columns(), *self._lookups[0].columns(), *self._lists(kept)]
        schema = _with_more(SCHEMA, kept)
        arrow_file.save(path, _KIND, schema, columns, vocabulary=self.vocabulary_hash)

    @classmethod
    def open(cls, path: Path) -> "Histories":
        """Map saved histories into memory, reading none of them yet.

        Raises:
            DatasetError: the file is missing, cut short, or does not hold histories.
        """
        schemas = [
            _with_more(SCHEMA, names)
            for count in range(len(_SAVED) + 1)
            for names in itertools.combinations(_SAVED, count)
        ]
        batch, notes = arrow_file.open(path, _KIND, *schemas)
        columns = [*batch.columns[:3], *batch.columns[len(SCHEMA) :]]
        more = batch.schema.names[len(SCHEMA) :]
        histories = _of_columns(columns, more, vocabulary_hash=notes["vocabulary"])
        histories._lookups.append(RowLookup.of_columns(histories.user_ids, batch))
        return histories

    def _columns(self) -> list[pa.Array]:
        offsets = pa.array(self.offsets)
        times = pa.array(self.occurred_at_us).view(tables.TIMESTAMP)
        columns = [offsets, pa.array(self.item_nums)], [offsets, times]
        lists = [pa.LargeListArray.from_arrays(*column) for column in columns]
        types = [tables.HISTORIES.field(name).type for name in ("item_nums", "occurred_at")]
        return [self.user_ids, *(a.cast(t) for a, t in zip(lists, types, strict=True))]

    def _lists(self, columns: Mapping[str, NDArray[Any]]) -> list[pa.Array]:
        offsets = pa.array(self.offsets)
        return [
            pa.LargeListArray.from_arrays(offsets, pa.array(values)).cast(_MORE[name].type)
            for name, values in columns.items()
        ]

    def _more(self) -> dict[str, NDArray[Any]]:
        """Return the columns that are not in all histories, by name."""
        columns = {name: getattr(self, name) for name in _MORE}
        return {name: values for name, values in columns.items() if values is not None}


def offsets_of(
    lengths: NDArray[np.integer] | NDArray[np.bool_] | Sequence[int],
) -> NDArray[np.int64]:
    """Return where each list starts, and the end: (len + 1,), from lengths laid end to end."""
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])


def rows_of_offsets(offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the list that each thing belongs to, of lists that are laid end to end."""
    return np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))


def _end_to_end(lists: Sequence[ArrayLike] | None, dtype: type[np.generic]) -> NDArray[Any] | None:
    if lists is None:
        return None
    return np.concatenate([np.zeros(0, dtype), *(np.asarray(each, dtype) for each in lists)])


def _with_more(schema: pa.Schema, names: Iterable[str]) -> pa.Schema:
    return pa.schema([*schema, *(_MORE[name] for name in names)])


def _of_columns(
    columns: Sequence[pa.Array], more: Sequence[str], *, vocabulary_hash: str
) -> Histories:
    """Build from users, lists of items and of times, and lists of what `more` names."""
    user_ids, items, times = columns[:3]
    offsets = items.offsets.to_numpy(zero_copy_only=True)
    others = zip(more, columns[3:], strict=True)
    return Histories(
        user_ids,
        offsets if len(offsets) and offsets[0] == 0 else offsets - offsets[0],
        items.flatten().to_numpy(zero_copy_only=True),
        times.flatten().view(pa.int64()).to_numpy(zero_copy_only=True),
        vocabulary_hash,
        **{name: lists.flatten().to_numpy(zero_copy_only=True) for name, lists in others},
    )
