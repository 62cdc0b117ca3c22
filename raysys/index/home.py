"""Where an item belongs that was put after the release was built: its key, and its shard.

Letters for shapes:
    n  items    D  width of an embedding
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.vocabulary import Vocabulary
from raysys.hashing import stable_hashes
from raysys.state.items import StoredItem


@dataclass(frozen=True, slots=True, eq=False)
class Home:
    """Whose pool it is, one shard's of one release, and what new items need to enter it."""

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
        nums = self.vocabulary.numbers(item_ids)
        return np.where(nums > 0, nums, keys_of_new_items(item_ids))

    def end_of(self, item: StoredItem) -> int:
        """Return when an item is too old to be explored, in microseconds since 1970 UTC."""
        return item.created_at_us + self.age_cut_off_us

    def new_here(self, stored: Sequence[StoredItem]) -> list[StoredItem]:
        """Return the items that the release does not know and whose partition lies in the shard."""
        item_ids = [item.item_id for item in stored]
        partitions = stable_hashes(item_ids) % np.uint64(self.num_partitions)
        is_here = partitions % np.uint64(self.num_shards) == self.shard
        is_new = self.vocabulary.numbers(item_ids) == 0
        return [stored[place] for place in np.flatnonzero(is_here & is_new).tolist()]


def keys_of_new_items(item_ids: Iterable[str]) -> NDArray[np.int64]:
    """Return the key, below 0, of each of the items that the release does not know."""
    halved = (stable_hashes(item_ids) >> np.uint64(1)).astype(np.int64)
    return -1 - halved
