"""What a gateway does about exploration: it asks the shards for fresh items, and mixes them in."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.dataset.histories import offsets_of
from raysys.index.fresh import FreshDraws
from raysys.policy import thompson
from raysys.policy.candidates import FreshBatch, FreshCandidates, joined_batches
from raysys.policy.noise import coins
from raysys.policy.policies import NO_POLICY, THOMPSON_SAMPLING
from raysys.policy.slot_mixture import MixedSlate, mix_all, num_draws
from raysys.serving.asked import Asked, Mixture, Shown
from raysys.serving.exchange import Exploration
from raysys.serving.ranking import Ranked
from raysys.serving.unique import new_seed
from raysys.serving.visitors import NO_ITEMS

_MIXED_AT_ONCE = 32


def decide_to_explore(asked: Asked, config: ServingConfig) -> None:
    """Set policy, weight and seed of a query; lists of similar items do not explore."""
    query = asked.query
    asked.seed = new_seed() if query.seed is None else query.seed
    asked.policy = query.exploration_policy or config.exploration_policy
    if query.user_id is not None and asked.policy != NO_POLICY:
        weight = query.exploration_weight
        asked.weight = config.exploration_weight if weight is None else weight


def exploration_of(batch: Sequence[Asked], now_us: int) -> Exploration | None:
    """Return what the shards need to know of those queries of a batch that explore, if any do."""
    rows = [row for row, asked in enumerate(batch) if asked.weight > 0]
    if not rows:
        return None
    exploring = [batch[row] for row in rows]
    # What a shard finds by itself it need not be told.
    known = [
        asked.ranked.keys if asked.vector is None and asked.ranked else NO_ITEMS
        for asked in exploring
    ]
    ks = np.array([asked.query.num_results for asked in exploring], dtype=np.int64)
    draws = num_draws(ks, _weights(exploring), _coins(exploring))
    for row, asked in enumerate(exploring):
        if asked.policy == THOMPSON_SAMPLING:
            draws[row] = thompson.num_sampled(asked.query.num_results)
    return Exploration(
        rows=np.array(rows, dtype=np.int64),
        ks=ks,
        num_draws=draws,
        seeds=_seeds(exploring),
        policies=[asked.policy for asked in exploring],
        now_us=now_us,
        relevant_offsets=offsets_of([len(nums) for nums in known]),
        relevant_nums=np.concatenate(known),
    )


def show_mixed(batch: Sequence[Asked], parts: Sequence[FreshDraws]) -> Iterator[None]:
    """Decide what is shown to queries that explore, a few of them at each step.

    Mixing 64 lists of 25 takes some 4 ms, longer than an event loop should do one thing.

    Args:
        parts: what each shard that answered has for the same queries, in the same order.
    """
    fresh = joined_batches([part.candidates for part in parts])
    counts: list[int] = np.sum([part.num_fresh for part in parts], axis=0).tolist()
    for asked, num_fresh in zip(batch, counts, strict=True):
        asked.num_fresh = num_fresh
    is_sampled = [asked.policy == THOMPSON_SAMPLING for asked in batch]
    if any(is_sampled):
        for row in np.flatnonzero(is_sampled).tolist():
            _sample(batch[row], fresh.of(row))
            yield
        others = [row for row, sampled in enumerate(is_sampled) if not sampled]
        batch = [batch[row] for row in others]
        fresh = FreshBatch.of_queries([fresh.of(row) for row in others])
    for start in range(0, len(batch), _MIXED_AT_ONCE):
        some = slice(start, start + _MIXED_AT_ONCE)
        _mix(batch[some], _rows(fresh, some))
        yield


def _mix(batch: Sequence[Asked], fresh: FreshBatch) -> None:
    ranked = [asked.ranked or Ranked(NO_ITEMS) for asked in batch]
    ks = [asked.query.num_results for asked in batch]
    keys = [one.keys for one in ranked]
    slates = mix_all(keys, fresh, ks, _weights(batch), _coins(batch))
    for asked, one, slate in zip(batch, ranked, slates, strict=True):
        asked.shown = _shown(one, slate)


def _sample(asked: Asked, fresh: FreshCandidates) -> None:
    ranked, k = asked.ranked or Ranked(NO_ITEMS), asked.query.num_results
    tossed = coins(asked.seed, k)
    slate = thompson.mix(ranked.keys, fresh, k, asked.weight, tossed, asked.seed)
    asked.shown = _shown(ranked, slate)
    if asked.num_fresh is not None and asked.num_fresh > thompson.num_sampled(k):
        asked.num_fresh = None  # not all of them could be drawn


def _shown(ranked: Ranked, slate: MixedSlate) -> Shown:
    is_explored: list[bool] = slate.is_explored.tolist()
    keys: list[int] = slate.keys.tolist()
    scores: list[float | None] | None = None
    if ranked.scores is not None:
        score_of = dict(zip(ranked.keys.tolist(), ranked.scores, strict=True))
        scores = [
            None if drawn else score_of[key] for key, drawn in zip(keys, is_explored, strict=True)
        ]
    mixture = Mixture(
        slate.propensities.tolist(),
        is_explored,
        slate.is_fresh.tolist(),
        slate.is_relevant.tolist(),
        slate.has_relevant.tolist(),
    )
    return Shown(slate.keys, scores, mixture)


def _seeds(batch: Sequence[Asked]) -> NDArray[np.int64]:
    return np.array([asked.seed for asked in batch], dtype=np.int64)


def _weights(batch: Sequence[Asked]) -> NDArray[np.float64]:
    return np.array([asked.weight for asked in batch], dtype=np.float64)


def _coins(batch: Sequence[Asked]) -> NDArray[np.float64]:
    return coins(_seeds(batch), max(asked.query.num_results for asked in batch))


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
