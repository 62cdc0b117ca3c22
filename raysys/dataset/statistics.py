"""What a whole dataset holds: the sums over its shards, and what follows from them."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.dataset.counting import ColumnProfile, ItemCounts, add_profiles
from raysys.dataset.shard_statistics import MIN_TESTED_LENGTH, ShardStatistics
from raysys.dataset.table_statistics import ItemJoin, TableStatistics
from raysys.dataset.time_bins import TimeBins
from raysys.logs.manifest import DatasetManifest

_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class LeaveLastOutCounts:
    """What leave-last-out would make of the dataset."""

    users_tested: int
    """Users with three interactions or more; each gives one to test and one to validation."""
    interactions_trained: int
    tested_never_trained: int
    """Interactions to be found whose item no interaction is left to learn from."""


@dataclass(slots=True)
class Statistics:
    """Build it from every shard's statistics, then read it."""

    manifest: DatasetManifest
    bins: TimeBins
    """From the first interaction to the last."""
    now_us: int
    shard: ShardStatistics = field(init=False)
    """The sums; its `items` are empty, `items` of this class holds them."""
    items: pa.Table = field(init=False)
    """`ITEM_COUNTS`, one row per item, the most popular first, ties by id."""
    new_items_per_bin: NDArray[np.int64] = field(init=False)
    item_table: ItemJoin | None = None
    item_ids_differ_in: str | None = None
    """What of the ids keeps most items from finding their rows, if that is known."""
    user_table: TableStatistics | None = None
    quarantined: dict[str, str] = field(default_factory=dict)
    """One example for each reason: where it stands, and what is wrong with it."""
    _counts: ItemCounts = field(default_factory=ItemCounts)

    def __post_init__(self) -> None:
        zeros = np.zeros(self.bins.num, np.int64)
        self.shard = ShardStatistics(per_bin=zeros, new_users_per_bin=zeros.copy())

    def add(self, one: ShardStatistics) -> None:
        """Add the statistics of one shard; shards may come in any order."""
        total = self.shard
        total.rows += one.rows
        total.lengths.update(one.lengths)
        total.longest = min(total.longest, one.longest, key=lambda pair: (-pair[0], pair[1]))
        total.tied_rows += one.tied_rows
        total.early_rows += one.early_rows
        total.future_rows += one.future_rows
        total.rows_on_whole.update(one.rows_on_whole)
        total.per_bin += one.per_bin
        total.new_users_per_bin += one.new_users_per_bin
        total.event_types.add(one.event_types)
        total.event_values.add(one.event_values)
        add_profiles(total.columns, one.columns)
        total.users_in_table += one.users_in_table
        without = sorted([*total.users_without_row, *one.users_without_row])
        total.users_without_row = without[:_EXAMPLES]
        self._counts.add(one.items)

    def finish(self) -> None:
        """Call this when every shard was added."""
        order = [("interactions", "descending"), ("item_id", "ascending")]
        self.items = self._counts.table().sort_by(order)
        self._counts = ItemCounts()
        self.new_items_per_bin = self.bins.counts(self.items.column("first_us").to_numpy())

    @property
    def first_day(self) -> str:
        """The day of the first interaction, UTC."""
        return f"{self.bins.start_of(0):%Y-%m-%d}"

    @property
    def last_day(self) -> str:
        """The day of the last interaction, UTC."""
        return f"{self.bins.start_of(self.bins.num - 1):%Y-%m-%d}"

    @property
    def num_users(self) -> int:
        return self.shard.lengths.total()

    @property
    def num_items(self) -> int:
        return int(self.items.num_rows)

    def users_with(self, at_least: int) -> int:
        """Return how many users have at least so many interactions."""
        return sum(n for length, n in self.shard.lengths.items() if length >= at_least)

    def length_percentile(self, share: float) -> int:
        """Return the history length that this share of the users do not exceed."""
        lengths = sorted(self.shard.lengths)
        below = np.cumsum([self.shard.lengths[length] for length in lengths])
        return lengths[int(np.searchsorted(below, share * below[-1]))]

    def popularity(self) -> NDArray[np.int64]:
        """Return the interactions of every item, the most popular first."""
        counts: NDArray[np.int64] = self.items.column("interactions").to_numpy()
        return counts

    def share_of_most_popular(self, share: float) -> float:
        """Return which share of the interactions the most popular share of the items has."""
        most = max(1, round(self.num_items * share))
        return float(self.popularity()[:most].sum() / self.shard.rows)

    def leave_last_out(self) -> LeaveLastOutCounts:
        """Return what leave-last-out would make of it."""
        tested = self.users_with(MIN_TESTED_LENGTH)
        held = pc.add(self.items.column("last_of_a_user"), self.items.column("last_but_one"))
        is_never_trained = pc.equal(self.items.column("interactions"), held)
        lost = pc.sum(self.items.filter(is_never_trained).column("last_of_a_user")).as_py() or 0
        return LeaveLastOutCounts(tested, self.shard.rows - 2 * tested, lost)

    def resolution(self) -> str | None:
        """Return the coarsest of days, hours, minutes, seconds that all times are whole."""
        whole: Counter[str] = self.shard.rows_on_whole
        return next((name for name, rows in whole.items() if rows == self.shard.rows), None)

    def column_profiles(self) -> dict[str, ColumnProfile]:
        """Return what is known of each column, named as in `items.genre`."""
        tables = {
            "interactions": self.shard.columns,
            "items": self.item_table.columns if self.item_table else {},
            "users": self.user_table.columns if self.user_table else {},
        }
        return {
            f"{table}.{name}": profile
            for table, profiles in tables.items()
            for name, profile in profiles.items()
        }

    def bulk(self) -> tuple[int, int]:
        """Return the first and the last bin of what is left without the outer thousandth."""
        reached = np.cumsum(self.shard.per_bin)
        low = int(np.searchsorted(reached, self.shard.rows * 0.0005, side="right"))
        return low, int(np.searchsorted(reached, self.shard.rows * 0.9995))

    def has_stray_times(self) -> bool:
        """Whether all but a thousandth of the interactions lie in a tenth of the time."""
        low, high = self.bulk()
        return self.bins.num >= 100 and (high - low + 1) * 10 < self.bins.num
