"""What a reader hands on: rows as they stand in a source, taken apart into columns."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.logs.reasons import Reason


@dataclass(frozen=True, slots=True)
class Refused:
    """A row that could not be taken apart into columns."""

    row: int
    reason: Reason
    detail: str
    text: str


@dataclass(frozen=True, slots=True)
class RawBatch:
    """Some rows of one source, in order.

    Attributes:
        columns: by the names of `raysys.logs.header`; absent columns are absent. Binary where the
            source is text, of the source's own type where it has types.
        rows: (R,) int64, the number of each row of `columns`; 1 is the first row of data.
        is_text: whether the source is text, so that its types are not known.
        bytes_read: how far into the file the batch reaches.
        text_of: returns rows, named by their places in `columns`, as they stand in the source.
        refused: rows that are not in `columns`.
    """

    columns: dict[str, pa.Array]
    rows: NDArray[np.int64]
    is_text: bool
    bytes_read: int
    text_of: Callable[[Sequence[int]], list[str]]
    refused: list[Refused] = field(default_factory=list)

    def __len__(self) -> int:
        """Return how many rows were read, refused ones included."""
        return len(self.rows) + len(self.refused)


def printable(data: bytes) -> str:
    """Return bytes as text; those that are no UTF-8, and NUL, are written as \\xNN."""
    return data.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
