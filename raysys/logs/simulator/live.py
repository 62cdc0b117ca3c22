"""The days after a world's log, lived by a policy: who comes is shown its lists, and clicks.

    for day in live(simulator, policy, num_days=14):
        print(day.day, day.num_clicks)

Every day new items are launched. People come at random times, those who picked much in the log more
often; each is shown one list and reacts by the click model. They take nothing twice, what they took
in the log included, so that a policy without new items runs dry. Unasked nobody picks anything:
what is not shown is not clicked.

Two policies that live the same days of one world meet the same people at the same times, and what
is shown at one place of one visit gets the same coins from both, so that their difference is less
of chance than of them. All of it is kept in this process: for worlds of some thousand users.

Letters for shapes: V visits, M things shown (list after list, from the top), N items.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import pyarrow as pa

from raysys.logs.simulator.clicks import click_chances
from raysys.logs.simulator.draws import (
    Booleans,
    Floats,
    Integers,
    generator,
    hashed_uniform,
    numbered_ids,
    ragged,
)
from raysys.logs.simulator.events import Lists, Picks, events_of
from raysys.logs.simulator.log import block_picks
from raysys.logs.simulator.simulator import Simulator
from raysys.logs.simulator.visits import Visits, together, visits_of_day
from raysys.logs.simulator.worlds import FUTURE_DAYS


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """What some visits were shown and what they did; flat, list after list."""

    visits: Visits
    rows: Integers
    """(M,) the visit, by its place in `visits`."""
    positions: Integers
    """(M,) 0 at the top."""
    item_nums: Integers
    """(M,) item `i7` has number 7."""
    click_chances: Floats
    """(M,) the truth."""
    is_clicked: Booleans
    """(M,)"""
    events: pa.Table
    """What a client would tell: clicks and what followed them, as in the world's log."""


class Policy(Protocol):
    """What is judged."""

    def begin_day(self, day: int, new_items: pa.Table) -> None:
        """Learn overnight.

        Args:
            day: from 0.
            new_items: what is launched at the beginning of the day, as `Simulator.items` tells.
        """

    def recommend(self, visits: Visits) -> Sequence[Sequence[str]]:
        """Return a list of distinct item ids for each visit, best first, of any length."""

    def observe(self, shown: Shown) -> None:
        """Learn at once from what was shown. The true chances in it are not for learning."""


@dataclass(frozen=True, slots=True)
class Day:
    """What came of one day."""

    day: int
    num_visits: int
    num_shown: int
    num_clicks: int
    expected_clicks: float
    """The sum of the true chances of what was shown: clicks without the luck of the day."""
    num_new_items: int
    new_item_impressions: dict[str, int]
    """How often each item launched since the log has been shown so far."""


def live(
    simulator: Simulator, policy: Policy, num_days: int, *, visits_at_once: int = 64
) -> Iterator[Day]:
    """Let a policy live the days after the log, one after the other.

    Args:
        num_days: at most `FUTURE_DAYS`.
        visits_at_once: how many visits are shown lists before their clicks are known, at most;
            fewer where somebody would come twice among them.

    Raises:
        ValueError: too many days, or a list that holds an item twice, one that does not exist or
            one that is not launched yet.
    """
    if not 0 <= num_days <= FUTURE_DAYS:
        raise ValueError(
            f"A world has {FUTURE_DAYS} days after its log, but {num_days} were asked."
        )
    crowd = _Crowd(simulator)
    for day in range(num_days):
        new_items = pa.concat_tables(simulator.items(day))
        policy.begin_day(day, new_items)
        shown = []
        for visits in together(visits_of_day(simulator.people, day), visits_at_once):
            shown.append(crowd.show(visits, policy.recommend(visits)))
            policy.observe(shown[-1])
        yield Day(
            day,
            sum(len(one.visits) for one in shown),
            sum(len(one.item_nums) for one in shown),
            sum(int(one.is_clicked.sum()) for one in shown),
            sum(float(one.click_chances.sum()) for one in shown),
            new_items.num_rows,
            crowd.new_item_impressions(day),
        )


