"""Keys per query, as a request carries them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import offsets_of


@dataclass(frozen=True, slots=True)
class Lists:
    offsets: NDArray[np.int64]
    item_nums: NDArray[np.int64]

    @classmethod
    def of(cls, lists: Sequence[Iterable[int]]) -> "Lists":
        arrays = [np.array(sorted(keys), np.int64) for keys in lists]
        lengths = np.array([len(keys) for keys in arrays], np.int64)
        return cls(offsets_of(lengths), np.concatenate([np.zeros(0, np.int64), *arrays]))
