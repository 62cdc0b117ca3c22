"""What models read of each interaction of a history, in numbers.

Letters for shapes:
    B  histories
    H  interactions of a history
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories

_GAP_BORDERS_US = 1_000_000 << np.arange(30, dtype=np.int64)
NUM_GAPS = len(_GAP_BORDERS_US) + 2
"""No gap, less than a second, then one for each doubling; the last begins at 17 years."""


class Inputs(NamedTuple):
    """Interactions, in arrays of one shape. What no interaction fills holds zeros."""

    item_nums: NDArray[np.int64]
    event_types: NDArray[np.int64] | None = None
    """0: of none that is known. None: the histories have no types."""
    gaps: NDArray[np.int64] | None = None
    """How long before each the last one was, see `gap_numbers`; 0: it is the first that is read.
    None: nobody reads them."""

    def changed(self, change: Callable[[NDArray[np.int64]], NDArray[np.int64]]) -> "Inputs":
        """Return them with a change made to each array."""
        types, gaps = (
            None if each is None else change(each) for each in (self.event_types, self.gaps)
        )
        return Inputs(change(self.item_nums), types, gaps)


def inputs_at(
    histories: Histories,
    places: NDArray[np.int64],
    firsts: NDArray[np.int64],
    is_read: NDArray[np.bool_],
    *,
    time_gaps: bool,
) -> Inputs:
    """Return what is read at some places of the histories' flat arrays.

    Args:
        places: of any shape.
        firsts: broadcast to it: the first place that is read together with each.
        is_read: of the same shape; False: the place is only there to fill a batch.
        time_gaps: whether gaps are read.
    """
    chosen = places[is_read]

    def laid_out(values: NDArray[Any]) -> NDArray[np.int64]:
        filled = np.zeros(places.shape, dtype=np.int64)
        filled[is_read] = values
        return filled

    items = laid_out(histories.item_nums[chosen])
    types = histories.event_types
    gaps = None
    if time_gaps:
        is_first = chosen == np.broadcast_to(firsts, places.shape)[is_read]
        times = histories.occurred_at_us
        gaps_us = times[chosen] - times[np.maximum(chosen - 1, 0)]
        gaps = laid_out(np.where(is_first, 0, gap_numbers(gaps_us)))
    return Inputs(items, None if types is None else laid_out(types[chosen]), gaps)


def newest_inputs(
    histories: Histories, rows: NDArray[np.integer], length: int, *, time_gaps: bool
) -> Inputs:
    """Return what is read of some rows, (B, length): the newest in the last column.

    They are padded on the left. What is older than the first column is not read, so that a history
    means the same where it was cut before.
    """
    starts, ends = histories.offsets[rows][:, None], histories.offsets[rows + 1][:, None]
    places = ends + np.arange(-length, 0)
    firsts = np.maximum(starts, ends - length)
    return inputs_at(histories, places, firsts, places >= starts, time_gaps=time_gaps)


def gap_numbers(gaps_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of each gap: 1 below a second, 2 below two, 3 below four and so on.

    A gap matters by its order of magnitude, as in HSTU (Zhai et al., Actions Speak Louder than
    Words, ICML 2024), and not by its place in a user's own range, as in TiSASRec (Li et al., Time
    Interval Aware Self-Attention, WSDM 2020), which would change with the user's later events.
    """
    numbers: NDArray[np.int64] = np.searchsorted(_GAP_BORDERS_US, gaps_us, side="right") + 1
    return numbers
