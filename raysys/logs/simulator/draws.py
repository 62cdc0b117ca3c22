"""The simulator's arithmetic: draws and ragged arrays, many rows at once. Pure numpy.

A ragged array is flat: the elements of row 0, then those of row 1, and so on, beside an array that
says the row of each element.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.hashing import splitmix64

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]


def generator(seed: int, purpose: str, *numbers: int) -> np.random.Generator:
    """Return the stream of random numbers of one purpose: the same for ever, none like another."""
    return np.random.default_rng([seed, *purpose.encode(), *numbers])


def numbered_ids(prefix: str, numbers: NDArray[np.integer[Any]]) -> pa.Array:
    """Return prefix + number for each number, as strings."""
    return pc.binary_join_element_wise(prefix, pa.array(numbers).cast(pa.string()), "")


def ragged(lengths: Integers) -> tuple[Integers, Integers]:
    """Return for rows of these lengths, one after the other, each element's row and place."""
    rows = np.repeat(np.arange(len(lengths)), lengths)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(lengths) - lengths, lengths)


def draw_columns(uniform: Floats, cumulated: Floats) -> Integers:
    """Return one column per row, drawn by its chances.

    Args:
        uniform: (M,) in [0, 1).
        cumulated: (M, K) running sums of the chances, the last one at least nearly 1.
    """
    drawn = (cumulated <= uniform[:, None]).sum(axis=1)
    within: Integers = np.minimum(drawn, cumulated.shape[1] - 1)  # sums may fall short of 1
    return within


def held_from(is_new: Booleans) -> Integers:
    """Return for each place the last place up to it where `is_new`; the first must be."""
    places: Integers = np.maximum.accumulate(np.where(is_new, np.arange(len(is_new)), 0))
    return places


def is_first_of(*keys: Integers) -> Booleans:
    """Return which places hold a combination of keys that no earlier place holds."""
    _, first = np.unique(_combined(keys), return_index=True)
    is_first = np.zeros(len(keys[0]), bool)
    is_first[first] = True
    return is_first


def _combined(keys: tuple[Integers, ...]) -> Integers:
    combined = keys[0]
    for key in keys[1:]:
        combined = combined * (int(key.max(initial=0)) + 1) + key
    return combined


def rising(times: Integers, rows: Integers) -> Integers:
    """Return the times, made later where needed, so that they rise by 1 at least within a row.

    Args:
        times: (M,) at least 0.
        rows: (M,) ascending.
    """
    place = np.arange(len(times))
    # Rows are set so far apart that the running maximum never crosses from one to the next.
    apart = rows * (int(times.max(initial=0)) + len(times) + 1)
    risen: Integers = np.maximum.accumulate(times - place + apart) + place - apart
    return risen


def hashed_uniform(seed: int, *numbers: Integers | int) -> Floats:
    """Return uniform numbers in [0, 1), (M,), that depend on the seed and the numbers alone.

    Whoever asks with the same numbers gets the same coin, in whatever company and order: so two
    policies that show the same item at the same visit see the same person decide.
    """
    mixed = np.array([seed], np.uint64)
    for number in numbers:
        mixed = splitmix64(mixed ^ np.asarray(number).astype(np.uint64))
    uniform: Floats = (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniform
