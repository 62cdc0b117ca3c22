"""Where an item belongs that was put after the release was built: its key, and its shard.

Letters for shapes:
    n  items    D  width of an embedding
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.vocabulary import Vocabulary
from raysys.hashing import stable_hashes
from raysys.state.items import Changes, ItemHiding, StoredItem

NamedT = TypeVar("NamedT", StoredItem, ItemHiding)


class VectorSource(Protocol):
    """The shard of the index that is at home here."""

    def vectors_of(
        self, item_nums: NDArray[np.integer]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return those of the numbers that it holds, (M,), and their vectors, (M, D)."""


@dataclass(frozen=True, slots=True, eq=False)
class Unmet:
    """The items of a release that nobody had interacted with: their vectors were made of what was
    known of them, so a put gives them others, as it does to items that the release does not know.

    Args:
        is_unmet: (N + 1,) by item number.
        index: where they lie.
    """

    is_unmet: NDArray[np.bool_]
    index: VectorSource

    def among(self, keys: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return which of some items are among them, (M,)."""
        found: NDArray[np.bool_] = self.is_unmet[np.maximum(keys, 0)] & (keys > 0)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """Whose items these are, one shard's of one release, and what new ones need to enter it."""

    vocabulary: Vocabulary
    vectors_of: Callable[[Sequence[Mapping[str, Any]]], NDArray[np.float32]]
    """From what is known of n items to their vectors, (n, D)."""
    num_partitions: int
    shard: int
    num_shards: int
    age_cut_off_us: int
    """Items of this age or older are not explored."""
    unmet: Unmet | None = None
    """None: there are none."""

    def have_vectors_of_puts(self, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some items have a vector that is made of what was put of them, (M,)."""
        is_new = keys < 0
        return is_new if self.unmet is None else is_new | self.unmet.among(keys)

    def released_vectors_of(self, keys: NDArray[np.int64]) -> NDArray[np.float32] | None:
        """Return the vectors in the index of unmet items, (M, D); None where there are none."""
        if self.unmet is None or not len(keys):
            return None
        return self.unmet.index.vectors_of(keys)[1]

    def keys_of(self, item_ids: Sequence[str]) -> NDArray[np.int64]:
        """Return the key of each item, (n,), known to the release or not."""
        return keys_of_items(item_ids, self.vocabulary)

    def end_of(self, item: StoredItem) -> int:
        """Return when an item is too old to be explored, in microseconds since 1970 UTC."""
        return item.created_at_us + self.age_cut_off_us

    def of_here(self, changes: Changes) -> Changes:
        """Return what changed among the items whose partition lies in the shard, and all counts."""
        return replace(
            changes, items=self._here(changes.items), hidings=self._here(changes.hidings)
        )

    def _here(self, named: Sequence[NamedT]) -> list[NamedT]:
        partitions = stable_hashes(each.item_id for each in named) % np.uint64(self.num_partitions)
        is_here = partitions % np.uint64(self.num_shards) == self.shard
        return [named[place] for place in np.flatnonzero(is_here).tolist()]


def keys_of_items(item_ids: Sequence[str], vocabulary: Vocabulary) -> NDArray[np.int64]:
    """Return the key of each item, (n,): its number where the release knows it."""
    nums = vocabulary.numbers(item_ids)
    return np.where(nums > 0, nums, keys_of_new_items(item_ids))


def keys_of_new_items(item_ids: Iterable[str]) -> NDArray[np.int64]:
    """Return the key, below 0, of each of the items that the release does not know."""
    halved = (stable_hashes(item_ids) >> np.uint64(1)).astype(np.int64)
    return -1 - halved
