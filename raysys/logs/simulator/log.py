"""What a block of users does during the log: sessions, lists shown to them, picks, events.

A session may begin with a list of what is popular, and then the user takes from it by the click
model. After it they pick unasked: a taste in charge, or straying, leads to a shelf and the shelf to
an item. Nobody takes an item twice: who would, looks on the same shelf again, a few times, and then
takes nothing. So the first pick is drawn by `Simulator.preference`, exactly, and later ones by it
among what is left.

Letters for shapes: S sessions, C things that may be taken, M picks, L lists.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from raysys.logs.simulator.clicks import click_chances
from raysys.logs.simulator.draws import (
    Booleans,
    Floats,
    Integers,
    draw_columns,
    generator,
    held_from,
    is_first_of,
    ragged,
)
from raysys.logs.simulator.events import Lists, Picks, events_of
from raysys.logs.simulator.items import WorldItems
from raysys.logs.simulator.people import People, Sessions

_TRIES_AGAIN = 3
_SPARE_PLACES = 4  # drawn for a list beyond its length, since what is drawn twice is shown once
_IN_A_LIST = -1  # instead of a shelf
_NO_LIST = -1


def block_events(items: WorldItems, people: People, block: int) -> pa.Table:
    """Return the events of a block's users, in the order of time."""
    picks, lists = block_picks(items, people, block)
    rng = generator(people.seed, "events", block)
    return events_of(picks, lists, items.world, rng, prefix=f"r{block}-")


def block_picks(items: WorldItems, people: People, block: int) -> tuple[Picks, Lists]:
    """Return what a block's users take, by user and time, and the lists that were shown to them."""
    sessions = people.sessions(block)
    num_launched = items.num_launched(sessions.at_s)
    first_user = block * people.block_size
    tastes = people.tastes(first_user + sessions.users, sessions.at_s)
    rng = generator(people.seed, "lists", block)
    lists, clicked = _shown_lists(items, sessions, tastes, num_launched, rng)
    rng = generator(people.seed, "picks", block)
    ends = items.shelves.ends(num_launched)
    unasked = _unasked(items, sessions, tastes, ends, rng)
    candidates = _Candidates.joined(clicked, unasked)
    users = sessions.users[candidates.sessions]
    for _ in range(_TRIES_AGAIN):
        is_again = ~is_first_of(users, candidates.items) & (candidates.shelves != _IN_A_LIST)
        candidates.draw_items(is_again, items, ends, rng)
    kept = is_first_of(users, candidates.items)
    session = candidates.sessions[kept]
    fits = rng.random(len(session)) < items.fit_chances(candidates.items[kept], tastes[session])
    picks = Picks(
        first_user + sessions.users[session],
        candidates.items[kept],
        session,
        sessions.at_s[session],
        fits,
        candidates.lists[kept],
    )
    return picks, lists


@dataclass(frozen=True, slots=True, eq=False)
class _Candidates:
    """What would be taken unless it was taken before, in the order of time within a session."""

    sessions: Integers
    items: Integers
    shelves: Integers
    """Where it was picked, `_IN_A_LIST` for what was clicked."""
    lists: Integers
    """The list in which it was clicked, `_NO_LIST` for what was picked."""

    @classmethod
    def joined(cls, clicked: "_Candidates", unasked: "_Candidates") -> "_Candidates":
        """Return both, ordered by session; within one the clicks come first."""
        sessions = np.concatenate([clicked.sessions, unasked.sessions])
        order = np.argsort(sessions, kind="stable")
        return cls(
            sessions[order],
            np.concatenate([clicked.items, unasked.items])[order],
            np.concatenate([clicked.shelves, unasked.shelves])[order],
            np.concatenate([clicked.lists, unasked.lists])[order],
        )

    def draw_items(
        self, where: Booleans, items: WorldItems, ends: Integers, rng: np.random.Generator
    ) -> None:
        """Draw anew, in place, what is picked from its shelf at some places."""
        shelves = self.shelves[where]
        ends_there = ends[self.sessions[where], shelves]
        self.items[where] = items.shelves.draw(rng.random(len(shelves)), shelves, ends_there)


def _shown_lists(
    items: WorldItems,
    sessions: Sessions,
    tastes: Floats,
    num_launched: Integers,
    rng: np.random.Generator,
) -> tuple[Lists, _Candidates]:
    """Draw lists by popularity, each item once in a list, and what is clicked in them."""
    world = items.world
    shown_in = np.flatnonzero(rng.random(len(sessions.users)) < world.share_of_sessions_with_list)
    width = world.list_length + _SPARE_PLACES
    lists = np.repeat(np.arange(len(shown_in)), width)
    ends = items.shelves.ends(num_launched[shown_in])[:, 0]
    drawn = items.shelves.draw(rng.random(len(lists)), np.zeros_like(lists), ends[lists])
    once = np.flatnonzero(is_first_of(lists, drawn))
    _, positions = ragged(np.bincount(lists[once], minlength=len(shown_in)))
    once = once[positions < world.list_length]
    positions = positions[positions < world.list_length]
    lists, drawn = lists[once], drawn[once]
    attraction = items.attraction(drawn, tastes[shown_in[lists]])
    never = np.zeros(len(drawn), bool)  # what was taken before is left out with other repeats
    chances = click_chances(positions, attraction, never, world.examination)
    is_clicked = rng.random(len(drawn)) < chances
    sessions_of_clicks, of_lists = shown_in[lists[is_clicked]], lists[is_clicked]
    clicked = _Candidates(
        sessions_of_clicks, drawn[is_clicked], np.full(len(of_lists), _IN_A_LIST), of_lists
    )
    return Lists(drawn, np.bincount(lists, minlength=len(shown_in))), clicked


def _unasked(
    items: WorldItems,
    sessions: Sessions,
    tastes: Floats,
    ends: Integers,
    rng: np.random.Generator,
) -> _Candidates:
    """Draw what is picked unasked, session by session."""
    session, _ = ragged(sessions.num_picks)
    cumulated = np.cumsum(items.shelves.chances(tastes, ends), axis=1)
    is_new = _is_new_taste(sessions.users[session], items.world.persistence, rng)
    shelves = np.zeros(len(session), np.int64)
    shelves[is_new] = draw_columns(rng.random(int(is_new.sum())), cumulated[session[is_new]])
    shelves = shelves[held_from(is_new)]
    nothing = np.full(len(session), _NO_LIST)
    unasked = _Candidates(session, np.zeros_like(session), shelves, nothing)
    unasked.draw_items(np.ones(len(session), bool), items, ends, rng)
    return unasked


def _is_new_taste(users: Integers, persistence: float, rng: np.random.Generator) -> Booleans:
    is_new: Booleans = rng.random(len(users)) >= persistence
    is_new |= np.diff(users, prepend=-1) != 0
    return is_new
