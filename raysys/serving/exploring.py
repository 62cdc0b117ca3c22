"""What a gateway does about exploration: it asks the shards for fresh items, and mixes them in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.dataset.histories import offsets_of
from raysys.index.fresh import FreshDraws
from raysys.policy import thompson
from raysys.policy.candidates import FreshBatch, FreshCandidates, joined_batches
from raysys.policy.noise import coins
from raysys.policy.policies import NO_POLICY, THOMPSON_SAMPLING
from raysys.policy.slot_mixture import MixedSlates, mix_all, num_draws
from raysys.serving.asked import Asked, Mixture, Shown
from raysys.serving.exchange import Exploration
from raysys.serving.ranking import Ranked
from raysys.serving.unique import new_seed
from raysys.serving.visitors import NO_ITEMS

_PLACES_AT_ONCE = 1_600


def decide_to_explore(asked: Asked, config: ServingConfig) -> None:
    """Set policy, weight and seed of a query; lists of similar items do not explore."""
    query = asked.query
    asked.seed = new_seed() if query.seed is None else query.seed
    asked.policy = query.exploration_policy or config.exploration_policy
    if query.user_id is not None and asked.policy != NO_POLICY:
        weight = query.exploration_weight
        asked.weight = config.exploration_weight if weight is None else weight


@dataclass(frozen=True, slots=True, eq=False)
class Tossed:
    """The queries of a batch that explore, B at least one, and their coins: each is tossed once."""

    batch: Sequence[Asked]
    ks: NDArray[np.int64]
    """(B,)"""
    weights: NDArray[np.float64]
    """(B,)"""
    seeds: NDArray[np.int64]
    """(B,)"""
    coins: NDArray[np.float64]
    """(B, K), K the largest k."""

    def take(self, rows: Sequence[int]) -> "Tossed":
        """Return some of the queries."""
        batch = [self.batch[row] for row in rows]
        return Tossed(batch, self.ks[rows], self.weights[rows], self.seeds[rows], self.coins[rows])


def toss(batch: Sequence[Asked]) -> Tossed | None:
    """Toss the coins of those queries that explore; None where there is none."""
    exploring = [asked for asked in batch if asked.weight > 0]
    if not exploring:
        return None
    ks = [asked.query.num_results for asked in exploring]
    seeds = np.array([asked.seed for asked in exploring], dtype=np.int64)
    return Tossed(
        exploring,
        np.array(ks, dtype=np.int64),
        np.array([asked.weight for asked in exploring], dtype=np.float64),
        seeds,
        coins(seeds, max(ks)),
    )


def exploration_of(batch: Sequence[Asked], tossed: Tossed, now_us: int) -> Exploration:
    """Return what the shards need to know of those queries of a batch that explore."""
    # What a shard finds by itself it need not be told.
    known = [
        asked.ranked.keys if asked.vector is None and asked.ranked else NO_ITEMS
        for asked in tossed.batch
    ]
    draws = num_draws(tossed.ks, tossed.weights, tossed.coins)
    for row, asked in enumerate(tossed.batch):
        if asked.policy == THOMPSON_SAMPLING:
            draws[row] = thompson.num_sampled(asked.query.num_results)
    rows = [row for row, asked in enumerate(batch) if asked.weight > 0]
    return Exploration(
        rows=np.array(rows, dtype=np.int64),
        ks=tossed.ks,
        num_draws=draws,
        seeds=tossed.seeds,
        policies=[asked.policy for asked in tossed.batch],
        now_us=now_us,
        relevant_offsets=offsets_of([len(nums) for nums in known]),
        relevant_nums=np.concatenate(known),
    )


def show_mixed(tossed: Tossed, parts: Sequence[FreshDraws]) -> Iterator[None]:
    """Decide what is shown to queries that explore, step by step.

    No step takes much longer than an event loop should do one thing: a millisecond.

    Args:
        parts: what each shard that answered has for the same queries, in the same order.
    """
    fresh = joined_batches([part.candidates for part in parts])
    counts: list[int] = np.sum([part.num_fresh for part in parts], axis=0).tolist()
    for asked, num_fresh in zip(tossed.batch, counts, strict=True):
        asked.num_fresh = num_fresh
    is_sampled = [asked.policy == THOMPSON_SAMPLING for asked in tossed.batch]
    if any(is_sampled):
        for row in np.flatnonzero(is_sampled).tolist():
            _sample(tossed.batch[row], tossed.coins[row], fresh.of(row))
            yield
        others = [row for row, sampled in enumerate(is_sampled) if not sampled]
        tossed = tossed.take(others)
        fresh = FreshBatch.of_queries([fresh.of(row) for row in others])
    for some in _mixed_at_once(tossed.ks):
        batch = tossed.batch[some]
        ranked = [asked.ranked or Ranked(NO_ITEMS) for asked in batch]
        slates = mix_all(
            [one.keys for one in ranked],
            _rows(fresh, some),
            tossed.ks[some].tolist(),
            tossed.weights[some],
            tossed.coins[some],
        )
        yield
        _show(batch, ranked, slates)
        yield


def _mixed_at_once(ks: NDArray[np.int64]) -> Iterator[slice]:
    """Give the queries whose lists have at most `_PLACES_AT_ONCE` places together, at least one."""
    start, places = 0, 0
    for row, k in enumerate(ks.tolist()):
        if row > start and places + k > _PLACES_AT_ONCE:
            yield slice(start, row)
            start, places = row, 0
        places += k
    if len(ks):
        yield slice(start, len(ks))


def _sample(asked: Asked, tossed: NDArray[np.float64], fresh: FreshCandidates) -> None:
    ranked, k = asked.ranked or Ranked(NO_ITEMS), asked.query.num_results
    slate = thompson.mix(ranked.keys, fresh, k, asked.weight, tossed[:k], asked.seed)
    _show([asked], [ranked], slate)
    if asked.num_fresh is not None and asked.num_fresh > thompson.num_sampled(k):
        asked.num_fresh = None  # not all of them could be drawn


def _show(batch: Sequence[Asked], ranked: Sequence[Ranked], slates: MixedSlates) -> None:
    """Tell each query what is shown. Arrays become lists all at once: a call for each is slow."""
    propensities: list[float] = slates.propensities.tolist()
    keys: list[int] = slates.keys.tolist()
    explored = _places(slates.is_explored, slates.offsets)
    fresh = _places(slates.is_fresh, slates.offsets)
    also_relevant = _places(slates.is_explored & slates.is_relevant, slates.offsets)
    nothing_relevant = _places(~slates.has_relevant, slates.offsets)
    ends = pairwise(slates.offsets.tolist())
    for asked, one, (start, end) in zip(batch, ranked, ends, strict=True):
        drawn, scores = next(explored), None
        if one.scores is not None:
            score_of: dict[int, float | None]
            score_of = dict(zip(one.keys.tolist(), one.scores, strict=True))
            scores = [*map(score_of.get, keys[start:end])]
            for place in drawn:
                scores[place] = None
        mixture = Mixture(
            propensities[start:end], drawn, next(fresh), next(also_relevant), next(nothing_relevant)
        )
        asked.shown = Shown(slates.keys[start:end], scores, mixture)


def _places(chosen: NDArray[np.bool_], offsets: NDArray[np.int64]) -> Iterator[tuple[int, ...]]:
    """Give the chosen places of each list; 0 is its top."""
    found = np.flatnonzero(chosen)
    ends = np.searchsorted(found, offsets)
    places: list[int] = (found - np.repeat(offsets[:-1], np.diff(ends))).tolist()
    for start, end in pairwise(ends.tolist()):
        yield tuple(places[start:end])


def _rows(fresh: FreshBatch, some: slice) -> FreshBatch:
    """Return the candidates of some of the queries."""
    offsets = fresh.offsets[some.start : some.stop + 1]
    span = slice(int(offsets[0]), int(offsets[-1]))
    return FreshBatch(
        offsets - offsets[0],
        fresh.keys[span],
        fresh.logits[span],
        fresh.perturbed[span],
        fresh.log_rest[some],
    )
