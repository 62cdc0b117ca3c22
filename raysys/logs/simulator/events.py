"""From picks to the events that a log or a client tells of.

Every pick is an event; others may follow it (`World.follow_ups`). A pick out of a list carries the
list, as Amazon Personalize's IMPRESSION and RECOMMENDATION_ID.

Letters for shapes: M picks, E events, L lists.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from raysys.logs.simulator.draws import (
    Booleans,
    Floats,
    Integers,
    numbered_ids,
    rising,
)
from raysys.logs.simulator.worlds import FollowUp, World

_COLUMNS = [
    ("USER_ID", pa.string()),
    ("ITEM_ID", pa.string()),
    ("TIMESTAMP", pa.int64()),
    ("EVENT_TYPE", pa.string()),
    ("EVENT_VALUE", pa.float64()),
]
_OF_LISTS = [("IMPRESSION", pa.string()), ("RECOMMENDATION_ID", pa.string())]
_MEAN_GAP_S = 90


@dataclass(frozen=True, slots=True, eq=False)
class Picks:
    """What was taken, by user and time; each (M,)."""

    users: Integers
    """Rows of the world, ascending."""
    items: Integers
    sessions: Integers
    """Ascending; the picks of one follow each other."""
    at_s: Integers
    """When the session began, seconds since 1970."""
    fits: Booleans
    """Taste led to it, not straying."""
    lists: Integers
    """The list it was taken from; -1: it was picked unasked."""


@dataclass(frozen=True, slots=True, eq=False)
class Lists:
    """Lists that were shown, laid end to end from the top."""

    items: Integers
    lengths: Integers
    """(L,)"""


def event_schema(world: World) -> pa.Schema:
    """Return the columns of a world's log; those of lists only where lists are shown."""
    has_lists = world.share_of_sessions_with_list > 0
    return pa.schema(_COLUMNS + _OF_LISTS if has_lists else _COLUMNS)


def events_of(
    picks: Picks, lists: Lists, world: World, rng: np.random.Generator, *, prefix: str
) -> pa.Table:
    """Return the events of picks, in the order of time; a user's times rise strictly.

    Args:
        prefix: of recommendation ids; the number of the list follows.
    """
    rows, kinds = _rows(picks, world, rng)
    at_s = _times(picks, rows, rng)
    order = np.argsort(at_s, kind="stable")
    rows, kinds = rows[order], kinds[order]
    columns = [
        numbered_ids("u", picks.users[rows] + 1),
        numbered_ids("i", picks.items[rows] + 1),
        pa.array(at_s[order]),
        pa.array([world.event_type, *world.follow_ups]).take(pa.array(kinds)),
        _values(picks.fits[rows], kinds, world, rng),
    ]
    schema = event_schema(world)
    if len(schema) > len(columns):
        columns += _list_columns(lists, picks.lists[rows], prefix)
    return pa.table(columns, schema=schema)


def _rows(picks: Picks, world: World, rng: np.random.Generator) -> tuple[Integers, Integers]:
    """Return of each event the pick it belongs to and its kind: 0 the pick, then follow-ups."""
    happens = [np.ones(len(picks.items), bool)]
    for follow_up in world.follow_ups.values():
        chances = np.where(picks.fits, follow_up.when_fit, follow_up.otherwise)
        happens.append(rng.random(len(chances)) < chances)
    rows, kinds = np.nonzero(np.stack(happens, axis=1))
    return rows, kinds


def _times(picks: Picks, rows: Integers, rng: np.random.Generator) -> Integers:
    """Return when each event happens: minutes apart within a session."""
    session = picks.sessions[rows]
    is_first = np.diff(session, prepend=-1) != 0
    gaps = np.where(is_first, 0, 1 + rng.exponential(_MEAN_GAP_S, len(rows)).astype(np.int64))
    elapsed = np.cumsum(gaps)
    since = elapsed - elapsed[np.searchsorted(session, session, side="left")]
    return rising(picks.at_s[rows] + since, picks.users[rows])


def _values(fits: Booleans, kinds: Integers, world: World, rng: np.random.Generator) -> pa.Array:
    """Return EVENT_VALUE: a rating of a pick, a share of a follow-up, as the world has them."""
    values = np.full(len(kinds), np.nan)
    if world.is_rated:
        is_pick = kinds == 0
        means = np.where(fits[is_pick], 4.0, 2.5)
        values[is_pick] = np.clip(np.rint(rng.normal(means, 0.8)), 1, 5)
    for kind, follow_up in enumerate(world.follow_ups.values(), start=1):
        is_it = kinds == kind
        values[is_it] = _shares(follow_up, fits[is_it], rng)
    return pa.array(values, mask=np.isnan(values))


def _shares(follow_up: FollowUp, fits: Booleans, rng: np.random.Generator) -> Floats:
    if not follow_up.has_value:
        return np.full(len(fits), np.nan)
    shares: Floats = np.round(rng.beta(np.where(fits, 4.0, 1.5), 1.5) * 0.99 + 0.01, 2)
    return shares


def _list_columns(lists: Lists, list_of_row: Integers, prefix: str) -> list[pa.Array]:
    ids = numbered_ids("i", lists.items + 1)
    offsets = np.concatenate([[0], np.cumsum(lists.lengths)])
    texts = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), ids), "|")
    names = numbered_ids(prefix, np.arange(len(lists.lengths)))
    where = pa.array(list_of_row, mask=list_of_row < 0)
    return [texts.take(where), names.take(where)]
