"""The people of a simulated world: what they like at any time, and when they come.

They are made in blocks of a fixed size, each from its own seed, so that any block can be made
alone, in any process, and memory does not grow with their number.

Letters for shapes: U users of a block, K tastes, S sessions, M questions.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pyarrow as pa

from raysys.logs.simulator.draws import Floats, Integers, generator, numbered_ids, ragged
from raysys.logs.simulator.items import BEGIN_S, DAY_S, GENRES
from raysys.logs.simulator.worlds import World

TABLE = pa.schema(
    [
        ("USER_ID", pa.string()),
        ("JOINED_AT", pa.int64()),  # seconds since 1970
        ("FAVOURITE", pa.string()),  # the genre they liked most when they joined
    ]
)
"""What is told of users."""

_BLOCK_PICKS = 1 << 18  # of one block, about; a few hundred bytes each while it is made
_FEWEST_PICKS = 20
_LAST_SESSION_S = 6 * 3600  # before the end of the log, so that what follows is in the log too
_JOINING_SHARE = 0.5  # people join in the first half of the log


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """The comings of a block's users, by user, then by time."""

    users: Integers
    """(S,) rows of the block, ascending."""
    at_s: Integers
    """(S,) seconds since 1970."""
    num_picks: Integers
    """(S,) how often the user picks unasked."""


@dataclass(frozen=True, eq=False)
class People:
    """The users of a world; user `u7` has row 6."""

    world: World
    seed: int

    @property
    def block_size(self) -> int:
        """Users of a block: few where they pick much."""
        return max(1, _BLOCK_PICKS // self.world.mean_history)

    @property
    def num_blocks(self) -> int:
        """Blocks of the world; the last one may be smaller than the others."""
        return -(-self.world.num_users // self.block_size)

    def num_users_in(self, block: int) -> int:
        """Return how many users a block has."""
        return min(self.block_size, self.world.num_users - block * self.block_size)

    def tastes(self, users: Integers, at_s: Integers) -> Floats:
        """Return what users like at a time, (M, K), rows summing to 1.

        Between two anchors of a user, `taste_period_days` apart, tastes change in a straight line.
        Before the log they are as at its beginning.

        Args:
            users: (M,) rows of the world.
            at_s: (M,) seconds since 1970.
        """
        periods = np.maximum(at_s - BEGIN_S, 0) / (self.world.taste_period_days * DAY_S)
        anchors = periods.astype(np.int64)
        share = (periods - anchors)[:, None]
        tastes = np.empty((len(users), len(GENRES)))
        blocks = users // self.block_size
        for block, anchor in sorted(set(zip(blocks.tolist(), anchors.tolist(), strict=True))):
            here = np.flatnonzero((blocks == block) & (anchors == anchor))
            rows = users[here] - block * self.block_size
            start, end = self._anchor(block, anchor), self._anchor(block, anchor + 1)
            tastes[here] = (1 - share[here]) * start[rows] + share[here] * end[rows]
        return tastes

    def lengths(self, block: int) -> Integers:
        """Return how often each user of a block picks unasked, (U,): few very often."""
        rng = generator(self.seed, "lengths", block)
        more = rng.lognormal(0.0, 1.0, self.num_users_in(block)) / np.exp(0.5)
        wanted = _FEWEST_PICKS + (more * (self.world.mean_history - _FEWEST_PICKS)).astype(np.int64)
        lengths: Integers = np.minimum(wanted, self.world.num_items // 4 + 1)
        return lengths

    def joined_at_s(self, block: int) -> Integers:
        """Return when each user of a block joined, (U,) seconds since 1970."""
        rng = generator(self.seed, "joining", block)
        seconds = round(_JOINING_SHARE * self.world.num_days * DAY_S)
        return BEGIN_S + rng.integers(0, seconds, self.num_users_in(block))

    def sessions(self, block: int) -> Sessions:
        """Return when a block's users come during the log."""
        rng = generator(self.seed, "sessions", block)
        lengths, joined = self.lengths(block), self.joined_at_s(block)
        num_sessions = np.ceil(lengths / self.world.picks_per_session).astype(np.int64)
        users, _ = ragged(num_sessions)
        end = BEGIN_S + self.world.num_days * DAY_S - _LAST_SESSION_S
        at_s = joined[users] + (rng.random(len(users)) * (end - joined[users])).astype(np.int64)
        at_s = at_s[np.lexsort((at_s, users))]
        starts = np.cumsum(num_sessions) - num_sessions
        pickers, _ = ragged(lengths)
        within = (rng.random(len(pickers)) * num_sessions[pickers]).astype(np.int64)
        num_picks = np.bincount(starts[pickers] + within, minlength=len(users))
        return Sessions(users, at_s, num_picks)

    def tables(self) -> Iterator[pa.Table]:
        """Yield the rows of `TABLE`, block by block."""
        for block in range(self.num_blocks):
            rows = block * self.block_size + np.arange(self.num_users_in(block))
            joined = self.joined_at_s(block)
            favourites = self.tastes(rows, joined).argmax(axis=1)
            columns = [
                numbered_ids("u", rows + 1),
                pa.array(joined),
                pa.array(GENRES).take(pa.array(favourites)),
            ]
            yield pa.table(columns, schema=TABLE)

    @lru_cache(maxsize=16)  # noqa: B019 - a world lives as long as its program
    def _anchor(self, block: int, anchor: int) -> Floats:
        rng = generator(self.seed, "tastes", block, anchor)
        weights = rng.gamma(
            self.world.taste_concentration, size=(self.num_users_in(block), len(GENRES))
        )
        weights += 1e-9  # a user of no taste at all would have no rows that sum to 1
        anchors: Floats = weights / weights.sum(axis=1, keepdims=True)
        return anchors
