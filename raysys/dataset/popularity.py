"""How often each item is what a user came to."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories


def popularity_counts(blocks: Iterable[Histories], num_items: int) -> NDArray[np.int64]:
    """Return how often each item was a target, (N + 1,) by item number; row 0 is 0.

    Args:
        blocks: users, some at a time, as `Histories.blocks` gives them.
    """
    counts = np.zeros(num_items + 1, dtype=np.int64)
    for block in blocks:
        counts += np.bincount(block.targets().item_nums, minlength=num_items + 1)
    counts[0] = 0
    return counts
