"""The k best items of each query, exactly, under the one tie rule of the product.

A score is the dot product of two float32 vectors, computed in float64 in one fixed order of
additions; the list is sorted by (score descending, item number ascending). So a list depends on
the vectors alone: not on the batch, the block, the shard, the machine or its BLAS, and any split of
the candidates, searched part by part and merged, gives the same list bit by bit.

Scoring everything like that would be slow. A float32 matrix product preselects instead, and its
rounding error has a bound (`score_error_bound`): whoever is within twice that bound of the k-th
best float32 score is scored again exactly. No true member of the list can be lost.

Letters for shapes:
    B  queries    N  candidates    D  width of an embedding    K  results of a query
    M  pairs of a query and a candidate
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.evaluation.exclusion import ItemLists, mask_excluded
from raysys.evaluation.scoring import blocks, exact_scores, near_the_best, score_error_bound

_QUERY_BLOCK = 64
_CANDIDATE_BLOCK = 1 << 15


@dataclass(frozen=True, slots=True, eq=False)
class TopK:
    """Lists of items, best first, each item at most once in a row."""

    item_nums: NDArray[np.integer]
    """(B, K), padded with 0 where fewer than K items could be found."""
    scores: NDArray[np.float64]
    """(B, K), padded with -inf."""


class Retriever(Protocol):
    """The door that models and baselines share."""

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        """Return the k best items for each history, but for its row of `excluded`."""
        ...


def exact_top_k(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    candidate_nums: NDArray[np.int32],
    k: int,
    excluded: ItemLists | None = None,
    *,
    longest: NDArray[np.float32] | None = None,
) -> TopK:
    """Return the k candidates of highest score for each query.

    Args:
        queries: (B, D) float32.
        candidates: (N, D) float32.
        candidate_nums: (N,) their item numbers, ascending.
        k: length of a list, at least 1; may exceed N.
        excluded: item numbers that a query must not get; those of no candidate do not matter.
        longest: `scoring.longest_of(candidates)`, for who searches the same ones again and again.

    Raises:
        ValueError: k < 1, shapes or dtypes that do not fit, numbers that do not ascend, or vectors
            that are not finite or so large that float32 scores overflow.
    """
    _check(queries, candidates, candidate_nums, k, excluded)
    errors = score_error_bound(queries, candidates if longest is None else longest)
    tops = []
    for rows in blocks(len(queries), _QUERY_BLOCK):
        parts = []
        for columns in blocks(len(candidates), _CANDIDATE_BLOCK):
            scores = queries[rows] @ candidates[columns].T  # (B, N)
            nums = candidate_nums[columns]
            mask_excluded(scores, nums, excluded, rows)
            pair_rows, pair_columns = near_the_best(scores, k, errors[rows])
            pair_scores = exact_scores(queries[rows], candidates[columns], pair_rows, pair_columns)
            parts.append(top_k_of_pairs(pair_rows, nums[pair_columns], pair_scores, len(scores), k))
        if not parts:
            parts.append(_nothing(rows.stop - rows.start, k))
        tops.append(merge_top_k(parts, k) if len(parts) > 1 else parts[0])
    return _stacked(tops, k)


def top_k_of_scores(
    scores: NDArray[np.float64],
    candidate_nums: NDArray[np.int32],
    k: int,
    excluded: ItemLists | None = None,
) -> TopK:
    """Return the k best of a score matrix, (B, N), whose numbers are taken as they are.

    For models without embeddings. `scores` is overwritten where items are excluded.
    """
    mask_excluded(scores, candidate_nums, excluded, slice(0, len(scores)))
    rows, columns = near_the_best(scores, k, np.zeros(len(scores)))
    return top_k_of_pairs(rows, candidate_nums[columns], scores[rows, columns], len(scores), k)


def top_k_of_pairs(
    rows: NDArray[np.int64],
    nums: NDArray[np.int32],
    scores: NDArray[np.float64],
    num_queries: int,
    k: int,
) -> TopK:
    """Return the k best items of each query, of those that are given with a score.

    Args:
        rows: (M,) the query of each pair, never falling.
        nums: (M,) its item, at most once per query.
        scores: (M,) taken as they are.
        num_queries: B; who has no pair gets an empty list.
        k: length of a list.
    """
    ends = np.cumsum(np.bincount(rows, minlength=num_queries))
    widest = int(np.diff(ends, prepend=0).max(initial=0))
    places = np.arange(len(rows)) - ends[rows] + widest  # any order, so to the right
    found = _nothing(num_queries, widest)
    found.item_nums[rows, places] = nums
    found.scores[rows, places] = scores
    return merge_top_k([found], k)


def rescore(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    candidate_nums: NDArray[np.int32],
    columns: NDArray[np.integer],
    k: int,
) -> TopK:
    """Rank what another search found, by the product's scores and tie rule.

    Args:
        queries: (B, D) float32.
        candidates: (N, D) float32.
        candidate_nums: (N,) their item numbers.
        columns: (B, M) rows of `candidates`, each at most once per query; negative for none.
        k: length of a list.
    """
    rows, places = np.nonzero(columns >= 0)
    found = columns[rows, places]
    scores = exact_scores(queries, candidates, rows, found)
    return top_k_of_pairs(rows, candidate_nums[found], scores, len(queries), k)


def merge_top_k(parts: Sequence[TopK], k: int) -> TopK:
    """Merge the lists that searches of disjoint candidates gave the same queries.

    The result is what one search of all candidates would give, if each part holds its k best.
    """
    item_nums = np.concatenate([part.item_nums for part in parts], axis=1)
    scores = np.concatenate([part.scores for part in parts], axis=1)
    best = np.lexsort((item_nums, -scores), axis=1)[:, :k]
    merged = TopK(
        np.take_along_axis(item_nums, best, axis=1), np.take_along_axis(scores, best, axis=1)
    )
    missing = k - best.shape[1]
    if missing <= 0:
        return merged
    widths = ((0, 0), (0, missing))
    return TopK(
        np.pad(merged.item_nums, widths),
        np.pad(merged.scores, widths, constant_values=-np.inf),
    )


def catalogue_log_sum_exp(
    queries: NDArray[np.float32], candidates: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return log(sum(exp(score))) over all candidates for each query, (B,); -inf without any.

    exp(score - this) is the softmax over the catalogue; the values of two shards are joined by
    `np.logaddexp`. Unlike scores of lists, its last digits may vary with block and BLAS.
    """
    totals = np.full(len(queries), -np.inf)
    for rows in blocks(len(queries), _QUERY_BLOCK):
        for columns in blocks(len(candidates), _CANDIDATE_BLOCK):
            scores = queries[rows] @ candidates[columns].T  # (B, N)
            highest = scores.max(axis=1, keepdims=True)
            scores -= highest
            sums = np.exp(scores, out=scores).sum(axis=1, dtype=np.float64)
            totals[rows] = np.logaddexp(totals[rows], highest[:, 0] + np.log(sums))
    return totals


