"""A simulated world as one thing: its log, its tables, and its truth.

Letters for shapes: N items, M questions.

The truth is one number, `attraction`: the chance that a user who looks at an item takes it. It
follows from the item's quality and from what the user likes at the time. Two things hide it from
whoever has the log alone: fame, since people come across famous items more readily (`preference`),
and places, since what stands low in a list is looked at less (`click_chances`).
"""

from collections.abc import Iterator
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raysys import storage
from raysys.config import parse_config
from raysys.errors import ConfigError, DatasetError
from raysys.logs.movielens import LogFiles
from raysys.logs.simulator.clicks import click_chances
from raysys.logs.simulator.draws import Floats, Integers
from raysys.logs.simulator.items import BEGIN_S, DAY_S, WorldItems
from raysys.logs.simulator.log import block_events
from raysys.logs.simulator.people import People
from raysys.logs.simulator.worlds import World, load_world

Numbers = NDArray[Any] | int

WORLD_FILE = "world.json"
"""Beside a written log: `Simulator.settings`."""

_ITEMS_AT_ONCE = 1 << 18


class Simulator:
    """One world. User `u7` has number 7, item `i7` has number 7, the seventh to be launched.

    The same settings and seed give the same bytes, with one version of numpy, in any process and
    however the work is spread. Opening a world costs little; it pickles as its settings.
    """

    def __init__(self, world: str | World = "demo", *, seed: int = 0, **changes: Any) -> None:
        """Open a world.

        Args:
            world: the name of a frozen world, or the settings of one.
            seed: from 0 to 2 ** 63 - 1.
            changes: settings in which it is to differ, such as `num_users=60`.

        Raises:
            ConfigError: there is no such world or setting, or a value is out of its bounds.
        """
        if not 0 <= seed < 1 << 63:
            raise ConfigError(f"The seed of a world is from 0 to 2 ** 63 - 1, but got {seed}.")
        if isinstance(world, str):
            self.world = load_world(world, **changes)
        else:
            self.world = parse_config(world.model_dump() | changes, World, source="the world")
        self.seed = seed
        self.people = People(self.world, seed)

    @classmethod
    def of_about(
        cls, num_rows: int, world: str = "demo", *, seed: int = 0, **changes: Any
    ) -> "Simulator":
        """Open a world with as many users as make about so many rows of interactions.

        Raises:
            ConfigError: as of a world; or `num_rows` is below 1.
        """
        if num_rows < 1:
            raise ConfigError(f"A log has at least 1 row, but {num_rows} were asked for.")
        world_of_any = cls(world, seed=seed, **changes)
        sample = cls(world, seed=seed, **changes, num_users=world_of_any.people.block_size)
        rows_per_user = sample.block(0).num_rows / sample.world.num_users
        return cls(world, seed=seed, **changes, num_users=max(1, round(num_rows / rows_per_user)))

    @classmethod
    def of_log(cls, directory: Path) -> "Simulator":
        """Open the world whose log was written into a directory (DatasetError: none was)."""
        path = directory / WORLD_FILE
        try:
            settings = storage.read_json(path)
            world, seed = settings["world"], int(settings["seed"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(
                f"{directory} is no simulated log: {path} cannot be read. {error}"
            ) from error
        return cls(parse_config(world, World, source=str(path)), seed=seed)

    def __reduce__(self) -> tuple[Any, ...]:
        return _opened, (self.world.model_dump_json(), self.seed)

    @cached_property
    def all_items(self) -> WorldItems:
        """The items of the log, then those of the days after it; from 0 in launch order."""
        return WorldItems.of(self.world, self.seed)

    @property
    def begin_s(self) -> int:
        """When the log begins, seconds since 1970."""
        return BEGIN_S

    @property
    def end_s(self) -> int:
        """When the log ends and the days after it begin, seconds since 1970."""
        return BEGIN_S + self.world.num_days * DAY_S

    def attraction(self, user_num: Numbers, item_num: Numbers, at_s: Numbers) -> Floats:
        """Return the chance that a user who looks at an item takes it, for the first time.

        Args:
            user_num, item_num, at_s: numbers or arrays, matched elementwise; `at_s` is seconds
                since 1970. Whether the item has been launched by then does not matter.

        Raises:
            ValueError: a number that no user or no item has.
        """
        users, items, times = self._matched(user_num, item_num, at_s)
        return self.all_items.attraction(items, self.people.tastes(users, times))

    def preference(self, user_num: Numbers, item_num: Numbers, at_s: Numbers) -> Floats:
        """Return the chance that what a user picks unasked is the item, were they to forget.

        It goes by fame * attraction among what has been launched, and is 0 for what has not. Over
        the catalogue it sums to 1.

        Args:
            user_num, item_num, at_s: as of `attraction`.
        """
        users, items, times = self._matched(user_num, item_num, at_s)
        tastes = self.people.tastes(users, times)
        weight = self.all_items.fame[items] * self.all_items.attraction(items, tastes)
        num_launched = self.all_items.num_launched(times)
        shelves = self.all_items.shelves
        launched: Floats = np.where(items < num_launched, weight, 0.0)
        return launched / shelves.total(tastes, shelves.ends(num_launched))

    def click_chances(self, user_num: int, item_nums: Numbers, at_s: int) -> Floats:
        """Return the chance of a click on each item of a list shown to a user, from the top, (M,).

        Their sum is what the list is worth. What the user took before is worth nothing and must be
        known by the caller.
        """
        attraction = self.attraction(user_num, item_nums, at_s)
        places = np.arange(len(attraction))
        return click_chances(
            places, attraction, np.zeros(len(places), bool), self.world.examination
        )

    def items(self, day: int | None = None) -> Iterator[pa.Table]:
        """Yield items in pieces, see `items.TABLE`: of the log, or what a day after it launches.

        Args:
            day: from 0 to FUTURE_DAYS - 1; its items are launched when it begins.
        """
        start, stop = 0, self.world.num_items
        if day is not None:
            start = stop + day * self.world.new_items_per_day
            stop = start + self.world.new_items_per_day
        for piece in range(start, max(stop, start + 1), _ITEMS_AT_ONCE):
            yield self.all_items.table(piece, min(piece + _ITEMS_AT_ONCE, stop))

    def users(self) -> Iterator[pa.Table]:
        """Yield the users, in pieces: see `people.TABLE`."""
        return self.people.tables()

    def interactions(self) -> Iterator[pa.Table]:
        """Yield the log, a block of users at a time, each block in the order of time."""
        for block in range(self.people.num_blocks):
            yield self.block(block)

    def block(self, block: int) -> pa.Table:
        """Return the log of one block of users, in the order of time."""
        return block_events(self.all_items, self.people, block)

    def write(self, directory: Path) -> LogFiles:
        """Write the log into a directory, as one CSV file and two tables, in this process.

        `writing.write_log` does the same on Ray, and says what is where.
        """
        from raysys.logs.simulator.writing import write_log  # which imports this file

        return write_log(self, directory, num_files=1).files

    def settings(self) -> dict[str, Any]:
        """Return what `of_log` opens the world from, fit for JSON."""
        return {"world": self.world.model_dump(mode="json"), "seed": self.seed}

    def _matched(self, *given: Numbers) -> list[Integers]:
        """Return users, items (both from 0) and times as arrays of one length."""
        users, items, times = np.broadcast_arrays(*(np.atleast_1d(one) for one in given))
        for kind, numbers, most in (
            ("user", users, self.world.num_users),
            ("item", items, len(self.all_items)),
        ):
            if numbers.size and not 1 <= numbers.min() <= numbers.max() <= most:
                raise ValueError(
                    f"This world has the {kind}s 1 to {most}, but {numbers.min()} to "
                    f"{numbers.max()} were asked for."
                )
        return [users - 1, items - 1, times]


@lru_cache(maxsize=4)
def _opened(world: str, seed: int) -> Simulator:
    """Return the world of these settings; tasks that run in one process share its items."""
    return Simulator(World.model_validate_json(world), seed=seed)
