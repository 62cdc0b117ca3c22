"""What rules let through of one shard: its rows of the release, what was put, and its fresh items.

Letters for shapes:
    N  rows of the shard    n  items of the pool    m  items of the delta
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.item_table import open_item_table
from raysys.filters.masks import ChangedRows, KeptMasks, Rule, Table
from raysys.index.delta import Delta
from raysys.index.fresh import FreshPool
from raysys.index.shard import Shard
from raysys.release import ITEM_TABLE, Release

_MOST_MASKS_OF_POOL = 1024


class RowsByNumber:
    """Finds the row of an item number.

    Args:
        nums: (N,) that of each row.
    """

    def __init__(self, nums: NDArray[np.int32]) -> None:
        self._order = np.argsort(nums)
        self._sorted_nums = nums[self._order]

    def of(self, item_nums: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the row of each item number, (M,); -1 where there is none."""
        if not len(self._sorted_nums):
            return np.full(len(item_nums), -1)
        places = np.searchsorted(self._sorted_nums, item_nums)
        places = np.minimum(places, len(self._sorted_nums) - 1)
        return np.where(self._sorted_nums[places] == item_nums, self._order[places], -1)


@dataclass(slots=True)
class FilterWork:
    """What filters did in one shard meanwhile.

    Args:
        seconds: that it took to have the masks of rules.
        num_made: masks that had to be made; `num_kept` were there from before.
        num_filtered: rows that were no candidates, summed over the queries.
    """

    seconds: float = 0.0
    num_made: int = 0
    num_kept: int = 0
    num_filtered: int = 0


class RowFilters:
    """What rules let through of rows with item numbers. Asked by one thread at a time.

    Args:
        make_masks: called when a rule first asks.
        hides: some rows are kept from everybody, whether or not a query has a rule.
        work: what is done is added to it.
    """

    def __init__(
        self,
        make_masks: Callable[[], KeptMasks],
        rows: RowsByNumber,
        *,
        hides: bool,
        work: FilterWork,
    ) -> None:
        self.hides = hides
        self._make_masks = make_masks
        self._rows = rows
        self._work = work

    def candidates(self, rule: Rule, num_queries: int) -> NDArray[np.bool_] | None:
        """Return which rows are candidates of some queries, (N,), None where all are."""
        mask = self.rows(rule)
        num_filtered = len(mask) - int(np.count_nonzero(mask))
        self._work.num_filtered += num_queries * num_filtered
        return mask if num_filtered else None

    @cached_property
    def _masks(self) -> KeptMasks:
        return self._make_masks()

    def rows(self, rule: Rule) -> NDArray[np.bool_]:
        """Return which rows a rule lets through, (N,)."""
        began, is_kept = time.perf_counter(), self._masks.keeps(rule)
        mask = self._masks.mask(rule)
        self._work.num_kept += is_kept
        self._work.num_made += not is_kept
        self._work.seconds += time.perf_counter() - began
        return mask

    def rows_of(self, item_nums: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the row of each item number, (M,); -1 where there is none."""
        return self._rows.of(item_nums)

    def lets(self, rule: Rule, item_nums: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Return which of some items have rows and are let through, (M,)."""
        # One more, for -1: what lies elsewhere is not let through.
        found: NDArray[np.bool_] = np.append(self.rows(rule), False)[self.rows_of(item_nums)]
        return found


@dataclass(slots=True, eq=False)
class FiltersNow:
    """The masks of one shard while its delta stays as it is."""

    delta: Delta
    released: RowFilters
    put: RowFilters
    """Of the delta, whose places are the item numbers."""
    _fresh_keys: NDArray[np.int64] | None = None
    _fresh: dict[Rule, NDArray[np.bool_]] = field(default_factory=dict)

    def fresh(self, rule: Rule, pool: FreshPool) -> NDArray[np.bool_]:
        """Return which items of the pool a rule lets through, (n,).

        Items of the delta go by what was put with them.
        """
        keys = pool.items.keys
        if self._fresh_keys is not keys or len(self._fresh) >= _MOST_MASKS_OF_POOL:
            self._fresh_keys, self._fresh = keys, {}
        found = self._fresh.get(rule)
        if found is None:
            places = self.delta.places_of(keys)
            in_delta, in_index = self.put.lets(rule, places), self.released.lets(rule, keys)
            found = np.where(places > 0, in_delta, in_index)
            self._fresh[rule] = found
        return found


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
        self._rows = RowsByNumber(nums)
        self._now: FiltersNow | None = None
        self._work = FilterWork()

    @classmethod
    def of_release(cls, release: Release, shard: Shard) -> "ShardFilters":
        """Check the hash of the release's item table and map it (DamagedReleaseError)."""
        release.verify(ITEM_TABLE)
        return cls(open_item_table(release.file(ITEM_TABLE)), shard.nums)

    def at(self, delta: Delta) -> FiltersNow:
        """Return the masks that hold while the delta is this one; they are kept until then."""
        if self._now is None or self._now.delta is not delta:
            self._now = FiltersNow(delta, self._released(delta), self._put(delta))
        return self._now

    def take_work(self) -> FilterWork:
        """Return what they did since this was asked last."""
        work, done = self._work, replace(self._work)
        work.seconds, work.num_made, work.num_kept, work.num_filtered = 0.0, 0, 0, 0
        return done

    def _released(self, delta: Delta) -> RowFilters:
        put = delta.put
        known = np.array(sorted(put.known), np.int64)
        hidden = np.array(sorted(key for key in put.hidden if key > 0), np.int64)
        hidden = np.union1d(hidden, delta.released_keys)  # they are found in the delta

        def masks() -> KeptMasks:
            if not len(known) and not len(hidden):
                return self._masks
            changed = put.table(known.tolist(), self._table)
            rows, hidden_rows = self._rows.of(known), self._rows.of(hidden)
            return KeptMasks(ChangedRows(self._masks, rows, changed, hidden_rows))

        return RowFilters(masks, self._rows, hides=bool(len(hidden)), work=self._work)

    def _put(self, delta: Delta) -> RowFilters:
        hidden = np.flatnonzero(delta.put.hides(delta.keys))

        def masks() -> KeptMasks:
            kept = KeptMasks(delta.put.table(delta.keys.tolist(), self._table))
            if not len(hidden):
                return kept
            none = np.zeros(0, np.int64)
            return KeptMasks(ChangedRows(kept, none, self._table.row_of_nobody(), hidden))

        rows = RowsByNumber(delta.partition.nums)
        return RowFilters(masks, rows, hides=bool(len(hidden)), work=self._work)
