"""The type of every interaction of a release: what filters ask for, whatever models read."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.event_types import EventTypes, count_types

_MAX_NAMES = np.iinfo(np.int16).max


@dataclass(frozen=True, slots=True, eq=False)
class InteractionTypes:
    """Types beside the interactions of some histories, in their order."""

    types: EventTypes
    nums: NDArray[np.int16]
    """(T,) numbers of `types`."""

    def save(self, names: Path, nums: Path) -> None:
        """Write the two files that `open` reads."""
        self.types.save(names)
        np.save(nums, self.nums)

    @classmethod
    def open(cls, names: Path, nums: Path) -> "InteractionTypes":
        """Map what `save` wrote."""
        mapped = np.load(nums, mmap_mode="r", allow_pickle=False)
        return cls(EventTypes.open(names), mapped)


def find_all_types(interactions: Iterable[pa.Table]) -> EventTypes:
    """Return every type of a log, the most frequent first; of more than 32,767 those.

    Args:
        interactions: with the column `event_type`.
    """
    counts = count_types(table.column("event_type") for table in interactions)
    counts.pop(None, None)
    names = sorted((name for name in counts if name), key=lambda name: (-counts[name], name))
    return EventTypes(names=tuple(names[:_MAX_NAMES]))
