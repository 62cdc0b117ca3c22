"""Thompson sampling: a place that explores draws what a sample of all click rates makes best.

How much a fresh item is worth to a query is uncertain: score * score_weight + evidence * the log of
how many times as often as the average it is clicked, of which `ThompsonSampling` (in `policies`)
says mean and standard deviation. Each place that explores samples the worth of every item anew,
from the logistic distribution of these two, and shows the best of those that do not stand above. So
what is uncertain is tried as often as it may be the best.

With samples of its own for every place, an item comes with the chance, over the items left,

    P(i is best) = integral of f_i(x) * product over the others j of F_j(x) dx

whatever stands above and why. It has no closed form: midpoints of a grid give it to 0.001.

Items that are far from promising are not sampled: those are that are relevant too and, of the
others, those of highest mean plus standard deviation, `num_sampled` of them. Who is left out now
comes in when those before it have been tried.

Letters for shapes:
    M  items that are sampled    R  relevant items    k  places    G  cells of the grid
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.policy.candidates import FreshCandidates
from raysys.policy.noise import uniforms
from raysys.policy.slot_mixture import MixedSlates

_FEWEST_SAMPLED = 64
_SCALE = math.sqrt(3) / math.pi  # of a logistic distribution, by its standard deviation
_REACH = 14.0  # scales from the middle: beyond lies less than a millionth
_FEWEST_CELLS, _MOST_CELLS = 128, 1024
_NONE = 0  # no item has this key


def num_sampled(k: int) -> int:
    """Return how many items that are not relevant are sampled for a list of k places."""
    return max(k, _FEWEST_SAMPLED)


def sampled(
    relevant: NDArray[np.integer], fresh: FreshCandidates, k: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return keys, means and standard deviations of the items that are sampled, (M,) each.

    In ascending order of key, however many shards gave the candidates.

    Args:
        fresh: logits are means; what is perturbed are means plus standard deviations.
    """
    is_relevant = np.isin(fresh.keys, relevant)
    order = np.lexsort((fresh.keys, -fresh.perturbed, ~is_relevant))
    num_relevant = int(np.count_nonzero(is_relevant))
    rows = order[: num_relevant + num_sampled(k)]
    rows = rows[np.argsort(fresh.keys[rows])]
    means = fresh.logits[rows]
    return fresh.keys[rows], means, fresh.perturbed[rows] - means


def mix(
    relevant: NDArray[np.integer],
    fresh: FreshCandidates,
    k: int,
    weight: float,
    coins: NDArray[np.float64],
    seed: int,
) -> MixedSlates:
    """Return the list of k places that coins and samples decide.

    Args:
        relevant: (R,) distinct keys, best first; k of them, or all there are.
        fresh: as `sampled` takes them, at least those that it keeps.
        weight: chance of a place to explore, in [0, 1].
        coins: (k,) in [0, 1); a place explores when its coin is below the weight.
        seed: of the samples.
    """
    keys, means, deviations = sampled(relevant, fresh, k)
    if weight == 0:
        keys, means, deviations = keys[:0], means[:0], deviations[:0]
    worth = _Worth(means, _SCALE * deviations, k)
    row_of = {key: row for row, key in enumerate(keys.tolist())}
    waiting = [*relevant.tolist(), _NONE]
    places: list[_Place] = []
    next_place = 0
    for number, coin in enumerate(coins[:k].tolist()):
        while row_of.get(waiting[next_place], -1) in worth.placed:
            next_place += 1
        next_relevant = waiting[next_place]
        chance = 0.0
        if worth.num_left:
            chance = weight if next_relevant != _NONE else 1.0
        elif next_relevant == _NONE:
            break
        explores = coin < chance
        if explores:
            row = worth.best(uniforms(seed, number, keys))
            key = int(keys[row])
        else:
            key = next_relevant
            row = row_of.get(key, -1)
            next_place += 1
        propensity = (1 - chance) * (key == next_relevant)
        if row >= 0:
            propensity += chance * worth.chance_of(row)
            worth.place(row)
        places.append(_Place(key, explores, row >= 0, propensity, next_relevant))
    return _slate(places)


@dataclass(frozen=True, slots=True)
class _Place:
    key: int
    is_explored: bool
    is_fresh: bool
    propensity: float
    next_relevant: int


class _Worth:
    """What items may be worth, (M,) logistic distributions, and which of them have been placed.

    Args:
        k: how many may be placed.
    """

    def __init__(self, means: NDArray[np.float64], scales: NDArray[np.float64], k: int) -> None:
        self._means, self._scales, self._k = means, scales, k
        self.placed: set[int] = set()
        self._edges: NDArray[np.float64] | None = None
        self._log_below = np.zeros((0, 0))  # (M, G)
        self._log_all_below = np.zeros(0)  # (G,) its sum over the items that are left

    @property
    def num_left(self) -> int:
        return len(self._means) - len(self.placed)

    def best(self, uniform: NDArray[np.float64]) -> int:
        """Return the row that is worth most, of those left, by its sample: quantiles, (M,)."""
        samples = self._means + self._scales * np.log(uniform / (1 - uniform))
        samples[[*self.placed]] = -np.inf
        return int(np.argmax(samples))

    def place(self, row: int) -> None:
        """Leave a row out from now on."""
        self.placed.add(row)
        if self._edges is not None:
            self._log_all_below -= self._log_below[row]

    def chance_of(self, row: int) -> float:
        """Return the chance of a row to be worth most of those left, itself among them."""
        if self.num_left == 1:
            return 1.0
        if self._edges is None:
            self._edges = self._grid()
            middles = (self._edges[1:] + self._edges[:-1]) / 2
            scaled = (middles - self._means[:, None]) / self._scales[:, None]
            self._log_below = np.minimum(scaled, 0) - np.log(1 + np.exp(-np.abs(scaled)))
            self._log_all_below = self._log_below.sum(axis=0)
            self._log_all_below -= self._log_below[[*self.placed]].sum(axis=0)
        others_below = np.exp(self._log_all_below - self._log_below[row])
        scaled = (self._edges - self._means[row]) / self._scales[row]
        below = 1 / (1 + np.exp(-np.clip(scaled, -700, 700)))
        return float(np.clip(np.diff(below) @ others_below, 0.0, 1.0))

    def _grid(self) -> NDArray[np.float64]:
        """Return the edges of cells, (G + 1,), among which the best of those left is nearly surely,
        whichever k - 1 have been placed."""
        reach = _REACH * self._scales
        lowest = np.sort(self._means - reach)[::-1][min(self._k, len(reach)) - 1]
        highest = (self._means + reach).max()
        cells = int(np.clip((highest - lowest) / self._scales.min(), _FEWEST_CELLS, _MOST_CELLS))
        return np.linspace(lowest, highest, cells + 1)


def _slate(places: Sequence[_Place]) -> MixedSlates:
    keys = np.array([place.key for place in places], np.int64)
    next_relevant = np.array([place.next_relevant for place in places], np.int64)
    return MixedSlates(
        np.array([0, len(keys)]),
        keys,
        np.array([place.is_explored for place in places], bool),
        np.array([place.is_fresh for place in places], bool),
        np.array([place.propensity for place in places], np.float64),
        keys == next_relevant,
        next_relevant != _NONE,
    )
