"""Scores that depend on two float32 vectors alone, and how far a matrix product may miss them.

Letters for shapes:
    B  queries    N  candidates    D  width of an embedding
    M  pairs of a query and a candidate
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_PAIR_BLOCK = 512  # times 160 floats of 8 bytes: stays in a processor's own cache
_NARROW = 20
_LARGEST_PRODUCT = 1e37  # of two norms; beyond it float32 scores overflow
_SMALLEST_NORMAL = 2.0**-126


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
    scores = np.zeros(len(rows), dtype=np.float64)
    wide_queries = queries.astype(np.float64)
    for block in blocks(len(rows), _PAIR_BLOCK):
        terms = wide_queries[rows[block]]
        terms *= candidates[columns[block]]  # (M, D)
        width = terms.shape[1]
        while width > 1:
            if width <= _NARROW:  # the same additions, in the layout that is faster for them
                terms = np.asfortranarray(terms[:, :width])
            half = width // 2
            terms[:, :half] += terms[:, width - half : width]  # the middle of an odd row waits
            width -= half
        scores[block] = terms[:, :1].sum(axis=1)
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


def longest_of(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the longest vector, (1, D), or none, (0, D): `score_error_bound` needs no other."""
    if not len(vectors):
        return vectors
    return vectors[[int(_norms(vectors).argmax())]]


def near_the_best(
    scores: NDArray[np.floating], k: int | NDArray[np.integer], errors: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (row, column) of every score that may belong to the k best; -inf never does.

    With t the k-th best score of a row and e its error: k exact scores are at least t - e, so the
    k-th best exact score is too, and who has it scores at least t - 2e here.

    Args:
        scores: (B, N).
        k: of all rows, or of each, (B,).
        errors: (B,).
    """
    num_candidates = scores.shape[1]
    lowest = np.finfo(scores.dtype).min
    borders = np.maximum(_kth_best(scores, k) - 2 * errors, lowest)
    # Rounding the border to the scores' own type must not raise it.
    borders = np.where(errors > 0, np.nextafter(borders.astype(scores.dtype), lowest), borders)
    is_near = scores >= borders.astype(scores.dtype)[:, None]
    places = np.flatnonzero(is_near)  # of the flat matrix: four times as fast as both coordinates
    rows = places // max(num_candidates, 1)
    return rows, places - rows * num_candidates


def _kth_best(scores: NDArray[np.floating], k: int | NDArray[np.integer]) -> NDArray[np.floating]:
    """Return the k-th best of each row, (B,); -inf where there are fewer, inf where k is 0."""
    num_rows, num_candidates = scores.shape
    if not isinstance(k, np.ndarray):
        if k >= num_candidates:
            return np.full(num_rows, -np.inf)
        return np.partition(scores, num_candidates - k, axis=1)[:, num_candidates - k]
    widest = min(int(k.max(initial=0)), num_candidates)
    best = scores
    if 0 < widest < num_candidates:
        best = np.partition(scores, num_candidates - widest, axis=1)
    best = np.sort(best[:, num_candidates - widest :], axis=1)
    ends = [np.full((num_rows, 1), end) for end in (-np.inf, np.inf)]
    framed = np.concatenate([ends[0], best, ends[1]], axis=1)
    kth: NDArray[np.floating] = framed[np.arange(num_rows), np.maximum(widest + 1 - k, 0)]
    return kth


def _norms(vectors: NDArray[np.float32]) -> NDArray[np.float64]:
    # In float32 for speed: too large becomes inf, which is refused; what is lost of too small
    # squares is at most 2^-126 each, so at most the root of their sum.
    squares = np.einsum("nd,nd->n", vectors, vectors).astype(np.float64)
    norms: NDArray[np.float64] = np.sqrt(squares + vectors.shape[1] * _SMALLEST_NORMAL)
    return norms


def blocks(total: int, size: int) -> Iterator[slice]:
    """Cut 0 to `total` into slices of at most `size`."""
    for start in range(0, total, size):
        yield slice(start, min(start + size, total))
