"""Who comes on the days after a world's log, and when. Letters for shapes: V visits."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raysys.logs.simulator.draws import Integers, generator, numbered_ids, ragged
from raysys.logs.simulator.items import BEGIN_S, DAY_S
from raysys.logs.simulator.people import People

_VISITS_PER_DAY = 1 << 32  # numbers of visits of one day; more than anybody simulates


@dataclass(frozen=True, slots=True, eq=False)
class Visits:
    """People who come, in the order of time; nobody twice among visits that are shown together."""

    user_nums: Integers
    """(V,) user `u7` has number 7."""
    at_s: Integers
    """(V,) seconds since 1970."""
    visit_nums: Integers
    """(V,) distinct over all days."""

    def __len__(self) -> int:
        return len(self.user_nums)

    @property
    def user_ids(self) -> list[str]:
        """Who comes, as the log names them."""
        ids: list[str] = numbered_ids("u", self.user_nums).to_pylist()
        return ids

    def take(self, where: slice) -> "Visits":
        """Return some of the visits."""
        return Visits(self.user_nums[where], self.at_s[where], self.visit_nums[where])


def visits_of_day(people: People, day: int) -> Visits:
    """Return who comes on a day after the log, and when."""
    lengths = np.concatenate([people.lengths(block) for block in range(people.num_blocks)])
    activity = np.sqrt(lengths)
    rng = generator(people.seed, "visits", day)
    counts = rng.poisson(people.world.visits_per_day * activity / activity.mean())
    users, _ = ragged(counts)
    seconds = rng.integers(0, DAY_S, len(users))
    order = np.argsort(seconds, kind="stable")
    at_s = BEGIN_S + (people.world.num_days + day) * DAY_S + seconds[order]
    return Visits(users[order] + 1, at_s, day * _VISITS_PER_DAY + np.arange(len(users)))


def together(visits: Visits, size: int) -> Iterator[Visits]:
    """Yield visits in groups of at most `size` that follow each other, nobody twice in one."""
    start, here = 0, set[int]()
    for place, user in enumerate(visits.user_nums.tolist()):
        if user in here or place - start == size:
            yield visits.take(slice(start, place))
            start, here = place, set()
        here.add(user)
    if here:
        yield visits.take(slice(start, len(visits)))
