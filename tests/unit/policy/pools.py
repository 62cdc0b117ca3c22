"""Pools of fresh items written out in full, and the slot mixture's formula in plain Python."""

import math

import numpy as np

from raysys.policy.candidates import FreshCandidates
from raysys.policy.slot_mixture import MixedSlates


def candidates(logits: dict[int, float], rest: float = -math.inf) -> FreshCandidates:
    """Return a pool in which the items come in the order of the dict: noise falls by 1 each."""
    noise = -np.arange(len(logits), dtype=float)
    keys = np.array(list(logits), np.int64)
    return FreshCandidates(keys, np.array(list(logits.values()), float), noise, rest)


def as_a_shard_answers(
    pool: FreshCandidates, members: list[int], relevant: list[int], num_draws: int
) -> FreshCandidates:
    """Return what the shard that holds `members` says of the pool for so many draws."""
    rows = [row for row, key in enumerate(pool.keys.tolist()) if key in members]
    others = [row for row in rows if pool.keys[row] not in relevant]
    best = sorted(others, key=lambda row: -pool.perturbed[row])[:num_draws]
    kept = [row for row in rows if row in best or pool.keys[row] in relevant]
    others = [math.exp(pool.logits[row]) for row in rows if row not in kept]
    rest = math.log(sum(others)) if others else -math.inf
    return FreshCandidates(pool.keys[kept], pool.logits[kept], pool.perturbed[kept], rest)


def probabilities(
    logits: dict[int, float], relevant: list[int], above: list[int], weight: float
) -> dict[int, float]:
    """Return the chance of every item at the place below `above`, as the docstring defines it."""
    left = {key: logit for key, logit in logits.items() if key not in above}
    following = [key for key in relevant if key not in above]
    if weight == 0 or not left:
        weight = 0.0
    elif not following:
        weight = 1.0
    highest = max(left.values(), default=0.0)
    masses = {key: math.exp(logit - highest) for key, logit in left.items()}
    total = sum(masses.values())
    chances = {key: weight * mass / total for key, mass in masses.items()}
    if following:
        chances[following[0]] = chances.get(following[0], 0.0) + 1 - weight
    return {key: chance for key, chance in chances.items() if chance > 0}


def each_of(slates: MixedSlates) -> list[MixedSlates]:
    """Return the slates of a batch one by one."""
    return [slates.of(row) for row in range(len(slates.offsets) - 1)]
