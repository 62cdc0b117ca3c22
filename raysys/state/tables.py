"""The tables of the database. A change of one needs a migration: see `raysys.state.migrations`."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
)

# Counts up by itself. SQLite does that for an INTEGER key only, which holds 64 bits there.
_COUNTING_KEY = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

# One row: the revision that the tables have, as alembic keeps it.
schema_revision = Table(
    "schema_revision",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="schema_revision_pkc"),
)

# One row per event, in the order of arrival (event_num). Rows are never changed.
events = Table(
    "events",
    metadata,
    Column("event_num", _COUNTING_KEY, primary_key=True),
    Column("dataset_group", String, nullable=False),
    Column("identity", String, nullable=False),  # Event.identity(); sent twice is still one event
    Column("user_id", String, nullable=False),
    Column("session_id", String, nullable=False),
    Column("item_id", String),
    Column("event_type", String, nullable=False),
    Column("occurred_at_us", BigInteger, nullable=False),  # microseconds since 1970 UTC
    Column("received_at_us", BigInteger, nullable=False),  # the same, by the server's clock
    Column("event_id", String),
    Column("event_value", Double),
    Column("properties", String),  # JSON text
    Column("recommendation_id", String),
    Column("impression", String),  # JSON list of item ids
    Column("is_click", Boolean, nullable=False),  # by the rule that held when it came
    UniqueConstraint("dataset_group", "identity", name="events_are_stored_once"),
)

# Finds the events that followed a slate.
events_by_recommendation = Index(
    "events_by_recommendation",
    events.c.dataset_group,
    events.c.recommendation_id,
    sqlite_where=events.c.recommendation_id.is_not(None),
    postgresql_where=events.c.recommendation_id.is_not(None),
)

# One row per user with an event that names an item, per user that a client put, and per session of
# a user.
user_states = Table(
    "user_states",
    metadata,
    Column("dataset_group", String, nullable=False),
    Column("user_id", String, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("packed", LargeBinary, nullable=False),  # UserState.pack()
    Column("properties", String),  # the text of a JSON object; null: the user was never put
    Column("joined_to", String),  # these two: see `raysys.state.sessions`
    Column("shared_at_us", BigInteger),
    PrimaryKeyConstraint("dataset_group", "user_id"),
)

# Finds the sessions of a user.
sessions_by_user = Index(
    "sessions_by_user",
    user_states.c.dataset_group,
    user_states.c.joined_to,
    sqlite_where=user_states.c.joined_to != user_states.c.user_id,
    postgresql_where=user_states.c.joined_to != user_states.c.user_id,
)

# One row per user who was forgotten, by a keyed hash of the id: see `raysys.state.tombstones`.
tombstones = Table(
    "tombstones",
    metadata,
    Column("dataset_group", String, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("forgotten_at_us", BigInteger, nullable=False),  # microseconds since 1970 UTC
    Column("version", BigInteger, nullable=False),  # the last one of their state
    PrimaryKeyConstraint("dataset_group", "digest"),
)

# One row per dataset group in which somebody was forgotten.
tombstone_keys = Table(
    "tombstone_keys",
    metadata,
    Column("dataset_group", String, primary_key=True),
    Column("key", LargeBinary, nullable=False),
)

# One row per dataset group. Whoever changes an item or a count raises it first and so holds its row
# until the commit: versions become visible in their own order, and who has read one has read all
# that came before.
delta_versions = Table(
    "delta_versions",
    metadata,
    Column("dataset_group", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
    # Of all items that are counted: the newest million impressions or so, and the clicks since.
    Column("impressions", BigInteger, nullable=False, server_default="0"),
    Column("clicks", BigInteger, nullable=False, server_default="0"),
)

# One row per dataset group whose events a dataset has taken over: how far the one has them that did
# so last. Older ones may be removed.
taken_over = Table(
    "taken_over",
    metadata,
    Column("dataset_group", String, primary_key=True),
    Column("event_num", BigInteger, nullable=False),
)

# One row per item that a client put.
items = Table(
    "items",
    metadata,
    Column("dataset_group", String, nullable=False),
    Column("item_id", String, nullable=False),
    Column("properties", String),  # the text of a JSON object
    Column("created_at_us", BigInteger, nullable=False),  # microseconds since 1970 UTC
    Column("version", BigInteger, nullable=False),  # the delta version of its last change
    PrimaryKeyConstraint("dataset_group", "item_id"),
    Index("items_by_version", "dataset_group", "version"),
)

# One row per item whose impressions matter: it was put, or shown while it was fresh.
item_counts = Table(
    "item_counts",
    metadata,
    Column("dataset_group", String, nullable=False),
    Column("item_id", String, nullable=False),
    Column("impressions", BigInteger, nullable=False),
    Column("clicks", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False),  # the delta version of its last change
    PrimaryKeyConstraint("dataset_group", "item_id"),
    Index("item_counts_by_version", "dataset_group", "version"),
)

# One row per item that an operator ever hid, whether or not anybody put it.
hidden_items = Table(
    "hidden_items",
    metadata,
    Column("dataset_group", String, nullable=False),
    Column("item_id", String, nullable=False),
    Column("is_hidden", Boolean, nullable=False),  # false once it is shown again
    Column("version", BigInteger, nullable=False),  # the delta version of its last change
    PrimaryKeyConstraint("dataset_group", "item_id"),
    Index("hidden_items_by_version", "dataset_group", "version"),
)

# One row per filter. The name is the end of its ARN, and made again it is another filter, so the
# number is what tells them apart.
filters = Table(
    "filters",
    metadata,
    Column("filter_num", _COUNTING_KEY, primary_key=True),
    Column("dataset_group", String, nullable=False),
    Column("name", String, nullable=False),
    Column("arn", String, nullable=False),
    Column("expression", String, nullable=False),
    Column("created_at_us", BigInteger, nullable=False),  # microseconds since 1970 UTC
    UniqueConstraint("dataset_group", "name", name="filters_have_names_of_their_own"),
)

# One row per answer, in the order of storing (slate_num). Rows are never changed.
slates = Table(
    "slates",
    metadata,
    Column("slate_num", _COUNTING_KEY, primary_key=True),
    Column("dataset_group", String, nullable=False),
    Column("recommendation_id", String, nullable=False),
    Column("user_id", String),
    Column("item_id", String),  # the item that similar ones were asked for
    Column("shown_at_us", BigInteger, nullable=False),  # microseconds since 1970 UTC
    Column("release", String, nullable=False),
    Column("delta_version", BigInteger, nullable=False),
    Column("source", String, nullable=False),
    Column("policy", String, nullable=False),
    Column("exploration_weight", Double, nullable=False),
    Column("seed", BigInteger, nullable=False),
    Column("item_ids", String, nullable=False),  # these six: JSON lists
    Column("propensities", String, nullable=False),
    Column("explored", String, nullable=False),
    Column("fresh_item_ids", String, nullable=False),
    Column("is_degraded", Boolean, nullable=False),
    Column("also_relevant", String),  # null: stored before this was known, as the next one
    Column("nothing_relevant", String),
    Column("num_fresh", Integer),  # null where nothing could be drawn, too
    UniqueConstraint("dataset_group", "recommendation_id", name="slates_are_stored_once"),
)

# One row per key that an operator made. Rows are never removed: a revoked key stays known as such,
# and a server that once had keys never goes back to asking for none.
access_keys = Table(
    "access_keys",
    metadata,
    Column("key_id", String, primary_key=True),
    Column("dataset_group", String, nullable=False),
    Column("kind", String, nullable=False),  # "signature" or "bearer"
    Column("proof", LargeBinary, nullable=False),  # the sealed secret, or the hash of the token
    Column("scopes", String, nullable=False),  # JSON list
    Column("campaign", String),  # the only one that it is good for
    Column("label", String, nullable=False),  # the operator's own word for it
    Column("created_at_us", BigInteger, nullable=False),  # microseconds since 1970 UTC
    Column("expires_at_us", BigInteger),
    Column("revoked_at_us", BigInteger),
    Index("access_keys_by_dataset_group", "dataset_group"),
)

# One row per dataset group that has keys; whoever changes a key raises it.
access_key_versions = Table(
    "access_key_versions",
    metadata,
    Column("dataset_group", String, primary_key=True),
    Column("version", BigInteger, nullable=False),
)

# One row for each time that somebody said what a campaign is to answer from. The versions of a
# campaign grow; what became of one is its status.
campaign_versions = Table(
    "campaign_versions",
    metadata,
    Column("dataset_group", String, nullable=False),
    Column("application", String, nullable=False),
    Column("campaign", String, nullable=False),
    Column("version", Integer, nullable=False),
    Column("asked", String, nullable=False),  # JSON, as it was asked for
    Column("plan", String, nullable=False),  # JSON: what that meant then
    Column("status", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),  # microseconds since 1970 UTC
    PrimaryKeyConstraint("dataset_group", "application", "campaign", "version"),
)

# One row per replica that has said which releases it holds; some may have died since.
replicas = Table(
    "replicas",
    metadata,
    Column("dataset_group", String, nullable=False),
    Column("application", String, nullable=False),
    Column("replica", String, nullable=False),
    Column("report", String, nullable=False),  # JSON
    PrimaryKeyConstraint("dataset_group", "application", "replica"),
)

# One row per application that learns by itself: who does so, and until when that holds.
learning_leases = Table(
    "learning_leases",
    metadata,
    Column("dataset_group", String, nullable=False),
    Column("application", String, nullable=False),
    Column("number", BigInteger, nullable=False),  # grows with every holder
    Column("owner", String, nullable=False),  # empty: nobody
    Column("expires_at_us", BigInteger, nullable=False),  # by the database's clock, since 1970 UTC
    PrimaryKeyConstraint("dataset_group", "application"),
)

# One row per round of learning, as `raysys.state.learning_rounds.Round` tells it.
learning_rounds = Table(
    "learning_rounds",
    metadata,
    Column("round_num", _COUNTING_KEY, primary_key=True),
    Column("dataset_group", String, nullable=False),
    Column("application", String, nullable=False),
    Column("number", BigInteger, nullable=False),
    Column("owner", String, nullable=False),
    Column("status", String, nullable=False),
    Column("step", String, nullable=False),
    Column("mode", String, nullable=False),
    Column("release", String, nullable=False),
    Column("published", String, nullable=False),
    Column("import_id", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("began_at_us", BigInteger, nullable=False),
    Column("ended_at_us", BigInteger),
    Index("learning_rounds_by_application", "dataset_group", "application", "round_num"),
)
