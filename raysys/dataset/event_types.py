"""The event types of a log in numbers: what models read of how an interaction happened."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from raysys.config import FeedbackConfig
from raysys.dataset.feedback import COLUMNS, weights_of
from raysys.dataset.kept_as_json import KeptAsJson
from raysys.state.user_state import Interaction

MAX_EVENT_TYPES = 100
"""A log that names more of them has something else in that column; the most frequent are kept."""


class EventTypes(KeptAsJson):
    """The types that are told apart: the one in place r has number r + 1, and 0 is any other.

    None are where all interactions that models read are of one type, since it says nothing then.
    """

    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def numbers(self, event_types: pa.Array | pa.ChunkedArray) -> NDArray[np.int16]:
        """Return the number of each type, (T,); 0 for one that is not known, and for null."""
        rows = pc.index_in(event_types, value_set=pa.array(self.names, event_types.type))
        nums: NDArray[np.int16] = pc.fill_null(pc.add(rows, 1), 0).to_numpy().astype(np.int16)
        return nums

    def numbers_of_interactions(self, interactions: Sequence[Interaction]) -> NDArray[np.int16]:
        """Return the number of the type of each event of the database, (T,)."""
        if not self.names:
            return np.zeros(len(interactions), dtype=np.int16)
        return self.numbers(pa.array([each.event_type for each in interactions], pa.string()))


NO_EVENT_TYPES = EventTypes()


def count_types(columns: Iterable[pa.ChunkedArray]) -> Counter[str | None]:
    """Return how often each type occurs in parts of a column; None for those without one."""
    counts: Counter[str | None] = Counter()
    for column in columns:
        found = pc.value_counts(column).to_pylist()
        counts.update({each["values"]: each["counts"] for each in found})
    return counts


def find_event_types(
    interactions: Iterable[pa.Table],
    feedback: FeedbackConfig,
    *,
    known: EventTypes = NO_EVENT_TYPES,
) -> EventTypes:
    """Find the types of what models read, in one pass: the most frequent first, then by name.

    Args:
        interactions: with the columns that feedback is judged by.
        feedback: says what is read.
        known: keep their numbers; new ones follow.
    """

    def read() -> Iterator[pa.ChunkedArray]:
        for table in interactions:
            types, values = (table.column(name) for name in COLUMNS)
            yield types.filter(pa.array(weights_of(types, values, feedback) >= 0))

    counts = count_types(read())
    if len(counts) < 2 and not known.names:  # events without a type are one kind too
        return NO_EVENT_TYPES
    names = [name for name in counts if name is not None and name not in known.names]
    names.sort(key=lambda name: (-counts[name], name))
    return EventTypes(names=(*known.names, *names)[:MAX_EVENT_TYPES])
