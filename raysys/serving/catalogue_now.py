"""The items of a release as they are now, on a gateway: which ones a filter lets through.

Letters for shapes:
    N  items of the release    M  items found
"""

import heapq
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from raysys.filters.masks import EVERYTHING, ChangedRows, KeptMasks, Rule, Table
from raysys.index.put_items import PutItems
from raysys.serving.visitors import NO_ITEMS, NO_KEYS

_MOST_KEPT = 1 << 10
_MOST_BYTES = 64 << 20
_MOST_NEW = 1_000  # in a popular list: each put makes it anew, and each rule judges them one by one


@dataclass(frozen=True, slots=True, eq=False)
class Demand:
    """What a filter demands of one query.

    Args:
        included_nums: (M,) of the user's past: may be shown unless the rule excludes them.
        excluded_nums: (M,) of the user's past: must not be shown.
        included_keys: the same, of items that the release does not know.
        excluded_keys: the same.
    """

    rule: Rule
    included_nums: NDArray[np.int32] = field(default_factory=lambda: NO_ITEMS)
    excluded_nums: NDArray[np.int32] = field(default_factory=lambda: NO_ITEMS)
    included_keys: NDArray[np.int64] = field(default_factory=lambda: NO_KEYS)
    excluded_keys: NDArray[np.int64] = field(default_factory=lambda: NO_KEYS)
    has_past: bool = False
    """Whether any of these is asked for."""


class CatalogueNow:
    """What may be shown while nothing else is put or hidden. Any thread may ask.

    Args:
        put: what was put since the release.
        table: of the release's items, in the order of their numbers.
        released: the masks of this table.
        popular: (N,) item numbers, the most popular first.
    """

    def __init__(
        self, put: PutItems, table: Table, released: KeptMasks, popular: NDArray[np.int32]
    ) -> None:
        self.put = put
        self._table = table
        self._released = released
        self._all_popular = popular
        self._popular: OrderedDict[Rule, NDArray[np.integer]] = OrderedDict()
        self._lock = threading.Lock()

    def kept_popular(self, demand: Demand) -> NDArray[np.integer] | None:
        """Return what `popular` does where that is known already."""
        return None if _includes_past(demand) else self._popular.get(demand.rule)

    def popular(self, demand: Demand) -> NDArray[np.integer]:
        """Return the items that may be shown by key, the most popular first, (M,).

        After all of the release come the newest of those that it does not know, the newest first.
        """
        found: NDArray[np.integer]
        found = self._all_popular[self._mask(demand)[self._all_popular - 1]]
        if len(self._new):
            found = np.concatenate([found, self._new[self._lets(demand, self._new)]])
        if not _includes_past(demand):
            with self._lock:
                self._popular[demand.rule] = found
                while (
                    len(self._popular) > _MOST_KEPT
                    or sum(each.nbytes for each in self._popular.values()) > _MOST_BYTES
                ):
                    self._popular.popitem(last=False)
        return found

    def allows(self, demand: Demand, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which of some items may be shown, in the same order.

        Of an item that nobody knows only the rule that lets everything through can judge.
        """
        is_let = np.empty(len(keys), dtype=bool)
        is_known = keys > 0
        nums, new = keys[is_known], keys[~is_known]
        is_let[is_known] = self._mask(demand)[nums - 1] & ~np.isin(nums, demand.excluded_nums)
        is_let[~is_known] = self._lets(demand, new) & ~np.isin(new, demand.excluded_keys)
        return is_let

    def _mask(self, demand: Demand) -> NDArray[np.bool_]:
        """Return which items the rule, or what is included of the past, lets through, (N,)."""
        is_let = self._masks.mask(demand.rule)
        if len(demand.included_nums):
            is_let = is_let.copy()
            rows = demand.included_nums - 1
            is_let[rows] |= self._masks.mask(demand.rule.without_includes())[rows]
        return is_let

    def _lets(self, demand: Demand, keys: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return the same of items that the release does not know, (M,)."""
        if demand.rule == EVERYTHING:
            return np.ones(len(keys), dtype=bool)
        put = [key for key in keys.tolist() if key in self.put.new]
        table = self.put.table(put, self._table)
        is_let = np.isin(keys, np.array(put, np.int64)[table.mask(demand.rule)])
        is_past = np.isin(keys, demand.included_keys)
        others = np.array(put, np.int64)[table.mask(demand.rule.without_includes())]
        return is_let | (is_past & np.isin(keys, others))

    @cached_property
    def _new(self) -> NDArray[np.int64]:
        """Keys of the newest items that the release does not know and that are not hidden."""
        newest = heapq.nsmallest(
            _MOST_NEW,
            (key for key in self.put.new if key not in self.put.hidden),
            key=lambda key: (-(self.put.new[key].created_at_us or 0), key),
        )
        return np.array(newest, np.int64)

    @cached_property
    def _masks(self) -> KeptMasks:
        known = np.array(sorted(self.put.known), np.int64)
        hidden = np.array(sorted(key for key in self.put.hidden if key > 0), np.int64)
        if not len(known) and not len(hidden):
            return self._released
        changed = self.put.table(known.tolist(), self._table)
        return KeptMasks(ChangedRows(self._released, known - 1, changed, hidden - 1))


def _includes_past(demand: Demand) -> bool:
    return bool(len(demand.included_nums) or len(demand.included_keys))
