"""What users had seen when they were asked: no list offers it again, so it is no rival.

Letters for shapes:
    B  queries, each of one user at one place of their history
    E  seen items of all queries together
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import offsets_of, rows_of_offsets
from raysys.tables import UNKNOWN_NUM

_NEWEST = 2000
"""Interactions that are looked at, so that a crawler's history does not cost its length squared.
Serving's lists leave out as many different items unless told otherwise."""


@dataclass(frozen=True, slots=True)
class SeenItems:
    """Pairs of a query and an item that its user had seen; twice where it was seen twice.

    Attributes:
        queries: (E,) int64, ascending: which of the queries, 0 to B - 1.
        item_nums: (E,) int64, none unknown.
    """

    queries: NDArray[np.int64]
    item_nums: NDArray[np.int64]


NOTHING_SEEN = SeenItems(np.zeros(0, np.int64), np.zeros(0, np.int64))


def seen_before(
    item_nums: NDArray[np.integer], begins: NDArray[np.int64], places: NDArray[np.int64]
) -> SeenItems:
    """Return what each history holds before a place.

    Args:
        item_nums: those of all histories, laid end to end.
        begins: (B,) where the history of each query begins.
        places: (B,) the end, which is left out: where the item stands that the query led to.
    """
    lengths = np.minimum(places - begins, _NEWEST)
    offsets = offsets_of(lengths)
    queries = rows_of_offsets(offsets)
    seen = item_nums[np.arange(offsets[-1]) + np.repeat(places - lengths - offsets[:-1], lengths)]
    is_known = seen != UNKNOWN_NUM
    return SeenItems(queries[is_known], seen[is_known].astype(np.int64))
