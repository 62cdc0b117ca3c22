"""The Arrow schema of every table that passes from one room to another, units in comments.

Ids are strings, given by the outside. Numbers are rows inside (`*_num`): 0 is the unknown row, the
first known id has number 1. Times are timestamp[us, UTC].
"""

import pyarrow as pa

UNKNOWN_NUM = 0
"""The number of every id that the vocabulary does not hold, and of padding."""

TIMESTAMP = pa.timestamp("us", tz="UTC")

# One row per interaction of the log, as an import leaves it. A user's rows lie in one shard,
# ordered by (user_id, occurred_at, source_file, source_row): log order breaks ties in time.
INTERACTIONS = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("occurred_at", TIMESTAMP, nullable=False),
        pa.field("event_type", pa.string()),  # null where the log has none
        pa.field("event_value", pa.float64()),  # a rating, a price, a share watched; finite
        pa.field("event_id", pa.string()),  # sent twice is still one event
        pa.field("source_file", pa.int32(), nullable=False),  # row of the manifest's `sources`
        pa.field("source_row", pa.int64(), nullable=False),  # 1 is the first row of data
    ]
)

# One row per row of a log that could not be used. Nothing of it is lost.
QUARANTINE = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # the file's name as given
        pa.field("source_row", pa.int64(), nullable=False),  # 1 is the first row of data
        pa.field("reason", pa.string(), nullable=False),  # a word of `raysys.logs.reasons`
        pa.field("detail", pa.string(), nullable=False),  # one sentence for a person
        pa.field("row", pa.string(), nullable=False),  # the row as read, bad bytes escaped
    ]
)

# One row per item of the catalogue. Further columns, all strings or numbers, may follow.
ITEMS = pa.schema(
    [
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("title", pa.string()),  # what a person reads; null where the source has none
    ]
)

# One row per user. Further columns may follow.
USERS = pa.schema([pa.field("user_id", pa.string(), nullable=False)])

# One row per user, ordered by user_id; what happened to the user, oldest first. Large lists have
# 64-bit offsets: one file may hold more than 2**31 interactions, and is read without a copy.
HISTORIES = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field(
            "item_nums",
            pa.large_list(pa.field("item", pa.int32(), nullable=False)),
            nullable=False,
        ),
        pa.field(
            "occurred_at",
            pa.large_list(pa.field("item", TIMESTAMP, nullable=False)),
            nullable=False,
        ),
    ]
)
