"""From where items are picked unasked, whatever has been launched by then.

Letters for shapes: N items, K tastes (one per genre), T places on shelves, S moments, M picks.
"""

from dataclasses import dataclass

import numpy as np

from raysys.logs.simulator.draws import Booleans, Floats, Integers


@dataclass(frozen=True, eq=False)
class Shelves:
    """From where items are picked unasked: shelf 0 holds all of them, shelf k + 1 those of genre k.

    Who strays picks from shelf 0; a taste in charge picks from its own. On a shelf an item's chance
    goes by its weight, among those launched. Weights are kept as running sums over all shelves,
    one after the other, so that one binary search draws an item from any part of any shelf.
    """

    stray: float
    items: Integers
    """(T,) the items of each shelf in the order of launches, shelf after shelf."""
    starts: Integers
    """(K + 2,) where the items of each shelf begin; the last is T."""
    sums: Floats
    """(T + 1,) the weight of all before."""

    @classmethod
    def of(cls, genres: Booleans, weights: Floats, stray: float) -> "Shelves":
        """Put items on their shelves.

        Args:
            genres: (N, K) of each item, in the order of launches.
            weights: (N,) above 0.
            stray: how much the weights of shelf 0 count; those of the others count 1 - stray.
        """
        members = [np.arange(len(genres)), *(np.flatnonzero(one) for one in genres.T)]
        on_shelves = np.concatenate(members)
        return cls(
            stray,
            on_shelves,
            np.concatenate([[0], np.cumsum([len(one) for one in members])]),
            np.concatenate([[0.0], np.cumsum(weights[on_shelves])]),
        )

    def ends(self, num_launched: Integers) -> Integers:
        """Return where what is launched ends on each shelf, (S, K + 1)."""
        shelves = zip(self.starts[:-1], self.starts[1:], strict=True)
        ends = [
            start + np.searchsorted(self.items[start:stop], num_launched) for start, stop in shelves
        ]
        return np.stack(ends, axis=1)

    def chances(self, tastes: Floats, ends: Integers) -> Floats:
        """Return the chance of each shelf for a pick, (S, K + 1), by (S, K) tastes."""
        weights = self._weighted(tastes, ends)
        chances: Floats = weights / weights.sum(axis=1, keepdims=True)
        return chances

    def _weighted(self, tastes: Floats, ends: Integers) -> Floats:
        weights: Floats = self.sums[ends] - self.sums[self.starts[:-1]]
        weights[:, 0] *= self.stray
        weights[:, 1:] *= (1 - self.stray) * tastes
        return weights

    def total(self, tastes: Floats, ends: Integers) -> Floats:
        """Return the sum of fame * attraction over what is launched, (S,), by (S, K) tastes."""
        totals: Floats = self._weighted(tastes, ends).sum(axis=1)
        return totals

    def draw(self, uniform: Floats, shelves: Integers, ends: Integers) -> Integers:
        """Return an item for each pick, (M,).

        Args:
            uniform: (M,) in [0, 1).
            shelves: (M,) with something on each.
            ends: (M,) where what is launched ends on that shelf.
        """
        starts = self.starts[shelves]
        low, high = self.sums[starts], self.sums[ends]
        found = np.searchsorted(self.sums, low + uniform * (high - low), side="right") - 1
        drawn: Integers = self.items[np.clip(found, starts, ends - 1)]  # sums are rounded
        return drawn
