"""Small worlds for tests, and their logs as arrays."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.logs.simulator import Simulator

LISTS = {
    "share_of_sessions_with_list": 1.0,
    "mean_quality": 0.5,
    "event_type": "click",
    "is_rated": False,
    "follow_ups": {
        "watch": {"when_fit": 0.8, "otherwise": 0.3, "has_value": True},
        "dislike": {"when_fit": 0.0, "otherwise": 0.5},
    },
}


def small(seed: int = 3, **changes: object) -> Simulator:
    settings = {"num_users": 200, "num_items": 600, "mean_history": 30} | changes
    return Simulator(seed=seed, **settings)


class Log(NamedTuple):
    """Each (rows,), ordered by user and time; numbers as the ids name them."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    at_s: NDArray[np.int64]
    kinds: NDArray[np.str_]
    table: pa.Table


def log_of(simulator: Simulator) -> Log:
    table = pa.concat_tables(simulator.interactions())
    users, items = (numbers_of(table[name]) for name in ("USER_ID", "ITEM_ID"))
    order = np.lexsort((table["TIMESTAMP"].to_numpy(), users))
    table = table.take(order)
    kinds = np.array(table["EVENT_TYPE"].to_pylist())
    return Log(users[order], items[order], table["TIMESTAMP"].to_numpy(), kinds, table)


def numbers_of(ids: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.array([int(text[1:]) for text in ids.to_pylist()])


def firsts(users: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each user's first row."""
    return np.flatnonzero(np.diff(users, prepend=0))
