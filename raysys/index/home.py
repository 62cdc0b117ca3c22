"""Where an item belongs that was put after the release was built: its key, and its shard.

Letters for shapes:
    n  items    D  width of an embedding
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.vocabulary import Vocabulary
from raysys.hashing import stable_hashes
from raysys.state.items import Changes, ItemHiding, StoredItem

NamedT = TypeVar("NamedT", StoredItem, ItemHiding)


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
