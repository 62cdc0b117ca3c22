"""What interactions must be like for a model to learn from them: enough, spread out, in time."""

from raysys.dataset.findings import Finding, judged, percent
from raysys.dataset.statistics import Statistics

# Amazon Personalize's minima, and what it recommends.
MIN_INTERACTIONS, GOOD_INTERACTIONS = 1_000, 50_000
MIN_RETURNING_USERS, MIN_RETURNING_SHARE, GOOD_USERS = 25, 0.01, 1_000


def interactions(statistics: Statistics) -> Finding:
    """At least 1,000 interactions; 50,000 are better."""
    rows = statistics.shard.rows
    fail = warn = ""
    if rows < MIN_INTERACTIONS:
        fail = (
            f"At least {MIN_INTERACTIONS:,} are needed, or nothing can be learnt that is not "
            f"chance. Import more of the log."
        )
    elif rows < GOOD_INTERACTIONS:
        warn = (
            f"From {GOOD_INTERACTIONS:,} on, models are usually better than a list of what is "
            f"popular. Import more of the log, and compare with `raysys evaluate`."
        )
    return judged("interactions", f"{rows:,} interactions", fail=fail, warn=warn)


def returning_users(statistics: Statistics) -> Finding:
    """At least 25 users, and 1 % of them, with two interactions or more."""
    users, returning = statistics.num_users, statistics.users_with(2)
    fail = warn = ""
    if returning < MIN_RETURNING_USERS or returning < users * MIN_RETURNING_SHARE:
        fail = (
            f"At least {MIN_RETURNING_USERS} of them, and 1 % of all users, are needed: what goes "
            f"with what is learnt only from people who did two things. If users should return, "
            f"check that USER_ID names the person and not the session or the request."
        )
    elif users < GOOD_USERS:
        warn = (
            f"From {GOOD_USERS:,} users on, tastes can be told apart well. Import more of the log."
        )
    found = f"{returning:,} of {users:,} users have two interactions or more"
    return judged("returning users", found, fail=fail, warn=warn)


def single_interactions(statistics: Statistics) -> Finding:
    """At most half of the users with one interaction only."""
    users = statistics.num_users
    single = users - statistics.users_with(2)
    warn = ""
    if single > users / 2:
        warn = (
            "They add to what is popular, and nothing to what goes with what. Check that USER_ID "
            "stays the same from visit to visit: a cookie or session id makes a new user each time."
        )
    found = f"{percent(single, users)} of the users have one interaction only"
    return judged("one-interaction users", found, warn=warn)


def most_popular_item(statistics: Statistics) -> Finding:
    """No item with more than a tenth, and none with half, of the traffic."""
    first = statistics.items.slice(0, 1).to_pylist()[0]
    share = first["interactions"] / statistics.shard.rows
    name = repr(first["item_id"])
    fail = warn = ""
    if statistics.num_items < 2:
        fail = "With one item there is nothing to choose from. Check which column is ITEM_ID."
    elif share > 0.5:
        fail = (
            f"A model would learn to answer {name} to everybody. If it is no real item (a home "
            f"page, a default value, a test), leave its rows out and import again."
        )
    elif share > 0.1:
        warn = f"Check that {name} is a real item, and not a home page, a default value or a test."
    found = (
        f"the most popular of {statistics.num_items:,} items, {name}, has "
        f"{percent(first['interactions'], statistics.shard.rows)} of the interactions"
    )
    return judged("most popular item", found, fail=fail, warn=warn)


def busiest_user(statistics: Statistics) -> Finding:
    """No user with more than a twentieth of the interactions."""
    length, user = statistics.shard.longest
    warn = ""
    if length > statistics.shard.rows / 20:
        warn = (
            "That is rarely a person: a crawler, a test account, or the id of everybody who is not "
            "signed in. Leave its rows out, or give such visitors the ids of their sessions."
        )
    found = f"the busiest user, {user!r}, has {percent(length, statistics.shard.rows)} of them"
    return judged("busiest user", found, warn=warn)


def unit_of_time(statistics: Statistics) -> Finding:
    """Times in seconds: none before 1980, none refused as too large."""
    rows, early = statistics.shard.rows, statistics.shard.early_rows
    large = statistics.manifest.quarantined_by_reason.get("timestamp_out_of_range", 0)
    example = statistics.quarantined.get("timestamp_out_of_range", "")
    fail = warn = ""
    if large > statistics.manifest.rows_in / 2:
        fail = f"Times must be seconds since 1970. {example}"
    elif early > rows / 2:
        fail = (
            "Times must be seconds since 1970. These seem to be in a larger unit (minutes, days, "
            "thousands of seconds), or to count from another start. Convert them, and import again."
        )
    elif early:
        warn = f"They distort what is new and what is old. Correct or drop such rows. {example}"
    elif large:
        warn = f"Correct such rows and import again, or do without them. {example}"
    found = "all times are seconds of a plausible size"
    if large or early:
        found = f"times beyond 2099, quarantined: {large:,}; before 1980: {early:,}"
    return judged("unit of time", found, fail=fail.rstrip(), warn=warn.rstrip())


def future(statistics: Statistics) -> Finding:
    """No interaction later than now."""
    rows, late = statistics.shard.rows, statistics.shard.future_rows
    hint = (
        f"The ages of items and the split by time count from the newest interaction, which is on "
        f"{statistics.last_day}. Check time zones (times are UTC), clocks and default values."
    )
    found = f"{percent(late, rows)} of the interactions lie in the future ({late:,})"
    return judged(
        "future",
        found if late else "no interaction lies in the future",
        fail=hint if late > rows / 100 else "",
        warn=hint if late else "",
    )


def time_span(statistics: Statistics) -> Finding:
    """More than one moment, and no stray times that stretch the log to many times its length."""
    bins = statistics.bins
    manifest = statistics.manifest
    fail = warn = ""
    if manifest.first_occurred_at == manifest.last_occurred_at:
        fail = "One moment has no before and after. Check which column is TIMESTAMP."
    elif statistics.has_stray_times():
        low, high = statistics.bulk()
        warn = (
            f"All but one in a thousand lie from {bins.start_of(low):%Y-%m-%d} to "
            f"{bins.start_of(high):%Y-%m-%d}, in a small part of that time. The others stretch "
            f"ages and splits by time; check whether they are default values."
        )
    found = f"the interactions are from {statistics.first_day} to {statistics.last_day}"
    return judged("time span", found, fail=fail, warn=warn)


def ties(statistics: Statistics) -> Finding:
    """At most a fifth of the interactions at the very time of another one of their user."""
    rows, tied = statistics.shard.rows, statistics.shard.tied_rows
    coarse = statistics.resolution()
    warn = ""
    if tied > rows / 5:
        why = f"All times are whole {coarse}, so import finer ones. " if coarse in _COARSE else ""
        warn = (
            f"What came first is not known of them; the order of the log decides. {why}If the log "
            f"is not in the order of what happened, a sequential model learns from chance: compare "
            f"it with `two-tower`."
        )
    found = f"{percent(tied, rows)} of the interactions share their time with another of their user"
    return judged("ties in time", found, warn=warn)


_COARSE = ("days", "hours", "minutes")
