"""The slot mixture: each place of a list shows the next relevant item, or explores a fresh one.

With w the exploration weight and A the items placed above, a place shows item i with probability

    P(i | A) = w * softmax(logits of the fresh items not in A)[i] + (1 - w) * [i is next relevant]

while there are both a fresh and a relevant item not in A; where only one of the two is left, it
fills the place. Weight 0 never explores, so that its list is the relevance order, exactly.

Everything random is a pure function of a seed. The softmax is drawn without replacement by
perturbing every logit once with Gumbel noise and taking the highest first (Kool et al., Stochastic
Beams and Where to Find Them, ICML 2019): the first arrival among those that are left has, whatever
arrived before it, the softmax over those that are left. The noise of an item depends on the seed
and the item alone, so the pool may be cut into any shards, each of which gives its highest.

Letters for shapes:
    B  queries    n  items of a pool    M  candidates of a query    R  relevant items    k  places
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import rows_of_offsets
from raysys.policy.candidates import FreshBatch, FreshCandidates

_NONE = 0  # no item has this key
_NOTHING = np.array([_NONE], np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class MixedSlates:
    """What is shown to B queries, from the top, laid end to end.

    A list is shorter than k only when every item has been placed.
    """

    offsets: NDArray[np.int64]
    """(B + 1,)"""
    keys: NDArray[np.int64]
    is_explored: NDArray[np.bool_]
    """The place drew a fresh item, rather than taking the next relevant one."""
    is_fresh: NDArray[np.bool_]
    """The item might have been drawn, whatever brought it to its place."""
    propensities: NDArray[np.float64]
    """Chance of this item at its place, given the items above, in (0, 1]."""
    is_relevant: NDArray[np.bool_]
    """The item was the next relevant one, whatever brought it to its place."""
    has_relevant: NDArray[np.bool_]
    """Something relevant was left for the place; without, it had to draw."""

    def of(self, row: int) -> "MixedSlates":
        """Return what is shown to one query."""
        span = slice(int(self.offsets[row]), int(self.offsets[row + 1]))
        return MixedSlates(
            np.array([0, span.stop - span.start]),
            self.keys[span],
            self.is_explored[span],
            self.is_fresh[span],
            self.propensities[span],
            self.is_relevant[span],
            self.has_relevant[span],
        )


def mix(
    relevant: NDArray[np.integer],
    fresh: FreshCandidates,
    k: int,
    weight: float,
    coins: NDArray[np.float64],
) -> MixedSlates:
    """Return the list of k places that the coins and the candidates' noise decide.

    Args:
        relevant: (R,) distinct keys, best first; k of them, or all there are.
        weight: chance of a place to explore, in [0, 1].
        coins: (k,) in [0, 1); a place explores when its coin is below the weight.

    Raises:
        ValueError: a weight outside [0, 1], fewer coins than places, or too few candidates.
    """
    batch = FreshBatch.of_queries([fresh])
    return mix_all([relevant], batch, [k], np.array([weight]), coins[None, :])


def mix_all(
    relevant: Sequence[NDArray[np.integer]],
    fresh: FreshBatch,
    ks: Sequence[int],
    weights: NDArray[np.float64],
    coins: NDArray[np.float64],
) -> MixedSlates:
    """Return `mix` of each of B queries, for a quarter of the time.

    Args:
        relevant: B arrays.
        ks: (B,)
        weights: (B,)
        coins: (B, K), K at least the largest k.
    """
    _check(relevant, fresh, ks, weights, coins)
    order = _in_order(fresh)
    ranked, offsets = fresh.keys[order], fresh.offsets.tolist()
    candidates, wants_to_explore = ranked.tolist(), (coins < weights[:, None]).tolist()
    waiting = [each for keys in relevant for each in (keys, _NOTHING)]
    starts = np.cumsum([1, *(len(keys) + 1 for keys in relevant)]).tolist()
    drawing, ends = _Drawing([], [], [], []), [0]
    for row, k in enumerate(ks):
        start = offsets[row]
        some = candidates[start : offsets[row + 1]] if weights[row] > 0 else []
        keys = relevant[row].tolist()
        drawing.fill(keys, starts[row], some, start, wants_to_explore[row][:k])
        ends.append(len(drawing.drawn))
    drawn = np.array(drawing.drawn, np.int64)
    next_relevant = np.concatenate([_NOTHING, *waiting])[np.array(drawing.turns, np.int64)]
    is_explored = drawn >= 0
    shown = next_relevant.copy()
    shown[is_explored] = ranked[drawn[is_explored]]
    rows = drawn.copy()
    rows[drawing.fresh_places] = drawing.fresh_rows
    has_relevant = next_relevant != _NONE
    is_relevant = shown == next_relevant
    logits = fresh.logits[order]
    return MixedSlates(
        np.array(ends),
        shown,
        is_explored,
        rows >= 0,
        _propensities(rows, is_relevant, has_relevant, np.array(ends), logits, fresh, weights),
        is_relevant,
        has_relevant,
    )


def num_draws(
    ks: NDArray[np.integer], weights: NDArray[np.float64], coins: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return how many places of each list draw a fresh item, (B,), while relevant ones are left.

    With R relevant items, fewer than k, at most k - R of those drawn are not relevant too.

    Args:
        ks: (B,)
        weights: (B,)
        coins: (B, K), K at least the largest k.
    """
    is_place = np.arange(coins.shape[1]) < ks[:, None]
    draws: NDArray[np.int64] = np.count_nonzero((coins < weights[:, None]) & is_place, axis=1)
    return draws


