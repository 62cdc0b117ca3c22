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

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories, offsets_of

_QUERY_BLOCK = 64
_CANDIDATE_BLOCK = 1 << 15
_PAIR_BLOCK = 1 << 13  # times 160 floats of 8 bytes: 10 MB
_LARGEST_PRODUCT = 1e37  # of two norms; beyond it float32 scores overflow
_SMALLEST_NORMAL = 2.0**-126


class ItemLists(Protocol):
    """Item numbers per query: `item_nums[offsets[b]:offsets[b + 1]]`; Histories are such lists."""

    @property
    def offsets(self) -> NDArray[np.int64]: ...
    @property
    def item_nums(self) -> NDArray[np.int32]: ...


@dataclass(frozen=True, slots=True)
class Exclusions:
    """The items that each query must not get, (B + 1,) offsets into (E,) item numbers."""

    offsets: NDArray[np.int64]
    item_nums: NDArray[np.int32]

    @classmethod
    def from_lists(cls, lists: Sequence[Sequence[int] | NDArray[np.integer]]) -> "Exclusions":
        arrays = [np.asarray(nums, dtype=np.int32) for nums in lists]
        lengths = np.fromiter((len(nums) for nums in arrays), dtype=np.int64, count=len(arrays))
        return cls(offsets_of(lengths), np.concatenate([np.zeros(0, np.int32), *arrays]))


@dataclass(frozen=True, slots=True, eq=False)
class TopK:
    """Lists of items, best first, each item at most once in a row."""

    item_nums: NDArray[np.int32]
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
) -> TopK:
    """Return the k candidates of highest score for each query.

    Args:
        queries: (B, D) float32.
        candidates: (N, D) float32.
        candidate_nums: (N,) their item numbers, ascending.
        k: length of a list, at least 1; may exceed N.
        excluded: item numbers that a query must not get; those of no candidate do not matter.

    Raises:
        ValueError: k < 1, shapes or dtypes that do not fit, numbers that do not ascend, or vectors
            that are not finite or so large that float32 scores overflow.
    """
    _check(queries, candidates, candidate_nums, k, excluded)
    errors = score_error_bound(queries, candidates)
    tops = []
    for rows in _blocks(len(queries), _QUERY_BLOCK):
        parts = []
        for columns in _blocks(len(candidates), _CANDIDATE_BLOCK):
            scores = queries[rows] @ candidates[columns].T  # (B, N)
            nums = candidate_nums[columns]
            _mask(scores, nums, excluded, rows)
            pair_rows, pair_columns = _preselect(scores, k, errors[rows])
            pair_scores = exact_scores(queries[rows], candidates[columns], pair_rows, pair_columns)
            count = rows.stop - rows.start
            parts.append(_ranked(pair_rows, nums[pair_columns], pair_scores, count, k))
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
    _mask(scores, candidate_nums, excluded, slice(0, len(scores)))
    rows, columns = _preselect(scores, k, np.zeros(len(scores)))
    return _ranked(rows, candidate_nums[columns], scores[rows, columns], len(scores), k)


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
    return _ranked(rows, candidate_nums[found], scores, len(queries), k)


