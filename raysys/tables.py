"""The Arrow schema of every table that passes from one room to another, units in comments.

Ids are strings, given by the outside. Numbers are rows inside (`*_num`): 0 is the unknown row, the
first known id has number 1. Times are timestamp[us, UTC].
"""

import pyarrow as pa

UNKNOWN_NUM = 0
"""The number of every id that the vocabulary does not hold, and of padding."""

TIMESTAMP = pa.timestamp("us", tz="UTC")

# One row per interaction of the log, as an import leaves it. A user's rows lie in one shard,
# ordered by (user_id, occurred_at, source_file, source_row): log order breaks ties in time. The
# columns that a dataset's schema declares beside these follow: `Schema.shard_schema` of logs.
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
        pa.field("user_id", pa.string()),  # null where it could not be told
        pa.field("reason", pa.string(), nullable=False),  # a word of `raysys.logs.reasons`
        pa.field("column", pa.string()),  # where the fault is; null where the row has no columns
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

# Beside a column of distinct strings: finds a string's row without reading the others.
LOOKUP = (
    pa.field("sorted_hash", pa.uint64(), nullable=False),  # stable_hash of every string, ascending
    pa.field("sorted_row", pa.int32(), nullable=False),  # the row that each hash belongs to
)

# One row per distinct id of a dataset or a release: the id in row r has number r + 1.
VOCABULARY = pa.schema([pa.field("id", pa.string(), nullable=False), *LOOKUP])

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

# May follow HISTORIES: one weight per interaction. Above 0: how much it counts to find its item;
# 0: it is read and never to be found; -1: its item counts as seen, and that is all.
HISTORY_WEIGHTS = pa.field(
    "weights", pa.large_list(pa.field("item", pa.float32(), nullable=False)), nullable=False
)

# May follow too: the number of each interaction's type, see `dataset.event_types`.
HISTORY_EVENT_TYPES = pa.field(
    "event_types", pa.large_list(pa.field("item", pa.int16(), nullable=False)), nullable=False
)

# May follow too: the code of each interaction's context, see `dataset.context`.
HISTORY_CONTEXTS = pa.field(
    "contexts", pa.large_list(pa.field("item", pa.int64(), nullable=False)), nullable=False
)

# May follow too, where feedback is explicit and histories are learnt from: what is to be predicted.
HISTORY_LABELS = HISTORY_WEIGHTS.with_name("labels")

# One row per exported event that names an item, in the order of storing; `raysys import` reads it.
EXPORTED_EVENTS = pa.schema(
    [
        pa.field("USER_ID", pa.string(), nullable=False),
        pa.field("ITEM_ID", pa.string(), nullable=False),
        pa.field("TIMESTAMP", TIMESTAMP, nullable=False),  # when it happened, as the client says
        pa.field("EVENT_TYPE", pa.string(), nullable=False),
        pa.field("EVENT_VALUE", pa.float64()),
        pa.field("EVENT_ID", pa.string()),  # null where the client gave none
    ]
)

# One row per position of every list that was shown, in the order of storing.
IMPRESSIONS = pa.schema(
    [
        pa.field("recommendation_id", pa.string(), nullable=False),
        pa.field("user_id", pa.string()),  # null where similar items were asked for
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),  # 0 at the top
        pa.field("propensity", pa.float64(), nullable=False),  # P(this item | the items above)
        pa.field("explored", pa.bool_(), nullable=False),  # this position's coin chose to explore
        pa.field("shown_at", TIMESTAMP, nullable=False),
        pa.field("release", pa.string(), nullable=False),  # its name
        pa.field("policy", pa.string(), nullable=False),  # "none": shown in order of relevance
        pa.field("exploration_weight", pa.float64(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("clicked", pa.bool_(), nullable=False),  # a click names this list and item
        # "relevant", "explored", "both" or "rest", see `raysys.state.slates.CameAs`; null where an
        # older raysys did not know
        pa.field("came_as", pa.string()),
        pa.field("fresh", pa.bool_(), nullable=False),  # a place that explored could have drawn it
        # items that the top place could draw; null where none could explore or it was not known
        pa.field("num_fresh", pa.int32()),
        # a client says that the item was visible; null where none said anything of the list
        pa.field("visible", pa.bool_()),
    ]
)
