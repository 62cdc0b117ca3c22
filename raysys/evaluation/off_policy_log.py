"""Logged answers, put together from impressions: what off-policy evaluation reads.

Impressions come as tables of any size, one row per place, the rows of a list after each other from
the top, as `raysys export-events` writes them; answers leave as blocks of arrays. Memory holds one
table.

Letters for shapes:
    L  answers of a block    K  places of the longest of them
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.errors import DatasetError
from raysys.hashing import stable_hashes
from raysys.state.slates import CameAs

COLUMNS = (
    "recommendation_id",
    "user_id",
    "position",
    "propensity",
    "release",
    "exploration_weight",
    "clicked",
    "came_as",
    "fresh",
    "num_fresh",
)
"""What is read of `raysys.tables.IMPRESSIONS`."""

_Booleans = NDArray[np.bool_]
_Floats = NDArray[np.float64]


class Way(IntEnum):
    """What brought an item to its place: `CameAs`, or that this is not known."""

    NOTHING = 0
    """The list ended above."""
    UNKNOWN = 1
    RELEVANT = 2
    EXPLORED = 3
    BOTH = 4
    REST = 5


_WAYS = pa.array([None, *(str(way) for way in CameAs)])
_CODES = np.array([Way.UNKNOWN, Way.RELEVANT, Way.EXPLORED, Way.BOTH, Way.REST], np.int8)


@dataclass(frozen=True, slots=True, eq=False)
class LoggedAnswers:
    """A block of answers to users, each with at least one item."""

    user_hashes: NDArray[np.uint64]
    """(L,) `stable_hash` of who asked."""
    weights: _Floats
    """(L,) the exploration weight that each was made with."""
    propensities: _Floats
    """(L, K) of the item at each place, given those above; 1 below the end of a list."""
    ways: NDArray[np.int8]
    """(L, K) of `Way`."""
    clicked: _Booleans
    """(L, K)"""
    is_fresh: _Booleans
    """(L, K) the item could have been drawn, whatever brought it to its place."""
    num_fresh: _Floats
    """(L,) items that the top place could have drawn; nan where that is not known."""

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, chosen: _Booleans) -> "LoggedAnswers":
        """Return some of the answers."""
        return LoggedAnswers(
            self.user_hashes[chosen],
            self.weights[chosen],
            self.propensities[chosen],
            self.ways[chosen],
            self.clicked[chosen],
            self.is_fresh[chosen],
            self.num_fresh[chosen],
        )


@dataclass(slots=True)
class LogCounts:
    """What a log held beside the answers that were taken from it."""

    answers: int = 0
    """Lists with at least one item."""
    without_user: int = 0
    """Lists of similar items, which never explore."""
    of_other_releases: int = 0


class AnswerReader:
    """Reads a log once; `counts` and `releases` grow meanwhile.

    Args:
        release: leave out the answers of every other one. None: take all.
    """

    def __init__(self, release: str | None = None) -> None:
        self._release = release
        self.counts = LogCounts()
        self.releases: dict[str, int] = {}
        """The answers to users that each release made."""

    def read(self, tables: Iterable[pa.Table]) -> Iterator[LoggedAnswers]:
        """Yield the answers to users, block by block; no empty block.

        Raises:
            DatasetError: a list is not whole or not in order, or a propensity is no chance.
        """
        kept: pa.Table | None = None
        for table in tables:
            some = table.select(COLUMNS)
            if kept is not None:
                some = pa.concat_tables([kept, some])
            if not some.num_rows:
                continue
            some = some.combine_chunks()
            start = int(_starts(some)[-1])  # the last list may go on in the next table
            kept = some.slice(start)
            yield from self._answers(some.slice(0, start))
        if kept is not None:
            yield from self._answers(kept)

    def _answers(self, table: pa.Table) -> Iterator[LoggedAnswers]:
        if not table.num_rows:
            return
        starts = _starts(table)
        lengths = np.diff(starts, append=table.num_rows)
        positions = np.arange(table.num_rows) - np.repeat(starts, lengths)
        self._check(table, positions)
        chosen = self._chosen(table.take(pa.array(starts)))
        if not chosen.any():
            return
        shape = (len(starts), int(lengths.max()))
        rows = np.repeat(np.arange(len(starts)), lengths), positions
        propensities, ways = np.ones(shape), np.zeros(shape, np.int8)
        clicked, is_fresh = np.zeros(shape, bool), np.zeros(shape, bool)
        propensities[rows] = table["propensity"].to_numpy()
        ways[rows] = _CODES[pc.index_in(table["came_as"], _WAYS).to_numpy()]
        clicked[rows] = table["clicked"].to_numpy()
        is_fresh[rows] = table["fresh"].to_numpy()
        firsts = table.take(pa.array(starts[chosen]))
        yield LoggedAnswers(
            stable_hashes(firsts["user_id"].to_pylist()),
            firsts["exploration_weight"].to_numpy(),
            propensities[chosen],
            ways[chosen],
            clicked[chosen],
            is_fresh[chosen],
            firsts["num_fresh"].cast(pa.float64()).to_numpy(),
        )

    def _chosen(self, firsts: pa.Table) -> _Booleans:
        """Return which lists are taken, and count the others. (One row for each list.)"""
        has_user: _Booleans = firsts["user_id"].is_valid().to_numpy()
        for made in firsts["release"].filter(pa.array(has_user)).value_counts().to_pylist():
            self.releases[made["values"]] = self.releases.get(made["values"], 0) + made["counts"]
        self.counts.answers += len(has_user)
        self.counts.without_user += int(np.count_nonzero(~has_user))
        if self._release is None:
            return has_user
        is_of_release: _Booleans = pc.equal(firsts["release"], self._release).to_numpy()
        self.counts.of_other_releases += int(np.count_nonzero(has_user & ~is_of_release))
        return has_user & is_of_release

    def _check(self, table: pa.Table, positions: NDArray[np.int64]) -> None:
        propensities = table["propensity"].to_numpy()
        wrong = np.flatnonzero(table["position"].to_numpy() != positions)
        if len(wrong):
            raise DatasetError(
                f"{_list_of(table, wrong[0])} has position "
                f"{table['position'][int(wrong[0])].as_py()} where {positions[wrong[0]]} follows. "
                f"The chance of a place counts on those above, so lists must be whole and in "
                f"order: give the file as `raysys export-events` wrote it."
            )
        wrong = np.flatnonzero(~((propensities > 0) & (propensities <= 1 + 1e-9)))
        if len(wrong):
            raise DatasetError(
                f"{_list_of(table, wrong[0])} has the propensity {propensities[wrong[0]]:g} at "
                f"position {positions[wrong[0]]}, but what was shown had a chance above 0 and up "
                f"to 1. The file is damaged, or was not written by raysys."
            )


def _starts(table: pa.Table) -> NDArray[np.int64]:
    """Return the row at which each list begins; there is at least one row."""
    ids = table["recommendation_id"].combine_chunks()
    is_new = pc.not_equal(ids.slice(1), ids.slice(0, len(ids) - 1)).to_numpy(zero_copy_only=False)
    return np.flatnonzero(np.concatenate([[True], is_new]))


def _list_of(table: pa.Table, row: np.integer) -> str:
    return f"The list {table['recommendation_id'][int(row)].as_py()!r}"
