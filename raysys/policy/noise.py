"""Random numbers that are pure functions of a seed and of what they are for.

Counted, not drawn one after the other: the number of an item does not depend on which other items
there are, in what order they come, or on which machine they lie.

Letters for shapes:
    B  seeds    n  items    k  places of a list
"""

import numpy as np
from numpy.typing import NDArray

from raysys.hashing import GOLDEN, splitmix64

_COINS = np.uint64(0xD1B54A32D192ED03)  # any odd numbers: they keep the streams apart
_NOISE = np.uint64(0x8CB92BA72F3D8DD7)
_SAMPLES = np.uint64(0xE7037ED1A0B428DB)


def coins(seeds: int | NDArray[np.integer], k: int) -> NDArray[np.float64]:
    """Return k numbers in (0, 1) for one seed, (k,), or for each of several, (B, k)."""
    steps = np.arange(1, k + 1, dtype=np.uint64) * GOLDEN
    return _unit(splitmix64(_stream(seeds, _COINS) + steps))


def gumbel_noise(
    seeds: int | NDArray[np.integer], hashes: NDArray[np.uint64]
) -> NDArray[np.float64]:
    """Return Gumbel noise of location 0 and scale 1 for items, (n,), or (B, n) for several seeds.

    Args:
        hashes: (n,) `raysys.hashing.stable_hash` of the items' ids.
    """
    noise = _unit(splitmix64(_stream(seeds, _NOISE) ^ hashes))
    for _ in range(2):
        np.log(noise, out=noise)
        np.negative(noise, out=noise)
    return noise


def uniforms(seed: int, place: int, keys: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return a number in (0, 1) for each item, (n,), others at every place of a list."""
    step = np.array([place + 1], np.uint64) * GOLDEN
    return _unit(splitmix64((_stream(seed, _SAMPLES) + step) ^ splitmix64(keys.astype(np.uint64))))


def _stream(seeds: int | NDArray[np.integer], name: np.uint64) -> NDArray[np.uint64]:
    """Return 64 bits that no other seed and no other stream shares: (1,) or (B, 1)."""
    numbers = np.asarray(seeds, dtype=np.uint64)[..., None]
    return splitmix64(splitmix64(numbers) ^ name)


def _unit(bits: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return numbers strictly between 0 and 1: the middles of 2^52 equal parts."""
    numbers = (bits >> np.uint64(12)).astype(np.float64)
    numbers += 0.5
    numbers *= 2.0**-52
    return numbers
