"""The n-th smallest of numbers that lie in many places, without bringing them together.

Whoever holds a part counts its keys by their leading digits; only the counts are added up. Four
rounds of 65,536 counts find any 64-bit key exactly, whatever the number of keys and holders.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from raysys.hashing import GOLDEN, splitmix64

Keys = NDArray[np.uint64]
Total = Callable[[NDArray[np.int64]], NDArray[np.int64]]
"""Returns the sum of an array over all holders, each of whom calls it at the same point."""

_DIGIT_BITS = 16
_NUM_DIGITS = 1 << _DIGIT_BITS


def alone(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Be the `Total` of one holder of everything."""
    return counts


def num_keys(blocks: Iterable[Keys], total: Total = alone) -> int:
    """Return how many keys all holders have together."""
    return int(total(np.array([sum(len(keys) for keys in blocks)], dtype=np.int64))[0])


def nth_smallest(
    blocks: Callable[[], Iterable[Keys]], ranks: Sequence[int], total: Total = alone
) -> list[int]:
    """Return the key at each rank among the keys of all holders; 1 is the smallest.

    Args:
        blocks: begins a pass over this holder's keys; called four times.
        ranks: each from 1 to the number of all keys; the same for every holder.
    """
    left, found = np.array(ranks, dtype=np.int64), [0] * len(ranks)
    for shift in range(64 - _DIGIT_BITS, -1, -_DIGIT_BITS):
        prefixes = sorted(set(found))
        counts = np.zeros((len(prefixes), _NUM_DIGITS), dtype=np.int64)
        for keys in blocks():
            for row, prefix in enumerate(prefixes):
                counts[row] += _digits_after(prefix, keys, shift)
        up_to = np.cumsum(total(counts), axis=1)
        for place, prefix in enumerate(found):
            row = up_to[prefixes.index(prefix)]
            digit = int(np.searchsorted(row, left[place]))
            left[place] -= row[digit - 1] if digit else 0
            found[place] = (prefix << _DIGIT_BITS) | digit
    return found


def keys_of_times(times_us: NDArray[np.int64]) -> Keys:
    """Return keys in the order of the times, which may lie before 1970."""
    return times_us.view(np.uint64) ^ np.uint64(1 << 63)


def mixed(hashes: Keys, salt: int | Keys) -> Keys:
    """Return another even hash of each hash and salt, the same for ever."""
    return splitmix64(hashes + np.asarray(salt, dtype=np.uint64) * GOLDEN)


def _digits_after(prefix: int, keys: Keys, shift: int) -> NDArray[np.int64]:
    """Return how often each digit at `shift` follows the prefix, (65,536,)."""
    above = shift + _DIGIT_BITS
    if above < 64:
        keys = keys[keys >> np.uint64(above) == prefix]
    digits = (keys >> np.uint64(shift)) & np.uint64(_NUM_DIGITS - 1)
    return np.bincount(digits.astype(np.int64), minlength=_NUM_DIGITS)
