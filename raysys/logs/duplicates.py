"""Which rows say again what an earlier row said. Sorted rows in, masks out, a batch at a time.

A row with an event id is a duplicate if an earlier row has that event id, whatever else differs.
A row without one is a duplicate if an earlier row without one has the same user, item, time and
event type (an absent type is a type of its own). Earlier means in log order: by file, then row.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_KEY = ["user_id", "occurred_at", "item_id", "event_type"]


class RepeatedEvents:
    """Finds repeats among rows sorted by event id, ties in log order, however they are cut."""

    def __init__(self) -> None:
        self._last: pa.Table | None = None

    def among(self, events: pa.Table) -> NDArray[np.bool_]:
        """Say of each row whether its `event_id` came before; (N,) bool."""
        ids, is_first = _with_row_before(self._last, events.select(["event_id"]))
        self._last = events.slice(events.num_rows - 1).select(["event_id"])
        mask: NDArray[np.bool_] = _equals_previous(ids.column(0))[is_first:]
        return mask


class RepeatedInteractions:
    """Finds repeats among rows sorted by user and time, ties in log order, however they are cut.

    Of what was seen only the last user's last moment is kept, and of that each item and type once.
    Rows with an event id are judged by their event ids, so here they are neither.
    """

    def __init__(self) -> None:
        self._moment: pa.Table | None = None  # distinct rows, the key's columns

    def among(self, interactions: pa.Table) -> NDArray[np.bool_]:
        """Say of each row whether it repeats an earlier one; (N,) bool."""
        is_unnamed = pc.is_null(interactions.column("event_id")).to_numpy()
        repeats = np.zeros(interactions.num_rows, bool)
        if not is_unnamed.any():
            return repeats
        unnamed = interactions if is_unnamed.all() else interactions.filter(pa.array(is_unnamed))
        rows, num_before = _with_row_before(self._moment, unnamed.select(_KEY))
        starts = starts_of_moments(rows)
        found = _repeats_within(rows, starts)
        repeats[is_unnamed] = found[num_before:]
        last = rows.slice(int(np.flatnonzero(starts)[-1]))
        self._moment = last.filter(pa.array(~found[rows.num_rows - last.num_rows :]))
        return repeats


def starts_of_moments(interactions: pa.Table) -> NDArray[np.bool_]:
    """Say of each row, sorted by user and time, whether the row before is another's or earlier."""
    times = interactions.column("occurred_at").cast(pa.int64()).to_numpy()
    starts = np.ones(len(times), bool)
    starts[1:] = times[1:] != times[:-1]
    if (places := np.flatnonzero(~starts)).size:
        users = interactions.column("user_id")
        before = users.take(pa.array(places - 1))
        starts[places] = pc.not_equal(users.take(pa.array(places)), before).to_numpy()
    return starts


def encode(texts: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.StringArray]:
    """Return a number per row, and the distinct texts (null may be one) that the numbers mean."""
    encoded = pc.dictionary_encode(texts, null_encoding="encode").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return np.empty(0, np.int64), pa.array([], texts.type)
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary


def ranks_of(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return per row the place of its text among the sorted distinct texts, by UTF-8 bytes."""
    codes, distinct = encode(texts)
    ranks = np.empty(len(distinct), np.int64)
    ranks[pc.sort_indices(distinct).to_numpy()] = np.arange(len(distinct))
    return ranks[codes]


def _repeats_within(rows: pa.Table, starts: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Say which rows have an item and type that came before in the same moment."""
    repeats = np.zeros(len(starts), bool)
    is_shared = ~starts
    is_shared[:-1] |= ~starts[1:]  # the rows of moments with several; mostly there are few
    if not is_shared.any():
        return repeats
    chosen = rows.filter(pa.array(is_shared))
    moments = np.cumsum(starts)[is_shared]
    types, _ = encode(chosen.column("event_type"))
    items, _ = encode(chosen.column("item_id"))
    order = np.lexsort((types, items, moments))  # stable: the first in log order comes first
    again = np.ones(len(order), bool)
    again[:1] = False
    for key in (moments, items, types):
        again[1:] &= key[order][1:] == key[order][:-1]
    found = np.empty(len(order), bool)
    found[order] = again
    repeats[is_shared] = found
    return repeats


def _with_row_before(before: pa.Table | None, rows: pa.Table) -> tuple[pa.Table, int]:
    """Return the rows with those of an earlier batch in front, and how many these are."""
    if before is None:
        return rows, 0
    return pa.concat_tables([before, rows]), before.num_rows


def _equals_previous(texts: pa.ChunkedArray) -> NDArray[np.bool_]:
    equals = np.zeros(len(texts), bool)
    equals[1:] = pc.equal(texts.slice(1), texts.slice(0, max(len(texts) - 1, 0))).to_numpy()
    return equals
