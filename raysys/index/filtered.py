"""What rules let through of one shard: its rows of the release, and its fresh items.

Letters for shapes:
    N  rows of the shard    n  items of the pool
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.item_table import open_item_table
from raysys.filters.masks import KeptMasks, Rule, Table
from raysys.index.fresh import FreshPool
from raysys.index.shard import Shard
from raysys.release import ITEM_TABLE, Release

_MOST_MASKS_OF_POOL = 1024


class ShardFilters:
    """The masks of one shard. Asked by one thread at a time.

    Args:
        item_table: of the release, in the order of its item numbers; read column by column, when a
            rule first asks for one.
        nums: (N,) the item number of each row of the shard.
    """

    def __init__(self, item_table: pa.Table, nums: NDArray[np.int32]) -> None:
        self._table = Table(item_table)
        self._masks = KeptMasks(Table(item_table, nums.astype(np.int64) - 1))
        self._order = np.argsort(nums)
        self._sorted_nums = nums[self._order]
        self._pool: FreshPool | None = None
        self._pool_masks: dict[Rule, NDArray[np.bool_]] = {}
        self._new_items: tuple[dict[int, str], Table] | None = None

    @classmethod
    def of_release(cls, release: Release, shard: Shard) -> "ShardFilters":
        """Check the hash of the release's item table and map it (DamagedReleaseError)."""
        release.verify(ITEM_TABLE)
        return cls(open_item_table(release.file(ITEM_TABLE)), shard.nums)

    def rows(self, rule: Rule) -> NDArray[np.bool_]:
        """Return which rows of the shard a rule lets through, (N,)."""
        return self._masks.mask(rule)

    def lets(self, rule: Rule, item_nums: NDArray[np.int32]) -> NDArray[np.bool_]:
        """Return which of some items lie in the shard and are let through, (M,)."""
        rows = self._rows_of(item_nums)
        # One more, for -1: what lies elsewhere is not let through.
        found: NDArray[np.bool_] = np.append(self.rows(rule), False)[rows]
        return found

    def fresh(self, rule: Rule, pool: FreshPool) -> NDArray[np.bool_]:
        """Return which items of the pool a rule lets through, (n,).

        Items that the release does not know go by what was put with them.
        """
        if self._pool is not pool or len(self._pool_masks) >= _MOST_MASKS_OF_POOL:
            self._pool, self._pool_masks = pool, {}
        found = self._pool_masks.get(rule)
        if found is None:
            found = self._pool_masks[rule] = self._fresh(rule, pool)
        return found

    def _fresh(self, rule: Rule, pool: FreshPool) -> NDArray[np.bool_]:
        keys = pool.items.keys  # ascending: new items come first
        num_new = int(np.searchsorted(keys, 0))
        let = np.zeros(len(keys), dtype=bool)
        let[num_new:] = self.lets(rule, keys[num_new:].astype(np.int32))
        if num_new:
            let[:num_new] = self._table_of_new(pool).mask(rule)
        return let

    def _table_of_new(self, pool: FreshPool) -> Table:
        """Return what is known of the new items; it is kept until others come."""
        if self._new_items is None or self._new_items[0] is not pool.new_ids:
            known = [pool.new_properties[key] for key in pool.new_ids]
            table = self._table.of_properties([*pool.new_ids.values()], known)
            self._new_items = pool.new_ids, table
        return self._new_items[1]

    def _rows_of(self, item_nums: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the row of each item number, (M,); -1 where the shard does not hold it."""
        if not len(self._sorted_nums):
            return np.full(len(item_nums), -1)
        places = np.searchsorted(self._sorted_nums, item_nums)
        places = np.minimum(places, len(self._sorted_nums) - 1)
        return np.where(self._sorted_nums[places] == item_nums, self._order[places], -1)
