"""The draw of fresh items for a batch of queries: arrays in, candidates of the slot mixture out.

A matrix product preselects and exact scores decide, as in `evaluation.topk`, so that one seed gives
one list, whatever else is in the batch or the pool.

Letters for shapes:
    B  queries    n  items    D  width of an embedding    M  pairs of a query and an item
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import offsets_of, rows_of_offsets
from raysys.evaluation.scoring import (
    blocks,
    exact_scores,
    longest_of,
    near_the_best,
    score_error_bound,
)
from raysys.policy.candidates import FreshBatch
from raysys.policy.noise import gumbel_noise
from raysys.policy.policies import DrawPolicy

_BLOCK_PAIRS = 1 << 17  # 1 MiB of float64: what a pass writes, the next one finds in the cache


class KeyLists(Protocol):
    """Keys per query: `item_nums[offsets[b]:offsets[b + 1]]`."""

    @property
    def offsets(self) -> NDArray[np.int64]: ...
    @property
    def item_nums(self) -> NDArray[np.integer]: ...


@dataclass(frozen=True, eq=False)
class FreshItems:
    """Items in ascending order of key, (n,) each."""

    keys: NDArray[np.int64]
    hashes: NDArray[np.uint64]
    """`raysys.hashing.stable_hash` of the ids: what the noise of an item is made from."""
    vectors: NDArray[np.float32]
    """(n, D)"""
    interactions: NDArray[np.int64]
    """In the log that the release was made from."""
    impressions: NDArray[np.int64]
    clicks: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def longest(self) -> NDArray[np.float32]:
        """The longest vector, (1, D); none where there are no items."""
        return longest_of(self.vectors)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "FreshItems":
        """Return the items of the given rows, in that order."""
        return FreshItems(
            self.keys[rows],
            self.hashes[rows],
            self.vectors[rows],
            self.interactions[rows],
            self.impressions[rows],
            self.clicks[rows],
        )

    def followed_by(self, other: "FreshItems") -> "FreshItems":
        """Return these items and then the others, in no order of keys."""
        return FreshItems(
            np.concatenate([self.keys, other.keys]),
            np.concatenate([self.hashes, other.hashes]),
            np.concatenate([self.vectors, other.vectors]),
            np.concatenate([self.interactions, other.interactions]),
            np.concatenate([self.impressions, other.impressions]),
            np.concatenate([self.clicks, other.clicks]),
        )

    def columns_of(self, keys: NDArray[np.integer]) -> NDArray[np.int64]:
        """Return the place of each key, (M,); -1 where it has none."""
        if not len(self.keys):
            return np.full(len(keys), -1)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, -1)


def draw_candidates(
    items: FreshItems,
    queries: NDArray[np.float32],
    *,
    seeds: NDArray[np.integer],
    counts: NDArray[np.integer],
    banned: KeyLists,
    relevant: KeyLists,
    policy: DrawPolicy,
    click_rate: float,
) -> tuple[FreshBatch, NDArray[np.int64]]:
    """Return what `FreshPool.draw` promises, for items that are all young enough.

    And of how many items each query draws, (B,).
    """
    appeal = policy.appeal(items.impressions, items.clicks, items.interactions, click_rate)
    deviations = policy.deviations(items.clicks)
    banned_pairs, relevant_pairs = _pairs(items, banned), _pairs(items, relevant)
    errors = policy.score_weight * score_error_bound(queries, items.longest)
    size = max(1, _BLOCK_PAIRS // max(1, len(items)))
    parts = [
        _block(
            items,
            queries[rows],
            seeds[rows],
            counts[rows],
            errors[rows],
            _within(banned_pairs, rows),
            _within(relevant_pairs, rows),
            policy.score_weight,
            appeal,
            deviations,
        )
        for rows in blocks(len(queries), size)
    ]
    lengths = [np.diff(part.offsets) for part in parts]
    none = np.zeros(0)
    batch = FreshBatch(
        offsets_of(np.concatenate([np.zeros(0, np.int64), *lengths])),
        np.concatenate([np.zeros(0, np.int64), *(part.keys for part in parts)]),
        np.concatenate([none, *(part.logits for part in parts)]),
        np.concatenate([none, *(part.perturbed for part in parts)]),
        np.concatenate([none, *(part.log_rest for part in parts)]),
    )
    banned_rows, banned_columns = banned_pairs
    distinct = np.unique(banned_rows * len(items) + banned_columns) // max(1, len(items))
    return batch, len(items) - np.bincount(distinct, minlength=len(queries))


_Pairs = tuple[NDArray[np.int64], NDArray[np.int64]]
"""(M,) queries in ascending order, and the column of an item for each."""


def _block(
    items: FreshItems,
    queries: NDArray[np.float32],
    seeds: NDArray[np.integer],
    counts: NDArray[np.integer],
    errors: NDArray[np.float64],
    banned: _Pairs,
    relevant: _Pairs,
    score_weight: float,
    appeal: NDArray[np.float64],
    deviations: NDArray[np.float64] | None,
) -> FreshBatch:
    if deviations is None:
        noise = gumbel_noise(seeds, items.hashes)  # (B, n)
    else:
        noise = np.broadcast_to(deviations, (len(queries), len(items)))
    logits = (queries @ items.vectors.T) * score_weight + appeal  # (B, n) float64
    logits[banned] = -np.inf
    perturbed = logits + noise
    perturbed[relevant] = -np.inf
    near = near_the_best(perturbed, counts, errors)
    is_wanted = logits[relevant] > -np.inf
    rows, columns = (
        np.concatenate([some, others[is_wanted]])
        for some, others in zip(near, relevant, strict=True)
    )
    scores = exact_scores(queries, items.vectors, rows, columns)
    exact = scores * score_weight + appeal[columns]
    exactly_perturbed = exact + noise[rows, columns]
    order = np.lexsort((items.keys[columns], -exactly_perturbed, rows))
    is_relevant = order >= len(near[0])
    kept = order[is_relevant | (_ranks(rows[order], ~is_relevant) < counts[rows[order]])]
    logits[rows[kept], columns[kept]] = -np.inf
    return FreshBatch(
        offsets_of(np.bincount(rows[kept], minlength=len(queries))),
        items.keys[columns[kept]],
        exact[kept],
        exactly_perturbed[kept],
        _log_sum_exp(logits),
    )


def _ranks(rows: NDArray[np.int64], counts: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return how many before each place of the same row count, (M,); rows never fall."""
    before: NDArray[np.int64] = np.cumsum(counts) - counts
    ranks: NDArray[np.int64] = before - before[np.searchsorted(rows, rows)]
    return ranks


def _pairs(items: FreshItems, lists: KeyLists) -> _Pairs:
    columns = items.columns_of(lists.item_nums)
    is_here = columns >= 0
    return rows_of_offsets(lists.offsets)[is_here], columns[is_here]


def _within(pairs: _Pairs, rows: slice) -> _Pairs:
    start, end = np.searchsorted(pairs[0], [rows.start, rows.stop])
    return pairs[0][start:end] - rows.start, pairs[1][start:end]


def _log_sum_exp(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return log(sum(exp(logit))) of each row, (B,), overwriting them; -inf where all are."""
    highest = logits.max(axis=1, initial=-np.inf)
    highest[highest == -np.inf] = 0.0
    logits -= highest[:, None]
    sums: NDArray[np.float64] = np.exp(logits, out=logits).sum(axis=1)
    with np.errstate(divide="ignore"):
        np.log(sums, out=sums)
    sums += highest
    return sums