@dataclass(slots=True)
class _Drawing:
    """How lists of several queries are filled, laid end to end, from the top to the bottom.

    All relevant lists lie end to end too, each with one place more for that nothing is left.
    """

    drawn: list[int]
    """The row, among all candidates, of what a place drew; -1: it took the next relevant item."""
    turns: list[int]
    """Where the item that was the next relevant one when the place was filled lies."""
    fresh_places: list[int]
    """The places that took a relevant item which is fresh."""
    fresh_rows: list[int]
    """Its row among all candidates."""

    def fill(
        self,
        relevant: list[int],
        first_turn: int,
        ranked: list[int],
        row: int,
        wants_to_explore: list[bool],
    ) -> None:
        """Add the list of one query, whose candidates `ranked` begin at `row`.

        Plain Python: what stands at a place depends on every place above it.
        """
        end = row + len(ranked)
        row_of = dict(zip(ranked, range(row, end), strict=True))
        # Only what is both relevant and fresh can have been placed when its turn comes.
        rows = [*map(row_of.get, relevant, repeat(-1)), -1]
        turn, last = 0, len(relevant)
        placed: set[int] = set()  # rows
        draw, take_turn = self.drawn.append, self.turns.append
        for explores in wants_to_explore:
            while rows[turn] in placed:
                turn += 1
            while row in placed:
                row += 1
            if row == end:
                if turn == last:
                    break
                explores = False
            elif turn == last:
                explores = True
            take_turn(first_turn + turn)
            if explores:
                draw(row)
                placed.add(row)
                row += 1
                continue
            draw(-1)
            its_row = rows[turn]
            if its_row >= 0:
                placed.add(its_row)
                self.fresh_places.append(len(self.drawn) - 1)
                self.fresh_rows.append(its_row)
            turn += 1


def _in_order(fresh: FreshBatch) -> NDArray[np.intp]:
    """Return the candidates query by query, those of highest perturbed logit first."""
    rows = rows_of_offsets(fresh.offsets)
    by_logit = np.argsort(-fresh.perturbed)
    few_bits = rows.astype(np.min_scalar_type(len(fresh.offsets)))  # what NumPy sorts by radix
    order: NDArray[np.intp] = by_logit[np.argsort(few_bits[by_logit], kind="stable")]
    perturbed = fresh.perturbed[order]
    if np.any((perturbed[1:] == perturbed[:-1]) & (rows[1:] == rows[:-1])):
        # Of equal ones the lower key comes first, in whatever order the shards answered.
        order = np.lexsort((fresh.keys, -fresh.perturbed, rows))
    return order


def _propensities(
    found: NDArray[np.int64],
    is_relevant: NDArray[np.bool_],
    has_relevant: NDArray[np.bool_],
    ends: NDArray[np.int64],
    logits: NDArray[np.float64],
    fresh: FreshBatch,
    weights: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the propensity of what stands at each place of all lists, laid end to end.

    Args:
        found: the row, among all candidates, of what stands there; -1 where it is not fresh.
    """
    rows = rows_of_offsets(ends)
    places = np.arange(len(rows)) - ends[rows]
    num_places = int(places.max(initial=-1)) + 1
    explorable = weights > 0
    by_place = np.full((len(weights), num_places + 1), -np.inf)  # the last: all that is not shown
    is_fresh = found >= 0
    by_place[rows[is_fresh], places[is_fresh]] = logits[found[is_fresh]]
    not_shown = logits.copy()
    not_shown[found[is_fresh]] = -np.inf
    sums = np.logaddexp(_log_sums(not_shown, fresh.offsets), fresh.log_rest)
    by_place[explorable, num_places] = sums[explorable]
    # Adding up what is left, from the end, instead of subtracting what is gone: when nearly all of
    # the sum stands at the top, a difference would be rounding error.
    left = np.logaddexp.accumulate(by_place[:, ::-1], axis=1)[:, ::-1][rows, places]
    has_fresh = left > -np.inf
    explores = np.where(has_fresh, np.where(has_relevant, weights[rows], 1.0), 0.0)
    drawn = np.exp(by_place[rows, places] - np.where(has_fresh, left, 0.0))
    propensities: NDArray[np.float64] = explores * drawn + (1 - explores) * is_relevant
    return propensities


def _log_sums(logits: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return log(sum(exp(logit))) of each query, (B,); -inf where there is none."""
    rows, count = rows_of_offsets(offsets), len(offsets) - 1
    highest = np.full(count, -np.inf)
    np.maximum.at(highest, rows, logits)
    highest[np.isneginf(highest)] = 0.0
    sums = np.bincount(rows, np.exp(logits - highest[rows]), minlength=count)
    with np.errstate(divide="ignore"):
        logs: NDArray[np.float64] = np.add(np.log(sums), highest, dtype=np.float64)
    return logs


def _check(
    relevant: Sequence[NDArray[np.integer]],
    fresh: FreshBatch,
    ks: Sequence[int],
    weights: NDArray[np.float64],
    coins: NDArray[np.float64],
) -> None:
    outside = weights[~((weights >= 0) & (weights <= 1))]
    if len(outside):
        raise ValueError(f"The exploration weight is a chance, in [0, 1], but got {outside[0]}.")
    wanted = np.asarray(ks, np.int64)
    if coins.shape[1] < wanted.max(initial=0):
        raise ValueError(f"{wanted.max()} places need as many coins, but got {coins.shape[1]}.")
    draws = num_draws(wanted, weights, coins)
    np.maximum(draws, wanted - [len(keys) for keys in relevant], out=draws)
    found = np.diff(fresh.offsets)
    short = np.flatnonzero((found < draws) & (fresh.log_rest > -np.inf) & (weights > 0))
    if len(short):
        raise ValueError(
            f"{draws[short[0]]} places of a list draw fresh items, but got {found[short[0]]} "
            f"candidates and a sum over others. Ask the pool for those of highest perturbed logit."
        )