def _nothing(num_queries: int, k: int) -> TopK:
    return TopK(np.zeros((num_queries, k), np.int32), np.full((num_queries, k), -np.inf))


def _stacked(tops: Sequence[TopK], k: int) -> TopK:
    if len(tops) == 1:
        return tops[0]
    none = _nothing(0, k)
    return TopK(
        np.concatenate([none.item_nums, *(top.item_nums for top in tops)]),
        np.concatenate([none.scores, *(top.scores for top in tops)]),
    )


def _check(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    candidate_nums: NDArray[np.int32],
    k: int,
    excluded: ItemLists | None,
) -> None:
    if k < 1:
        raise ValueError(f"k must be at least 1, but got {k}.")
    if queries.dtype != np.float32 or candidates.dtype != np.float32:
        raise ValueError(
            f"Queries and candidates must be float32, whose products are exact in float64, but got "
            f"{queries.dtype} and {candidates.dtype}."
        )
    if queries.shape[1] != candidates.shape[1] or len(candidates) != len(candidate_nums):
        raise ValueError(
            f"Queries {queries.shape}, candidates {candidates.shape} and {len(candidate_nums)} "
            f"item numbers do not fit: widths must agree, and every candidate has one number."
        )
    if not np.all(candidate_nums[1:] > candidate_nums[:-1]):
        raise ValueError("Item numbers of candidates must ascend, each once; sort both by number.")
    if excluded is not None and len(excluded.offsets) != len(queries) + 1:
        raise ValueError(
            f"{len(queries)} queries need as many lists of excluded items, but got "
            f"{len(excluded.offsets) - 1}."
        )
