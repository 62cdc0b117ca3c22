"""The time that a log covers, cut into equal pieces: minutes, hours or days, all of UTC."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from raysys.times import time_at

MINUTE_US = 60 * 1_000_000
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US
_MOST_BINS = 20_000  # of minutes and hours; what is longer has days, at most 47,482 up to 2099


@dataclass(frozen=True, slots=True)
class TimeBins:
    """Bin b holds the times from start_us + b * width_us on, up to the next one's start."""

    start_us: int
    width_us: int
    num: int

    @classmethod
    def between(cls, first_us: int, last_us: int) -> "TimeBins":
        """Return the finest bins of reasonable number that hold both times."""
        span = last_us - first_us
        width = next((w for w in (MINUTE_US, HOUR_US) if span < w * _MOST_BINS), DAY_US)
        start = first_us // width * width
        return cls(start, width, (last_us - start) // width + 1)

    def counts(self, times_us: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many of the times lie in each bin, (num,)."""
        bins = (times_us - self.start_us) // self.width_us
        return np.bincount(bins, minlength=self.num).astype(np.int64)

    def start_of(self, number: int) -> datetime:
        """Return when a bin begins."""
        return time_at(self.start_us + number * self.width_us)
