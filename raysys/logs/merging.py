"""Several sorted streams of rows -> one, in memory that does not grow with their length.

Of every stream one batch is held. Nothing that is yet to come can be smaller than the smallest last
row of these batches; so all rows up to it are ready, and are sorted and handed on together.
"""

import bisect
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from raysys.logs.duplicates import ranks_of
from raysys.logs.runs import Order, Run, RunWriter, sorted_places

MOST_OPEN_RUNS = 64
"""Beyond so many, runs are merged into longer runs first."""

Rows = Iterator[pa.Table]


def merged_runs(runs: Sequence[Run], order: Order, schema: pa.Schema, work: Path) -> Rows:
    """Yield the rows of several runs in order; ties in the order of the runs."""
    while len(runs) > MOST_OPEN_RUNS:
        runs = [
            _merge_into_one(runs[start : start + MOST_OPEN_RUNS], order, schema, work)
            for start in range(0, len(runs), MOST_OPEN_RUNS)
        ]
    return merge([run.read(schema) for run in runs], order)


def merge(streams: Sequence[Rows], order: Order) -> Rows:
    """Yield the rows of sorted streams as one sorted stream; ties in the order of the streams."""
    cursors = [_Cursor(place, stream, order) for place, stream in enumerate(streams)]
    while cursors := [cursor for cursor in cursors if cursor.fill()]:
        bound = min(cursor.last for cursor in cursors)
        ready = [rows for cursor in cursors if (rows := cursor.take_up_to(bound)).num_rows]
        yield ready[0] if len(ready) == 1 else _sorted(pa.concat_tables(ready), order)


def _merge_into_one(runs: Sequence[Run], order: Order, schema: pa.Schema, work: Path) -> Run:
    path = work / f"merged-{uuid.uuid4().hex}"
    with RunWriter(path, schema) as writer:
        for rows in merge([run.read(schema) for run in runs], order):
            writer.write(rows)
    return Run(str(path), 0, writer.num_batches)


def _sorted(rows: pa.Table, order: Order) -> pa.Table:
    places = sorted_places(ranks_of(order.texts(rows)), order.times(rows))
    return rows.take(pa.array(places))


class _Cursor:
    """One stream and the rows of it that are at hand.

    `last` is the key of the last of them: text, time, then the stream's place, which decides ties.
    """

    def __init__(self, place: int, stream: Rows, order: Order) -> None:
        self.last: tuple[str, int, int] = ("", 0, place)
        self._place = place
        self._stream = stream
        self._order = order
        self._rows: pa.Table | None = None

    def fill(self) -> bool:
        """See to it that rows are at hand; return whether there are any."""
        while self._rows is None or not self._rows.num_rows:
            self._rows = next(self._stream, None)
            if self._rows is None:
                return False
            if self._rows.num_rows:
                self._texts = self._order.texts(self._rows)
                self._times = self._order.times(self._rows)
                self.last = (self._texts[-1].as_py(), int(self._times[-1]), self._place)
        return True

    def take_up_to(self, bound: tuple[str, int, int]) -> pa.Table:
        """Return and let go of the rows whose keys are at most `bound`."""
        assert self._rows is not None
        count = self._count_up_to(bound)
        taken, self._rows = self._rows.slice(0, count), self._rows.slice(count)
        self._texts, self._times = self._texts.slice(count), self._times[count:]
        return taken

    def _count_up_to(self, bound: tuple[str, int, int]) -> int:
        text, time, place = bound
        if self.last <= bound:
            return len(self._times)
        if self._texts[0].as_py() > text:
            return 0
        places = range(len(self._times))
        start = bisect.bisect_left(places, text, key=lambda at: self._texts[at].as_py())
        end = bisect.bisect_right(places, text, key=lambda at: self._texts[at].as_py())
        times = self._times[start:end]
        if self._place <= place:
            return start + int(np.searchsorted(times, time, "right"))
        return start + int(np.searchsorted(times, time, "left"))
