"""Promotions: some places of a list are kept for items that pass a filter of their own.

Two lists are made, each by its own filter: first the promoted items, as the user would like them,
then all others, without those. Promoted items stand at places drawn by the seed, in their order;
the others keep theirs. Nothing of the others depends on those places, so the propensities of what
was explored are what they were.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from raysys.serving.asked import Asked, Mixture, Shown
from raysys.serving.messages import Promotion, Query

ValueT = TypeVar("ValueT")

_STREAM = 1
"""Of the seed's random numbers: those of exploration are others."""


def promoted_query(query: Query, promotion: Promotion) -> Query:
    """Return what asks for the promoted items of a list."""
    return replace(
        query,
        num_results=promotion.num_promoted(query.num_results),
        exploration_weight=0.0,
        filter_name=promotion.filter_name,
        filter_values=promotion.filter_values,
        metadata_columns=(),
        promotion=None,
    )


def leave_to_promoted(asked: Asked, promoted: Asked) -> None:
    """Let a query ask for what is left of its list, without the items that are promoted."""
    keys = promoted.to_show.keys
    asked.query = replace(asked.query, num_results=asked.query.num_results - len(keys))
    asked.banned = np.union1d(asked.banned, keys[keys > 0]).astype(np.int32)
    asked.banned_keys = np.union1d(asked.banned_keys, keys[keys < 0])
    asked.is_degraded |= promoted.is_degraded


def show_promoted(asked: Asked, promoted: Asked) -> None:
    """Put the promoted items among the others."""
    others, chosen = asked.to_show, promoted.to_show
    number = len(others.keys) + len(chosen.keys)
    draws = np.random.default_rng((asked.seed, _STREAM))
    is_promoted = np.zeros(number, dtype=bool)
    is_promoted[draws.permutation(number)[: len(chosen.keys)]] = True
    keys = np.zeros(number, np.int64)
    keys[is_promoted], keys[~is_promoted] = chosen.keys, others.keys
    asked.shown = Shown(
        keys,
        _scores(others, chosen, is_promoted),
        None if others.mixture is None else _mixture(others.mixture, is_promoted),
        is_promoted.tolist(),
    )


def _scores(
    others: Shown, chosen: Shown, is_promoted: NDArray[np.bool_]
) -> Sequence[float | None] | None:
    if others.scores is None and chosen.scores is None:
        return None
    of_others = iter(others.scores or [None] * len(others.keys))
    of_chosen = iter(chosen.scores or [None] * len(chosen.keys))
    return [next(of_chosen if promoted else of_others) for promoted in is_promoted.tolist()]


def _mixture(mixture: Mixture, is_promoted: NDArray[np.bool_]) -> Mixture:
    """Return how each item came to its place; promoted ones had to be shown."""
    now_at: list[int] = np.flatnonzero(~is_promoted).tolist()
    return Mixture(
        _spread(mixture.propensities, 1.0, is_promoted),
        tuple(now_at[place] for place in mixture.explored),
        tuple(now_at[place] for place in mixture.fresh),
        tuple(now_at[place] for place in mixture.also_relevant),
        tuple(now_at[place] for place in mixture.nothing_relevant),
    )


def _spread(
    values: Sequence[ValueT], promoted: ValueT, is_promoted: NDArray[np.bool_]
) -> list[ValueT]:
    """Return one value per place: those of the others in their order, and that of the promoted."""
    rest = iter(values)
    return [promoted if each else next(rest) for each in is_promoted.tolist()]
