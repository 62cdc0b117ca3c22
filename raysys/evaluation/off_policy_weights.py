"""How much likelier another exploration weight would have made what was shown.

With w the logged weight and d the chance that a draw puts the item of a place there, the slot
mixture (`raysys.policy.slot_mixture`) has shown it with the propensity

    w * d + (1 - w)    next in the order of relevance        w * d    another one
    d                  nothing relevant was left

given the items above. The propensity is logged, so d follows, and with it the propensity at any
other weight: d is a matter of the fresh items, the order of relevance one of the items above, and
neither of the weight. At weight 0 a list ends where nothing relevant is left.

Epsilon-greedy draws each of the n fresh items that do not stand above with the chance 1 / n, which
is logged too: so it can be judged whatever policy was served.

Letters for shapes:
    L  answers    K  places
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.off_policy_log import LoggedAnswers, Way

_CERTAIN = 1 - 1e-9  # a propensity that differs from 1 by rounding only
_LARGEST = 1e100  # far beyond what any estimate accepts, and its square is still a float

_Booleans = NDArray[np.bool_]
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Reweighed:
    """Logged answers under another weight. The weights of a place average 1 over all answers."""

    weights: _Floats
    """(L, K) how much likelier the list down to this place is; below its end as at its end."""
    counts: _Booleans
    """(L, K) the other weight fills the place, too: its clicks count."""
    coin_weights: _Floats
    """(L, K) the same, of the list and of which of its places explored."""
    is_choice: _Booleans
    """(L, K) the place could have shown one item or another."""


def is_supported(answers: LoggedAnswers, weight: float) -> _Booleans:
    """Return which answers could have been any that the other weight gives, (L,).

    An answer that did not explore says nothing of one that does, and one that did nothing else says
    nothing of the order of relevance.
    """
    explores = (weight == 0) | (answers.weights > 0)
    follows: _Booleans = (weight == 1) | (answers.weights < 1)
    return explores & follows


def is_known(answers: LoggedAnswers, *, draws_alike: bool = False) -> _Booleans:
    """Return for which answers all is known that `reweighed` asks for, (L,)."""
    known: _Booleans = (answers.ways != Way.UNKNOWN).all(axis=1)
    if draws_alike:
        known &= ~np.isnan(answers.num_fresh) | (answers.weights == 0)
    return known


def reweighed(answers: LoggedAnswers, weight: float, *, draws_alike: bool = False) -> Reweighed:
    """Return what answers weigh under another exploration weight.

    Args:
        answers: each supported and known.
        draws_alike: by epsilon-greedy, else each by its own policy.
    """
    ways, shown = answers.ways, answers.propensities
    logged = np.broadcast_to(answers.weights[:, None], shown.shape)
    is_relevant = (ways == Way.RELEVANT) | (ways == Way.BOTH)
    is_rest, is_filled = ways == Way.REST, ways != Way.NOTHING
    drawn = _draw_chances(shown, logged, is_relevant, is_rest)
    is_choice = is_filled & ~is_rest & ~(is_relevant & (shown >= _CERTAIN))
    draws = drawn
    if draws_alike:
        left = _num_left(answers)
        draws = np.where(answers.is_fresh, 1 / np.maximum(left, 1), 0.0)
        # One of several fresh items may have been as good as certain, and is not any more.
        is_choice |= is_relevant & answers.is_fresh & (left > 1)
    wanted = np.where(is_rest, draws, weight * draws + (1 - weight) * is_relevant)
    wanted = np.where(is_choice | is_rest, wanted, shown)
    counts = is_filled & ~(is_rest & (weight == 0))
    explored = (ways == Way.EXPLORED) | (ways == Way.BOTH)
    with np.errstate(divide="ignore", invalid="ignore"):
        coins = np.where(explored, weight / logged, (1 - weight) / (1 - logged))
        by_draw = np.where((explored | is_rest) & (drawn > 0), draws / drawn, 1.0)
    coins = np.where(is_choice, coins, 1.0) * np.where(is_choice | is_rest, by_draw, 1.0)
    return Reweighed(
        _products(np.where(counts, wanted / shown, 1.0)),
        counts,
        _products(np.where(counts, coins, 1.0)),
        is_choice,
    )


def _num_left(answers: LoggedAnswers) -> _Floats:
    """Return how many fresh items each place could draw, (L, K); 0 where none explored."""
    shown = answers.is_fresh.astype(np.float64)
    above = np.cumsum(shown, axis=1) - shown
    left: _Floats = np.nan_to_num(answers.num_fresh)[:, None] - above
    return left


def _draw_chances(
    shown: _Floats, logged: _Floats, is_relevant: _Booleans, is_rest: _Booleans
) -> _Floats:
    """Return the chance that a draw puts the item of each place there, (L, K); 0 without draws."""
    share = np.where(logged > 0, logged, 1.0)
    drawn = np.where(is_rest, shown, (shown - is_relevant * (1 - logged)) / share)
    return np.clip(np.where(logged > 0, drawn, 0.0), 0.0, 1.0)


def _products(ratios: _Floats) -> _Floats:
    """Return the product of the ratios down to each place."""
    with np.errstate(over="ignore"):
        products: _Floats = np.minimum(np.cumprod(ratios, axis=1), _LARGEST)
    return products
