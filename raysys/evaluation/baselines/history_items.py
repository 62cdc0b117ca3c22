"""What baselines read of histories: distinct items, each with an age."""

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.errors import ConfigError

_SMALLEST_WEIGHT = 1e-9


def known_items(histories: Histories, num_items: int) -> Histories:
    """Return the same users with items that have a number from 1 to `num_items`."""
    nums = histories.item_nums
    return histories.where((nums > 0) & (nums <= num_items))


def weighted_items(
    histories: Histories, num_items: int, decay: float
) -> tuple[Histories, NDArray[np.float64]]:
    """Return each user's distinct known items, oldest first, and what each one counts, (T,).

    An item stands where the user met it last. With `a` distinct items newer than it, it counts
    decay^a; what counts less than 1e-9 is left out. Decay 1 forgets the order, decay 0 leaves the
    newest item alone.
    """
    known = known_items(histories, num_items)
    distinct = known.newest_distinct(max(1, known.num_interactions))
    ages = distinct.positions_from_newest()
    # Products one after the other: a weight depends on its age alone, not on how many are computed.
    powers = np.cumprod(np.append(1.0, np.full(int(ages.max(initial=0)), decay)))
    weights = powers[ages]
    counts = weights >= _SMALLEST_WEIGHT
    return distinct.where(counts), weights[counts]


def check_decay(decay: float) -> None:
    """Raise ConfigError unless a decay lies in [0, 1]."""
    if not 0 <= decay <= 1:
        raise ConfigError(
            f"decay must lie in [0, 1], but got {decay:g}: with 1 all items of a history count "
            f"alike, with 0 the newest alone."
        )