class _Crowd:
    """The users of a world: what each has taken so far, and how they react to lists."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator
        self._items = simulator.all_items
        self._impressions = np.zeros(len(self._items), np.int64)
        self._taken: set[int] = set()
        for block in range(simulator.people.num_blocks):
            picks, _ = block_picks(self._items, simulator.people, block)
            self._taken.update(self._keys(picks.users, picks.items).tolist())

    def show(self, visits: Visits, lists: Sequence[Sequence[str]]) -> Shown:
        """Show each visit its list and return what came of it."""
        world, seed = self._simulator.world, self._simulator.seed
        rows, positions, items = self._checked(visits, lists)
        users, at_s = visits.user_nums[rows] - 1, visits.at_s[rows]
        tastes = self._simulator.people.tastes(users, at_s)
        attraction = self._items.attraction(items, tastes)
        keys = self._keys(users, items)
        is_taken = np.array([key in self._taken for key in keys.tolist()], bool)
        visit_nums = visits.visit_nums[rows]
        looks = hashed_uniform(seed, visit_nums, positions) < world.examination**positions
        takes = hashed_uniform(seed + 1, visit_nums, items) < attraction
        is_clicked = looks & takes & ~is_taken
        self._taken.update(keys[is_clicked].tolist())
        self._impressions += np.bincount(items, minlength=len(self._items))
        fits = hashed_uniform(seed + 2, visit_nums, items) < self._items.fit_chances(items, tastes)
        lengths = np.array([len(one) for one in lists], np.int64)
        events = self._events(visits, Lists(items, lengths), rows, at_s, fits, is_clicked)
        return Shown(
            visits,
            rows,
            positions,
            items + 1,
            click_chances(positions, attraction, is_taken, world.examination),
            is_clicked,
            events,
        )

    def new_item_impressions(self, day: int) -> dict[str, int]:
        """Return how often each item launched since the log has been shown."""
        world = self._simulator.world
        launched = np.arange(world.num_items, world.num_items + (day + 1) * world.new_items_per_day)
        ids = numbered_ids("i", launched + 1).to_pylist()
        return dict(zip(ids, self._impressions[launched].tolist(), strict=True))

    def _keys(self, users: Integers, items: Integers) -> Integers:
        return users * len(self._items) + items

    def _checked(
        self, visits: Visits, lists: Sequence[Sequence[str]]
    ) -> tuple[Integers, Integers, Integers]:
        """Return each shown item's visit, position and number from 0 (ValueError)."""
        if len(lists) != len(visits):
            raise ValueError(f"{len(visits)} people came, but {len(lists)} lists were given.")
        num_launched = self._items.num_launched(visits.at_s)
        for items, limit in zip(lists, num_launched.tolist(), strict=True):
            if len(set(items)) < len(items):
                raise ValueError(f"A list holds an item twice: {list(items)}.")
            for item in items:
                if not 0 < _number_of(item) <= limit:
                    raise ValueError(f"Item {item!r} was shown, but no such item is launched yet.")
        rows, positions = ragged(np.array([len(one) for one in lists], np.int64))
        numbers = [_number_of(item) - 1 for items in lists for item in items]
        return rows, positions, np.array(numbers, np.int64)

    def _events(
        self,
        visits: Visits,
        lists: Lists,
        rows: Integers,
        at_s: Integers,
        fits: Booleans,
        is_clicked: Booleans,
    ) -> pa.Table:
        places = np.flatnonzero(is_clicked)
        places = places[np.argsort(visits.user_nums[rows[places]], kind="stable")]
        row = rows[places]
        users = visits.user_nums[row] - 1
        # Nobody comes twice in one group, so that a user is a session, and sorted they rise.
        picks = Picks(users, lists.items[places], users, at_s[places], fits[places], row)
        first = int(visits.visit_nums[0])
        rng = generator(self._simulator.seed, "events of visits", first)
        return events_of(picks, lists, self._simulator.world, rng, prefix=f"v{first}-")


def _number_of(item_id: str) -> int:
    """Return the number of an item, 0 where it is no id of an item."""
    return int(item_id[1:]) if item_id[:1] == "i" and item_id[1:].isdecimal() else 0