def exact_scores(
    queries: NDArray[np.float32],
    candidates: NDArray[np.float32],
    rows: NDArray[np.integer],
    columns: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Return the score of each pair (query `rows[m]`, candidate `columns[m]`), (M,) float64.

    The product of two float32 numbers is exact in float64. The sum halves the row again and again,
    adding element to element: an order that nothing but D decides. `np.sum`, `einsum` and BLAS
    choose theirs by shape, memory layout and processor.
    """
    scores = np.empty(len(rows), dtype=np.float64)
    for block in _blocks(len(rows), _PAIR_BLOCK):
        terms = queries[rows[block]].astype(np.float64)
        terms *= candidates[columns[block]]  # (M, D)
        width = terms.shape[1]
        while width > 1:
            half = width // 2
            terms[:, :half] += terms[:, width - half : width]  # the middle of an odd row waits
            width -= half
        scores[block] = terms[:, 0] if terms.shape[1] else 0.0
    return scores


def score_error_bound(
    queries: NDArray[np.float32], candidates: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return, (B,), how far a float32 score of a query can be from its exact one.

    Holds for every order of additions, with or without fused operations: D roundings of at most
    2^-24 of the sum of absolute products, which is at most the product of the norms (Higham,
    Accuracy and Stability of Numerical Algorithms, section 3.1). Doubled, which also covers the
    rounding of the norms; and D numbers too small for float32 may be lost.

    Raises:
        ValueError: a vector is not finite, or so long that float32 scores overflow.
    """
    width = queries.shape[1]
    products: NDArray[np.float64] = _norms(queries) * _norms(candidates).max(initial=0.0)
    if not np.all(products < _LARGEST_PRODUCT):  # nan compares false
        raise ValueError(
            "Embeddings must be finite and the product of their norms below 1e37, but a query's "
            f"largest is {products.max():g}. The model diverged or its file is damaged."
        )
    errors: NDArray[np.float64] = (width + 8) * (2.0**-23 * products + 4 * _SMALLEST_NORMAL)
    return errors


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
    for rows in _blocks(len(queries), _QUERY_BLOCK):
        for columns in _blocks(len(candidates), _CANDIDATE_BLOCK):
            scores = queries[rows] @ candidates[columns].T  # (B, N)
            highest = scores.max(axis=1, keepdims=True)
            sums = np.exp(scores - highest).sum(axis=1, dtype=np.float64)
            totals[rows] = np.logaddexp(totals[rows], highest[:, 0] + np.log(sums))
    return totals


def _preselect(
    scores: NDArray[np.floating], k: int, errors: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, column) of every score that may belong to the k best; -inf never does.

    With t the k-th best score of a row and e its error: k exact scores are at least t - e, so the
    k-th best exact score is too, and who has it scores at least t - 2e here.
    """
    num_candidates = scores.shape[1]
    lowest = np.finfo(scores.dtype).min
    if k < num_candidates:
        kth = np.partition(scores, num_candidates - k, axis=1)[:, num_candidates - k]
        borders = np.maximum(kth - 2 * errors, lowest)
        # Rounding the border to the scores' own type must not raise it.
        borders = np.where(errors > 0, np.nextafter(borders.astype(scores.dtype), lowest), borders)
    else:
        borders = np.full(len(scores), lowest)
    rows, columns = np.nonzero(scores >= borders.astype(scores.dtype)[:, None])
    return rows, columns


def _ranked(
    rows: NDArray[np.int64],
    nums: NDArray[np.int32],
    scores: NDArray[np.float64],
    num_queries: int,
    k: int,
) -> TopK:
    """Sort pairs by (row, score descending, item number) and keep k of each row."""
    order = np.lexsort((nums, -scores, rows))
    rows = rows[order]
    starts = np.searchsorted(rows, np.arange(num_queries))
    places = np.arange(len(rows)) - starts[rows]
    kept = places < k
    top = _nothing(num_queries, k)
    top.item_nums[rows[kept], places[kept]] = nums[order][kept]
    top.scores[rows[kept], places[kept]] = scores[order][kept]
    return top


def _mask(
    scores: NDArray[np.floating],
    candidate_nums: NDArray[np.int32],
    excluded: ItemLists | None,
    rows: slice,
) -> None:
    """Set the excluded items of queries `rows` to -inf."""
    if excluded is None or not len(candidate_nums):
        return
    offsets = excluded.offsets[rows.start : rows.stop + 1]
    nums = excluded.item_nums[offsets[0] : offsets[-1]]
    columns = np.searchsorted(candidate_nums, nums)
    columns[columns == len(candidate_nums)] = 0  # compared below, so any column will do
    is_candidate = candidate_nums[columns] == nums
    query_rows = np.repeat(np.arange(len(scores)), np.diff(offsets))
    scores[query_rows[is_candidate], columns[is_candidate]] = -np.inf


def _norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    # Squares of float32 overflow where the vectors themselves do not.
    squares: NDArray[np.float64] = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return np.sqrt(squares)


def _blocks(total: int, size: int) -> Iterator[slice]:
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))


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
