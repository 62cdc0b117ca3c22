"""What became of the log on its way in, what else is known of items and users, and what is left."""

import pyarrow as pa

from raysys.dataset.counting import ColumnProfile
from raysys.dataset.findings import Finding, judged, percent, quoted
from raysys.dataset.statistics import Statistics
from raysys.dataset.table_statistics import ItemJoin
from raysys.logs.schema import MAX_EVENT_TYPES_AND_METADATA, Kind
from raysys.logs.schema_change import schema_in
from raysys.logs.texts import is_number

_MAX_SPLIT_LOSS = 0.2
_MAX_CONTEXT_RANGE = 100


def quarantined(statistics: Statistics) -> Finding:
    """At most 1 %, and never half, of the rows quarantined."""
    manifest = statistics.manifest
    refused, rows = manifest.rows_quarantined, manifest.rows_in
    reasons = sorted(manifest.quarantined_by_reason.items(), key=lambda pair: (-pair[1], pair[0]))
    counts = ", ".join(f"{reason} {percent(count, rows)}" for reason, count in reasons)
    examples = " ".join(
        f"{reason}: {statistics.quarantined[reason]}"
        for reason, _ in reasons[:3]
        if reason in statistics.quarantined
    )
    hint = f"Correct them in the log and import again. {examples}"
    found = f"{percent(refused, rows)} of {rows:,} rows read were quarantined"
    return judged(
        "quarantined rows",
        f"{found}: {counts}" if refused else "no row was quarantined",
        fail=hint if refused > rows / 2 else "",
        warn=hint if refused > rows / 100 else "",
    )


def duplicates(statistics: Statistics) -> Finding:
    """At most a tenth of the rows left out as duplicates."""
    manifest = statistics.manifest
    repeated, rows = manifest.rows_duplicate, manifest.rows_in
    warn = ""
    if repeated > rows / 10:
        warn = (
            "Nothing is lost if the same file was imported twice. Otherwise check the times: rows "
            "of the same user, item, time and event type count once, so coarse times make "
            "duplicates of what happened twice."
        )
    found = f"{percent(repeated, rows)} of {rows:,} rows read repeat others and were left out"
    return judged("duplicates", found if repeated else "no row repeats another", warn=warn)


def event_types(statistics: Statistics) -> Finding:
    """A type on every interaction or on none, and few enough of them to mean something.

    Amazon Personalize takes at most ten event types and columns of metadata together.
    """
    types, rows = statistics.shard.event_types, statistics.shard.rows
    missing = statistics.shard.columns["event_type"].nulls
    if not types.is_complete:
        fail = "So many are rarely types of events. Check which column is EVENT_TYPE."
        return judged("event types", f"more than {types.limit:,} event types", fail=fail)
    fail, warn = _too_many_event_types(statistics), ""
    if 0 < missing < rows:
        warn = (
            "Such rows take part only where no event types are selected. Name the type of every "
            "row, or of none."
        )
    named = ", ".join(f"{name} {percent(n, rows)}" for name, n in types.most_common()[:5])
    more = len(types.counts) - 5
    found = f"{named}{f' and {more:,} more' if more > 0 else ''}"
    if missing:
        found = f"{found + ', ' if named else ''}none {percent(missing, rows)}"
    found = found if named else "the log has no event types"
    return judged("event types", found, fail=fail, warn=warn)


def _too_many_event_types(statistics: Statistics) -> str:
    """Return a hint where event types and metadata are more than Personalize takes; else ""."""
    num_types, num_columns = len(statistics.shard.event_types.counts), 0
    schema = schema_in(statistics.manifest, Kind.INTERACTIONS)
    if schema is not None:
        num_columns = len(schema.metadata)
    if num_types + num_columns <= MAX_EVENT_TYPES_AND_METADATA:
        return ""
    return (
        f"{num_types:,} event types and {num_columns} columns of metadata are more than "
        f"{MAX_EVENT_TYPES_AND_METADATA} together. Give rare types the name of one that means "
        f"nearly the same, leave them out of the log, or declare fewer columns."
    )


def impressions(statistics: Statistics) -> Finding | None:
    """Where an interaction says what was shown, that is a list of two items or more."""
    shown = statistics.manifest.impressions
    if not shown.rows:
        return None
    each = shown.items / shown.rows
    warn = ""
    if each < 2:
        warn = "What was shown alone was not chosen from a list. Check that `|` stands between ids."
    found = (
        f"{percent(shown.rows, statistics.shard.rows)} of the interactions say what was shown, "
        f"{each:,.1f} items each"
    )
    return judged("impressions", found, warn=warn)


def context(statistics: Statistics) -> Finding | None:
    """No number that is not whole, or has a range of more than 100, among the context."""
    schema = schema_in(statistics.manifest, Kind.INTERACTIONS)
    fields = () if schema is None else schema.context
    if not fields:
        return None
    found, suspects = [], []
    for field in fields:
        profile = statistics.shard.columns.get(field.column, ColumnProfile())
        text = field.name
        if not profile.is_empty and is_number(field.type.arrow):
            text += f" ({profile.lowest:,} to {profile.highest:,})"
            is_whole = pa.types.is_integer(field.type.arrow)
            if not is_whole or profile.highest - profile.lowest > _MAX_CONTEXT_RANGE:
                suspects.append(field.name)
        found.append(text)
    warn = ""
    if suspects:
        warn = (
            f"A context is what a request can say before anybody has chosen anything. Numbers like "
            f"{', '.join(suspects)} are often known only afterwards, such as seconds watched: then "
            f"a model learns from them what no request can tell it, and evaluation flatters it. "
            f"Leave such columns out of the schema, or make one of them EVENT_VALUE."
        )
    return judged("context", f"context of interactions: {', '.join(found)}", warn=warn)


