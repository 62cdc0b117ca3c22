"""Is one model better than another for the same users, or is it chance?

Both are measured on the same users, so it is the differences per user that vary, and they vary
less than the models' own values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DRAWS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """How much higher the first of two means is, with its 95 % interval."""

    mean: float
    standard_error: float
    low: float
    high: float


def paired_difference(
    first: NDArray[np.float64],
    second: NDArray[np.float64],
    *,
    seed: int = 0,
    num_samples: int = 10_000,
) -> Difference:
    """Return the mean of `first - second` over users, (U,) each, and how sure it is.

    The interval holds the middle 95 % of the means of `num_samples` samples of U users, drawn with
    replacement (the percentile bootstrap). The same seed gives the same interval. About U * 10
    microseconds at 10,000 samples.

    Raises:
        ValueError: the two were not measured on the same number of users, or on none.
    """
    if first.shape != second.shape or not len(first):
        raise ValueError(
            f"Two models are compared user by user, but got values of {first.shape} and "
            f"{second.shape} users. Evaluate both on the same held-out part, which is not empty."
        )
    differences = first - second
    num_users = len(differences)
    generator = np.random.default_rng(seed)
    means = np.empty(num_samples)
    step = max(1, _DRAWS_AT_ONCE // num_users)
    for start in range(0, num_samples, step):
        count = min(step, num_samples - start)
        draws = generator.integers(num_users, size=(count, num_users))
        means[start : start + count] = differences[draws].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Difference(
        mean=float(differences.mean()),
        standard_error=standard_error(differences),
        low=float(low),
        high=float(high),
    )


def standard_error(values: NDArray[np.float64]) -> float:
    """Return the standard error of the mean of (U,) values; 0 for a single one."""
    if len(values) < 2:
        return 0.0
    return float(values.std(ddof=1) / np.sqrt(len(values)))
