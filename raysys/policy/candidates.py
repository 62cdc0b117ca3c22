"""Fresh items that queries may explore, as pools of them answer.

Letters for shapes:
    B  queries    M  candidates of a query, or of all
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import offsets_of, rows_of_offsets


@dataclass(frozen=True, slots=True, eq=False)
class FreshCandidates:
    """The fresh items that one query may explore, distinct, in any order.

    They hold every one that is relevant too. Of the others they hold those of highest perturbed
    logit, as many as the list has places that may draw (see `slot_mixture.num_draws`), or all there
    are; of what is left only the sum counts.
    """

    keys: NDArray[np.int64]
    """(M,)"""
    logits: NDArray[np.float64]
    """(M,)"""
    perturbed: NDArray[np.float64]
    """(M,) the logits with their noise, by which candidates come one after the other."""
    log_rest: float
    """Log of the sum of exp(logit) over all other fresh items; -inf when there are none."""


@dataclass(frozen=True, slots=True, eq=False)
class FreshBatch:
    """The candidates of B queries, laid end to end."""

    offsets: NDArray[np.int64]
    """(B + 1,)"""
    keys: NDArray[np.int64]
    """(M,)"""
    logits: NDArray[np.float64]
    """(M,)"""
    perturbed: NDArray[np.float64]
    """(M,)"""
    log_rest: NDArray[np.float64]
    """(B,)"""

    @classmethod
    def of_queries(cls, queries: Sequence[FreshCandidates]) -> "FreshBatch":
        """Lay the candidates of several queries end to end."""
        none = np.zeros(0)
        return cls(
            offsets_of([len(query.keys) for query in queries]),
            np.concatenate([np.zeros(0, np.int64), *(query.keys for query in queries)]),
            np.concatenate([none, *(query.logits for query in queries)]),
            np.concatenate([none, *(query.perturbed for query in queries)]),
            np.array([query.log_rest for query in queries], np.float64),
        )

    def of(self, row: int) -> FreshCandidates:
        """Return the candidates of one query."""
        span = slice(self.offsets[row], self.offsets[row + 1])
        rest = float(self.log_rest[row])
        return FreshCandidates(self.keys[span], self.logits[span], self.perturbed[span], rest)


def joined_batches(parts: Sequence[FreshBatch]) -> FreshBatch:
    """Return the candidates of the same B queries from pools that share no item, at least one."""
    if len(parts) == 1:
        return parts[0]
    rows = np.concatenate([rows_of_offsets(part.offsets) for part in parts])
    order = np.argsort(rows, kind="stable")
    return FreshBatch(
        np.sum([part.offsets for part in parts], axis=0),
        np.concatenate([part.keys for part in parts])[order],
        np.concatenate([part.logits for part in parts])[order],
        np.concatenate([part.perturbed for part in parts])[order],
        np.logaddexp.reduce([part.log_rest for part in parts], axis=0),
    )
