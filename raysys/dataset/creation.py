"""When each item came to be, as far as a log and its item table tell."""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.logs.fields import parse_times

COLUMN = "creation_timestamp"
"""Of the item table: seconds since 1970 UTC."""


def created_at_us(item_table: pa.Table, histories: Histories) -> NDArray[np.int64]:
    """Return microseconds since 1970 UTC by item number, (N + 1,); row 0 means nothing.

    What the item table says, else the item's first interaction; without either the item is as new
    as the newest interaction of the log.

    Args:
        item_table: (N,) in the order of the item numbers.
    """
    newest = int(histories.occurred_at_us.max(initial=0))
    created = np.full(len(item_table) + 1, newest, np.int64)
    for block in histories.blocks():
        np.minimum.at(created, block.item_nums, block.occurred_at_us)
    if COLUMN in item_table.column_names:
        column = item_table.column(COLUMN).combine_chunks()
        given, codes = parse_times(column)
        is_given = codes == 0
        created[1:][is_given] = given.to_numpy()[is_given]
    return created
