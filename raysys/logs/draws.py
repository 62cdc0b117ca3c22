"""The simulator's arithmetic: draws and ragged arrays, many users at once. Pure numpy.

A ragged array is flat: the elements of row 0, then those of row 1, and so on, beside an array that
says the row of each element.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_FIRST_SECOND = 1_577_836_800  # 2020-01-01 UTC
_YEAR_S = 365 * 86_400


def numbered_ids(prefix: str, numbers: Integers) -> pa.Array:
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def ragged(lengths: Integers) -> tuple[Integers, Integers]:
    """Return for rows of these lengths, one after the other, each element's row and place."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def draw_columns(rng: np.random.Generator, chances: Floats) -> Integers:
    """Return one column per row of (M, K) chances, drawn by them."""
    uniform = rng.random((len(chances), 1))
    drawn = (np.cumsum(chances, axis=1) <= uniform).sum(axis=1)
    within: Integers = np.minimum(drawn, chances.shape[1] - 1)  # sums may fall short of 1
    return within


def first_picks(users: Integers, items: Integers, num_items: int, lengths: Integers) -> Integers:
    """Return the places of picks that are a user's first of an item, `lengths` a user at most."""
    _, first = np.unique(users * num_items + items, return_index=True)
    first.sort()
    counts = np.bincount(users[first], minlength=len(lengths))
    _, places = ragged(counts)
    kept: Integers = first[places < lengths[users[first]]]
    return kept


def times_of_picks(rng: np.random.Generator, users: Integers) -> Integers:
    """Return seconds since 1970, rising within each user: minutes apart, now and then days."""
    is_new_user = np.diff(users, prepend=-1) != 0
    is_new_session = rng.random(len(users)) < 0.05
    mean_gap_s = np.where(is_new_session, 3 * 86_400, 90)
    gaps = 1 + rng.exponential(mean_gap_s).astype(np.int64)
    starts = _FIRST_SECOND + (rng.random(len(users)) * _YEAR_S).astype(np.int64)
    elapsed = np.cumsum(np.where(is_new_user, 0, gaps))
    first = np.maximum.accumulate(np.where(is_new_user, np.arange(len(users)), 0))
    seconds: Integers = starts[first] + elapsed - elapsed[first]
    return seconds
