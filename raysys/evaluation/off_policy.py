"""What would another exploration weight have earned on the logged traffic? Clicks per answer.

Every logged click is weighed by how much likelier the other weight would have made the list down to
its place: the product over the places of what `off_policy_weights` says. That is right where a
click depends on who looks, the item, its place and the items above, not on what stands below.

Three estimates of the same: `ips` divides the weighed clicks by the number of answers; `snips`
divides those of each place by the weights there; `dr`, doubly robust, weighs only what a simple
model of clicks does not foresee.

The model is a table: the mean clicks of each place where it explored and where it did not. Each
fifth of the users is foreseen from the others, so that no click foresees itself. However wrong the
model is, `dr` is unbiased: what is foreseen hangs on the coins alone, which the log and the other
weight throw with known chances.

Letters for shapes:
    K  places    G  groups of users
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.comparison import Estimate
from raysys.evaluation.off_policy_intervals import drawn_samples, sum_of_ratios
from raysys.evaluation.off_policy_totals import WeightTotals

Estimator = Literal["ips", "snips", "dr"]

LEAST_GROUPS = 30
LEAST_EFFECTIVE_ANSWERS = 100.0
LEAST_EFFECTIVE_CLICKS = 30.0
MOST_ERRORS_OFF = 5.0
"""So many standard errors the weights of a place may be off their mean of 1."""

_NUM_PARTS = 5
_PRIOR_PLACES = 20.0
"""Places of average clicks that the model adds to those it counts."""

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Overlap:
    """How much the log says of the other weight, down to some place.

    Args:
        num_places: from the top.
        groups: of users, with at least one answer.
        effective_answers: at the lowest place, (sum of weights)^2 / sum of squares: so many answers
            of the other weight itself would say as much.
        effective_clicks: the same of the clicks' weights, over all places.
        mean_weight, error_of_mean: at the lowest place; 1 but for chance if the propensities are
            those with which the lists were made.
    """

    num_places: int
    answers: int
    groups: int
    effective_answers: float
    effective_clicks: float
    mean_weight: float
    error_of_mean: float

    @property
    def lack(self) -> str | None:
        """Why nothing can be said, in words; None where something can."""
        if self.groups < LEAST_GROUPS:
            return f"answers to {self.groups} groups of users, of at least {LEAST_GROUPS}"
        if self.effective_answers < LEAST_EFFECTIVE_ANSWERS:
            return (
                f"{self.answers:,} answers that say as much as {self.effective_answers:,.0f}, of "
                f"at least {LEAST_EFFECTIVE_ANSWERS:,.0f}"
            )
        if self.effective_clicks < LEAST_EFFECTIVE_CLICKS:
            return (
                f"clicks that say as much as {self.effective_clicks:,.0f}, of at least "
                f"{LEAST_EFFECTIVE_CLICKS:,.0f}"
            )
        if abs(self.mean_weight - 1) > MOST_ERRORS_OFF * self.error_of_mean + 1e-9:
            return (
                f"a mean weight of {self.mean_weight:.3f} with the error {self.error_of_mean:.3f}, "
                f"where it is 1 if the lists were made with the logged propensities"
            )
        return None


@dataclass(frozen=True, slots=True)
class OffPolicyEstimate:
    """What another weight would have earned, in clicks per answer.

    Args:
        logged: what the same answers earned.
        gains: by how much each of `values` is above `logged`; the interval is that of the
            difference, which is narrower than the two others make it look.
    """

    values: dict[Estimator, Estimate]
    gains: dict[Estimator, Estimate]
    logged: Estimate


def overlap_of(totals: WeightTotals, num_places: int | None = None) -> Overlap:
    """Return how much a log says of another weight.

    Args:
        num_places: judge the lists down to there. None: whole lists.
    """
    lowest = _depth(totals, num_places) - 1
    if lowest < 0:
        return Overlap(0, 0, 0, 0.0, 0.0, 1.0, 0.0)
    of_groups = totals.of_groups()
    weights, answers = of_groups.by_place["weights"][:, lowest], of_groups.answers
    mean = weights.sum() / answers.sum()
    clicks = of_groups.by_place["weighed_clicks"][:, : lowest + 1].sum()
    squared = of_groups.by_place["squared_weighed_clicks"][:, : lowest + 1].sum()
    squared_weights = of_groups.by_place["squared_weights"][:, lowest].sum()
    return Overlap(
        num_places=lowest + 1,
        answers=int(answers.sum()),
        groups=len(answers),
        effective_answers=float(_ratio(weights.sum() ** 2, squared_weights)),
        effective_clicks=float(_ratio(clicks**2, squared)),
        mean_weight=float(mean),
        error_of_mean=float(np.sqrt(((weights - mean * answers) ** 2).sum()) / answers.sum()),
    )


def places_that_suffice(totals: WeightTotals, num_places: int | None = None) -> int:
    """Return down to which place, at most `num_places`, the overlap suffices; 0: to none."""
    for depth in range(_depth(totals, num_places), 0, -1):
        if overlap_of(totals, depth).lack is None:
            return depth
    return 0


def estimated(
    totals: WeightTotals, num_places: int | None = None, *, seed: int = 0
) -> OffPolicyEstimate:
    """Return what another weight would have earned, where `overlap_of` lacks nothing."""
    depth = _depth(totals, num_places)
    of_groups = totals.of_groups()
    place = {name: total[:, :depth] for name, total in of_groups.by_place.items()}
    answers = of_groups.answers[:, None]
    samples = drawn_samples(len(answers), seed=seed)
    clicks = place["clicks"].sum(axis=1, keepdims=True)
    ratios: dict[Estimator, tuple[_Floats, _Floats]] = {
        "ips": (place["weighed_clicks"].sum(axis=1, keepdims=True), answers),
        "snips": (place["weighed_clicks"], place["weights"]),
        "dr": (_foreseen_and_off(place, totals.weight), answers),
    }
    return OffPolicyEstimate(
        {name: sum_of_ratios(*ratio, samples) for name, ratio in ratios.items()},
        {
            name: sum_of_ratios(
                np.concatenate([above, -clicks], axis=1),
                np.concatenate([below, answers], axis=1),
                samples,
            )
            for name, (above, below) in ratios.items()
        },
        sum_of_ratios(clicks, answers, samples),
    )


def _foreseen_and_off(place: dict[str, _Floats], weight: float) -> _Floats:
    """Return the doubly robust clicks of each group, (G, 1).

    With f(choice) the clicks that the model foresees from a place on, after it explored or not, a
    place adds its weighed clicks, less weight * f(what it chose), plus the weight of the list above
    it * the mean of f over what the other weight would choose: nothing on average.
    """
    clicks: _Floats = place["coin_weighed_clicks"].sum(axis=1, keepdims=True)
    part_of = np.arange(len(clicks)) % _NUM_PARTS
    for part in range(_NUM_PARTS):
        here, others = part_of == part, part_of != part
        if not here.any() or not others.any():
            continue
        explored, followed = _foreseen(
            {name: total[others].sum(axis=0) for name, total in place.items()}, weight
        )
        mean = weight * explored + (1 - weight) * followed
        clicks[here, 0] += (
            place["choices"][here] @ mean
            - place["explores"][here] @ explored
            - place["follows"][here] @ followed
        )
    return clicks


def _foreseen(total: dict[str, _Floats], weight: float) -> tuple[_Floats, _Floats]:
    """Return the clicks to be foreseen from each place on if it explores, and if not, (K,) each.

    Args:
        total: (K,) each, of the users from whom the model is learnt.
    """
    times = total["times_explored"], total["times_followed"]
    clicks = total["clicks_explored"], total["clicks_followed"]
    usual = _ratio(clicks[0] + clicks[1], times[0] + times[1])
    explored, followed = (
        (some + _PRIOR_PLACES * usual) / (number + _PRIOR_PLACES)
        for some, number in zip(clicks, times, strict=True)
    )
    per_list = (weight * explored + (1 - weight) * followed) * total["lists"]
    below = _ratio(per_list[::-1].cumsum()[::-1] - per_list, total["lists"])
    return explored + below, followed + below


def _ratio(above: _Floats, below: _Floats) -> _Floats:
    """Return above / below, 0 where there is nothing below."""
    none = np.asarray(below) == 0
    ratio: _Floats = np.where(none, 0.0, above / np.where(none, 1.0, below))
    return ratio


def _depth(totals: WeightTotals, num_places: int | None) -> int:
    return totals.num_places if num_places is None else min(num_places, totals.num_places)
