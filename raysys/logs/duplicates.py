"""Which rows say again what an earlier row said. Pure: tables in, masks out.

A row with an event id is a duplicate if an earlier row has that event id, whatever else differs.
A row without one is a duplicate if an earlier row without one has the same user, item, time and
event type (an absent type is a type of its own). Earlier means in log order: by file, then row.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def repeats_event(events: pa.Table) -> NDArray[np.bool_]:
    """Say of each row of `parts.EVENT_IDS`, in any order, whether its event id came earlier."""
    keys = [
        events.column("source_row").to_numpy(),
        events.column("source_file").to_numpy(),
        codes_of(events.column("event_id")),
    ]
    return _repeats(keys, num_equal=1)


def repeats_interaction(
    interactions: pa.Table, users: NDArray[np.int64], times: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Say of each row of `tables.INTERACTIONS` whether it repeats an earlier one.

    Rows with an event id are judged by `repeats_event`, so here they never do.

    Args:
        interactions: sorted by user and time, ties in log order. Only such ties can be repeats, so
            the other rows, mostly all, are not looked at any further.
        users: a number for the user of each row; times: its time.
    """
    ties = (users[1:] == users[:-1]) & (times[1:] == times[:-1])
    is_candidate = np.zeros(len(users), bool)
    is_candidate[1:] |= ties
    is_candidate[:-1] |= ties
    is_candidate &= pc.is_null(interactions.column("event_id")).to_numpy()
    repeats = np.zeros(len(users), bool)
    if is_candidate.any():
        chosen = interactions.filter(pa.array(is_candidate))
        types, items = codes_of(chosen.column("event_type")), codes_of(chosen.column("item_id"))
        keys = [types, items, times[is_candidate], users[is_candidate]]
        repeats[is_candidate] = _repeats(keys, num_equal=4)
    return repeats


def codes_of(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return a number per row, the same for the same text; null has one too."""
    codes, _ = _encode(texts)
    return codes


def ranks_of(texts: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return per row the place of its text among the sorted distinct texts, by UTF-8 bytes."""
    codes, distinct = _encode(texts)
    ranks = np.empty(len(distinct), np.int64)
    ranks[pc.sort_indices(distinct).to_numpy()] = np.arange(len(distinct))
    return ranks[codes]


def _encode(texts: pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.StringArray]:
    encoded = pc.dictionary_encode(texts, null_encoding="encode").combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no rows
        return np.empty(0, np.int64), pa.array([], pa.string())
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary


def _repeats(keys: list[NDArray[np.int64]], num_equal: int) -> NDArray[np.bool_]:
    """Say which rows are not the first with their last `num_equal` keys.

    Order within them is by the other keys, then by place.
    """
    order = np.lexsort(keys)
    is_repeat = np.ones(len(order), bool)
    is_repeat[:1] = False
    for key in keys[-num_equal:]:
        differs = np.diff(key[order]) != 0
        is_repeat[1:] &= ~differs
    repeats = np.empty(len(order), bool)
    repeats[order] = is_repeat
    return repeats
