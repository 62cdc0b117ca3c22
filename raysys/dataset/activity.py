"""What happened when: interactions, new users and new items in equal pieces of time."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.statistics import Statistics
from raysys.dataset.time_bins import DAY_US, HOUR_US, MINUTE_US

MOST_PIECES = 130
_UNITS = {"day": DAY_US, "hour": HOUR_US, "minute": MINUTE_US}
_USUAL = [MINUTE_US * n for n in (1, 5, 15, 30)]
_USUAL += [HOUR_US * n for n in (1, 3, 6, 12)]
_USUAL += [DAY_US * n for n in (1, 2, 7, 14, 28, 91, 182)]


@dataclass(frozen=True, slots=True)
class Activity:
    """Counts by pieces of time, (P,) each; the last piece may be shorter than the others."""

    piece: str
    """How long one is, such as `7 days`."""
    starts: list[datetime]
    end: datetime
    interactions: NDArray[np.int64]
    new_users: NDArray[np.int64]
    """Users whose first interaction lies in the piece."""
    new_items: NDArray[np.int64]

    def to_json(self) -> dict[str, Any]:
        """Return the pieces as a JSON value."""
        return {
            "piece": self.piece,
            "from": [start.isoformat() for start in self.starts],
            "interactions": self.interactions.tolist(),
            "new_users": self.new_users.tolist(),
            "new_items": self.new_items.tolist(),
        }


def activity(statistics: Statistics, *, without_stray_times: bool = False) -> Activity:
    """Cut the time of a dataset into pieces of a usual length, at most about `MOST_PIECES`.

    Args:
        without_stray_times: leave out the outer thousandth of the interactions where it makes the
            time more than ten times as long.
    """
    bins = statistics.bins
    low, high = 0, bins.num - 1
    if without_stray_times and statistics.has_stray_times():
        low, high = statistics.bulk()
    needed_us = -(-(high - low + 1) // MOST_PIECES) * bins.width_us
    length_us = next((usual for usual in _USUAL if usual >= needed_us), needed_us)
    size = length_us // bins.width_us
    starts = np.arange(low, high + 1, size)
    counts = [
        np.add.reduceat(per_bin[: high + 1], starts)
        for per_bin in (
            statistics.shard.per_bin,
            statistics.shard.new_users_per_bin,
            statistics.new_items_per_bin,
        )
    ]
    starts_at = [bins.start_of(int(start)) for start in starts]
    return Activity(_in_words(length_us), starts_at, bins.start_of(high + 1), *counts)


def _in_words(length_us: int) -> str:
    unit, num = next((u, length_us // us) for u, us in _UNITS.items() if length_us % us == 0)
    return unit if num == 1 else f"{num} {unit}s"