def constant_columns(statistics: Statistics) -> Finding:
    """No column with the same value in every row, and none without any."""
    columns = statistics.column_profiles()
    optional = ("interactions.event_type", "interactions.event_value")
    constant = [name for name, profile in columns.items() if profile.is_constant]
    empty = [name for name, profile in columns.items() if profile.is_empty and name not in optional]
    found = [f"{name} is always {columns[name].lowest!r:.60}" for name in constant]
    found += [f"{name} is always empty" for name in empty]
    warn = ""
    if found:
        warn = (
            "Nothing can be learnt from them. Leave such columns out, or check how they are filled."
        )
    text = ", ".join(found) if found else f"none of {len(columns)} columns is constant or empty"
    return judged("constant columns", text, warn=warn)


def items_join(statistics: Statistics) -> Finding | None:
    """Nearly every item of an interaction has a row in the table of items."""
    table = statistics.item_table
    if table is None:
        return judged("items joined", "there is no table of items")
    total = statistics.num_items
    found = (
        f"{percent(table.items_without_row, total)} of {total:,} items, with "
        f"{percent(table.interactions_without_row, statistics.shard.rows)} of the interactions, "
        f"have no row in the table of items"
    )
    if not table.items_without_row:
        return judged("items joined", f"all {total:,} items have a row in the table of items")
    hint = _why_items_do_not_join(statistics, table)
    return judged(
        "items joined",
        found,
        fail=hint if table.items_without_row > total * 0.9 else "",
        warn=hint if table.items_without_row > total * 0.05 else "",
    )


def _why_items_do_not_join(statistics: Statistics, table: ItemJoin) -> str:
    hint = f"Without a row: {quoted(table.without_row, more=table.items_without_row > 3)}. "
    if table.unmatched:
        hint += f"In the table without interactions: {quoted(table.unmatched, more=True)}. "
    if ignored := statistics.item_ids_differ_in:
        return (
            f"{hint}Most would join if {ignored} were ignored: ids must be equal character by "
            f"character."
        )
    return f"{hint}Add them: what is not known of an item can be neither learnt nor filtered by."


def cold_items(statistics: Statistics) -> Finding | None:
    """What nobody interacted with yet can be recommended only by what is known of it."""
    table = statistics.item_table
    if table is None or not table.rows:
        return None
    cold = table.rows - table.matched
    bare = table.unmatched_without_metadata
    warn = ""
    if bare:
        warn = (
            "Such items can never be recommended for a reason: nobody chose them, and nothing says "
            "what they are like. Fill in their metadata."
        )
    elif table.matched and cold > table.rows * 0.9:
        warn = "Check that the table and the log are of the same shop and time."
    found = f"{cold:,} of {table.rows:,} rows of the table are items without interactions"
    if bare:
        found += f", and of {bare:,} of them nothing but the id is known"
    return judged("cold items", found, warn=warn)


def users_join(statistics: Statistics) -> Finding:
    """Nearly every user has a row in the table of users."""
    table, total = statistics.user_table, statistics.num_users
    if table is None:
        return judged("users joined", "there is no table of users")
    missing = total - table.matched
    found = (
        f"{percent(missing, total)} of {total:,} users have no row in the table of users, and "
        f"{table.rows - table.matched:,} of its {table.rows:,} rows are users without interactions"
    )
    without = statistics.shard.users_without_row
    hint = (
        f"Without a row: {quoted(without, more=missing > len(without))}; the table's ids are like "
        f"{quoted(table.unmatched, more=True)}. Ids must be equal character by character."
    )
    return judged(
        "users joined",
        found,
        fail=hint if missing > total * 0.9 else "",
        warn=hint if missing > total * 0.05 else "",
    )


def split(statistics: Statistics) -> Finding:
    """Leave-last-out, the split unless another is named, leaves enough to test with."""
    left = statistics.leave_last_out()
    fail = warn = ""
    if not left.users_tested:
        fail = (
            "Nobody has three interactions, so nothing could be tested. Use a split by time, or "
            "import more of the log."
        )
    elif left.users_tested < 100:
        warn = "Figures from so few users vary by chance: read their intervals, or import more."
    elif left.tested_never_trained > left.users_tested * _MAX_SPLIT_LOSS:
        warn = (
            "A model that knows items by their interactions only cannot find them, so figures will "
            "be low. Items are replaced quickly here: explore, and give items metadata."
        )
    found = (
        f"leave-last-out tests {left.users_tested:,} of {statistics.num_users:,} users and trains "
        f"on {left.interactions_trained:,} interactions; "
        f"{percent(left.tested_never_trained, left.users_tested)} of what is to be found was never "
        f"seen in training"
    )
    return judged("split", found, fail=fail, warn=warn)
