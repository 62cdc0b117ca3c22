"""How sure is a sum of ratios over users who may each have been answered many times?

Every estimate of off-policy evaluation is a sum of ratios of totals: of totals over users, who are
independent of each other, while the answers of one user are not.

Letters for shapes:
    G  groups of users    J  ratios    R  samples
"""

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.comparison import Estimate

_Floats = NDArray[np.float64]


def drawn_samples(num_groups: int, *, seed: int = 0, num_samples: int = 2_000) -> _Floats:
    """Return how often samples of G groups, drawn with replacement, hold each group, (R, G).

    Raises:
        ValueError: there are fewer than two groups.
    """
    if num_groups < 2:
        raise ValueError(f"Samples of users were asked, but there is {num_groups} group of them.")
    chances = np.full(num_groups, 1 / num_groups)
    drawn = np.random.default_rng(seed).multinomial(num_groups, chances, size=num_samples)
    return drawn.astype(np.float64)


def sum_of_ratios(numerators: _Floats, denominators: _Floats, samples: _Floats) -> Estimate:
    """Return the sum over j of total numerator / total denominator with its 95 % interval.

    The studentised bootstrap over groups: of each sample it is taken how many of its own standard
    errors (by linearisation) its value lies off, and the interval is where the value is no more off
    than 95 % of them. Weighed clicks are skewed, and what is not studentised, the normal interval
    and percentiles alike, falls short on the side of the heavy tail.

    Args:
        numerators: (G, J), one row for each group of users.
        denominators: (G, J), no total 0.
        samples: of `drawn_samples`.

    Source:
        Hall, Theoretical Comparison of Bootstrap Confidence Intervals, Annals of Statistics 1988,
        doi:10.1214/aos/1176350933.
    """
    once = np.ones((1, len(numerators)))
    ((value,), (error,)) = _values_and_errors(once, numerators, denominators)
    if error == 0:
        return Estimate(float(value), 0.0, float(value), float(value))
    values, errors = _values_and_errors(samples, numerators, denominators)
    off = (values - value) / np.maximum(errors, 1e-9 * error)
    lowest, highest = np.quantile(off, [0.025, 0.975])
    return Estimate(
        float(value), float(error), float(value - highest * error), float(value - lowest * error)
    )


def _values_and_errors(
    samples: _Floats, numerators: _Floats, denominators: _Floats
) -> tuple[_Floats, _Floats]:
    """Return the value and its standard error in each sample, (R,) both."""
    num_groups = samples.shape[1]
    totals = np.maximum(samples @ denominators, np.finfo(np.float32).tiny)  # (R, J)
    ratios = samples @ numerators / totals
    influence = (1 / totals) @ numerators.T - (ratios / totals) @ denominators.T  # (R, G)
    variance = np.einsum("rg,rg->r", samples, influence**2) * num_groups / (num_groups - 1)
    return ratios.sum(axis=1), np.sqrt(variance)
