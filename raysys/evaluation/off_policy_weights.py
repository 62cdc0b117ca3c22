"""How much likelier another exploration weight would have made what was shown.

With w the logged weight and d the chance that a draw puts the item of a place there, the slot
mixture (`raysys.policy.slot_mixture`) has shown it with the propensity

    w * d + (1 - w)    next in the order of relevance        w * d    another one
    d                  nothing relevant was left

given the items above. The propensity is logged, so d follows, and with it the propensity at any
other weight: d is a matter of the fresh items, the order of relevance one of the items above, and
neither of the weight. At weight 0 a list ends where nothing relevant is left.

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


def is_known(answers: LoggedAnswers) -> _Booleans:
    """Return for which answers it is known how every item came to its place, (L,)."""
    known: _Booleans = (answers.ways != Way.UNKNOWN).all(axis=1)
    return known


def reweighed(answers: LoggedAnswers, weight: float) -> Reweighed:
    """Return what answers weigh under another exploration weight.

    Args:
        answers: each supported and known.
    """
    ways, shown = answers.ways, answers.propensities
    logged = np.broadcast_to(answers.weights[:, None], shown.shape)
    is_relevant = (ways == Way.RELEVANT) | (ways == Way.BOTH)
    is_rest, is_filled = ways == Way.REST, ways != Way.NOTHING
    drawn = _draw_chances(shown, logged, is_relevant, is_rest)
    wanted = np.where(is_rest, drawn, weight * drawn + (1 - weight) * is_relevant)
    counts = is_filled & ~(is_rest & (weight == 0))
    is_choice = is_filled & ~is_rest & ~(is_relevant & (shown >= _CERTAIN))
    explored = (ways == Way.EXPLORED) | (ways == Way.BOTH)
    with np.errstate(divide="ignore", invalid="ignore"):
        coins = np.where(explored, weight / logged, (1 - weight) / (1 - logged))
    return Reweighed(
        _products(np.where(counts, wanted / shown, 1.0)),
        counts,
        _products(np.where(is_choice, coins, 1.0)),
        is_choice,
    )


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
