"""How often each item is what a user came to, ever, lately, and more often than before.

Letters for shapes:
    N  items, with numbers 1 to N
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.errors import ConfigError

_TIE_BREAK = 1e-3
"""What the most popular item gets on top of its trend."""


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


def decayed_counts(
    blocks: Iterable[Histories], num_items: int, *, now_us: int, half_life_s: float
) -> NDArray[np.float64]:
    """Return the same with 0.5^(age / half-life) for each interaction in place of 1.

    Args:
        now_us: at which the age is 0, such as a log's newest interaction; microseconds since 1970.
            What came later counts more than 1.
        half_life_s: above 0.
    """
    counts = np.zeros(num_items + 1)
    for block in blocks:
        targets = block.targets()
        ages_s = (now_us - targets.occurred_at_us) / 1e6
        counts += np.bincount(
            targets.item_nums, np.exp2(-ages_s / half_life_s), minlength=num_items + 1
        )
    counts[0] = 0.0
    return counts


def window_counts(
    blocks: Iterable[Histories], num_items: int, *, now_us: int, window_s: float
) -> NDArray[np.int64]:
    """Return how often each item was a target in the newest window, in the one before, and ever.

    Args:
        blocks: users, some at a time; they are read once.
        now_us: where the newest window ends, itself included, such as a log's newest interaction;
            microseconds since 1970. What came later does not count.
        window_s: what Amazon Personalize's Trending-Now calls the trend discovery frequency.

    Returns:
        (3, N + 1) by item number; column 0 is 0. Counts of parts of a log may be added up.

    Raises:
        ConfigError: the window is not positive.
    """
    window_us = round(window_s * 1e6)
    if window_us < 1:
        raise ConfigError(f"window_s of a trend must be above 0, but got {window_s:g}.")
    counts = np.zeros((3, num_items + 1), dtype=np.int64)
    for block in blocks:
        targets = block.targets()
        windows_ago = (now_us - targets.occurred_at_us) // window_us  # negative: later than now
        for row, chosen in enumerate((windows_ago == 0, windows_ago == 1, windows_ago >= 0)):
            counts[row] += np.bincount(targets.item_nums[chosen], minlength=num_items + 1)
    counts[:, 0] = 0
    return counts


def trend_scores(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return how fast each item gains interactions, (N + 1,), from its `window_counts`.

        trend = 2 (sqrt(newest + 3/8) - sqrt(r before + 3/8)) / sqrt(1 + r)

    where r is how many interactions of all items the newest window has for each of the one before;
    1 where that one has none. So an item's trend is measured against the traffic as a whole: at
    night nothing trends because all sleep. The square root of a Poisson count plus 3/8 has a
    variance of about 1/4 whatever its mean, so a trend is about the number of standard errors by
    which the item gained: from 50 to 80 is more than from 0 to 1, though that is without end as a
    rate. It is negative where the item lost.

    To that comes less than a thousandth by its count of all time, so that of items that gain alike,
    most of which stand still, the popular ones come first. As Trending-Now, it is the popular list
    where nothing happened.

    Source:
        Anscombe, The Transformation of Poisson, Binomial and Negative-Binomial Data, Biometrika
        1948, doi:10.1093/biomet/35.3-4.246.
    """
    newest, before, ever = counts
    growth = newest.sum() / before.sum() if newest.any() and before.any() else 1.0
    gains = np.sqrt(newest + 0.375) - np.sqrt(growth * before + 0.375)
    scores: NDArray[np.float64] = 2 * gains / np.sqrt(1 + growth)
    scores += _TIE_BREAK * ever / (ever.max() + 1.0)
    scores[0] = 0.0
    return scores


def best_first(scores: NDArray[np.number]) -> NDArray[np.int32]:
    """Return every item number, (N,): highest score first, the lower number first among equals.

    Args:
        scores: (N + 1,) by item number, such as counts; that of no item in row 0 is left out.
    """
    order: NDArray[np.int64] = np.argsort(-scores[1:], kind="stable") + 1
    return order.astype(np.int32)
