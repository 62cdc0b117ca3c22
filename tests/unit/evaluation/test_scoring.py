import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys.evaluation.scoring import (
    blocks,
    exact_scores,
    longest_of,
    near_the_best,
    score_error_bound,
)


def scores_of_all(queries: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    rows, columns = np.divmod(np.arange(len(queries) * len(candidates)), max(1, len(candidates)))
    scores = exact_scores(queries, candidates, rows, columns)
    return scores.reshape(len(queries), len(candidates))


def halving_sum(terms: list[float]) -> float:
    """Add the last half of the terms to the first half, until one is left."""
    while len(terms) > 1:
        half = len(terms) // 2
        pairs = [a + b for a, b in zip(terms[:half], terms[-half:], strict=True)]
        terms = pairs + terms[half : len(terms) - half]
    return terms[0]


def test_the_sum_adds_the_last_half_to_the_first():
    # 2^53 + 1 is 2^53 in float64, so the order of additions shows: (a + c) + b = 1, a + b + c = 0.
    query = np.array([[2.0**27, 1.0, 2.0**27]], np.float32)
    candidate = np.array([[2.0**26, 1.0, -(2.0**26)]], np.float32)
    assert scores_of_all(query, candidate).tolist() == [[1.0]]


@pytest.mark.parametrize("width", [1, 2, 3, 7, 16, 20, 21, 64, 149, 160])
def test_a_score_is_the_halving_sum_of_exact_products(width: int):
    generator = np.random.default_rng(width)
    queries = generator.normal(size=(3, width)).astype(np.float32)
    candidates = generator.normal(size=(5, width)).astype(np.float32)
    expected = [
        [halving_sum([float(a) * float(b) for a, b in zip(q, c, strict=True)]) for c in candidates]
        for q in queries
    ]
    assert scores_of_all(queries, candidates).tolist() == expected


def test_a_score_is_the_same_whatever_it_is_computed_with():
    generator = np.random.default_rng(0)
    queries = generator.normal(size=(40, 160)).astype(np.float32)
    candidates = generator.normal(size=(50, 160)).astype(np.float32)
    together = scores_of_all(queries, candidates)  # 2,000 pairs: several blocks
    for row, column in [(0, 0), (13, 49), (39, 7)]:
        alone = exact_scores(
            queries[row : row + 1],
            np.asfortranarray(candidates)[column : column + 1],
            np.zeros(1, np.int64),
            np.zeros(1, np.int64),
        )
        assert alone[0] == together[row, column]


def test_vectors_without_width_score_zero():
    assert scores_of_all(np.zeros((1, 0), np.float32), np.zeros((2, 0), np.float32)).tolist() == [
        [0.0, 0.0]
    ]


scales = st.sampled_from([1e-30, 1e-22, 1e-10, 1.0, 1e10, 1e17])


@given(st.integers(0, 2**32), st.integers(1, 40), scales, scales)
def test_no_order_of_float32_additions_is_further_off_than_the_bound(seed, width, one, other):
    generator = np.random.default_rng(seed)
    query = (generator.normal(size=(1, width)) * one).astype(np.float32)
    candidate = (generator.normal(size=(1, width)) * other).astype(np.float32)
    bound = score_error_bound(query, candidate)[0]
    pairs = zip(query[0].tolist(), candidate[0].tolist(), strict=True)
    real = sum(Fraction(a) * Fraction(b) for a, b in pairs)
    for order in (np.arange(width), np.arange(width)[::-1], generator.permutation(width)):
        total = np.float32(0)
        for place in order:
            total += query[0, place] * candidate[0, place]
        assert abs(Fraction(float(total)) - real) <= bound
    assert abs(Fraction(float(scores_of_all(query, candidate)[0, 0])) - real) <= bound / 1000
    blas = (query @ candidate.T)[0, 0]
    assert abs(Fraction(float(blas)) - real) <= bound


def test_the_bound_is_tight_enough_to_be_of_use():
    queries, candidates = np.ones((1, 160), np.float32), np.ones((1, 160), np.float32)
    # 168 * 2^-23 * 160 = 0.0032 for a score of 160
    assert score_error_bound(queries, candidates)[0] == pytest.approx(0.0032, rel=0.01)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
def test_vectors_that_are_not_finite_or_too_long_are_refused(value: float):
    fine, broken = np.ones((2, 3), np.float32), np.ones((2, 3), np.float32)
    broken[1, 1] = value
    for queries, candidates in [(fine, broken), (broken, fine)]:
        with pytest.raises(ValueError, match="must be finite"):
            score_error_bound(queries, candidates)


def test_the_longest_vector_stands_for_all_of_them():
    rng = np.random.default_rng(0)
    queries, candidates = rng.standard_normal((2, 50, 24)).astype(np.float32)
    candidates[17] *= 9
    longest = longest_of(candidates)
    np.testing.assert_array_equal(longest, candidates[[17]])
    of_all = score_error_bound(queries, candidates)
    np.testing.assert_allclose(score_error_bound(queries, longest), of_all, rtol=1e-6)
    assert longest_of(candidates[:0]).shape == (0, 24)


def test_the_longest_of_vectors_that_are_damaged_is_a_damaged_one():
    candidates = np.ones((3, 4), np.float32)
    candidates[1, 2] = np.nan
    with pytest.raises(ValueError, match="Embeddings must be finite"):
        score_error_bound(candidates[:1], longest_of(candidates))


def test_everybody_within_twice_the_error_of_the_kth_best_is_near():
    scores = np.array([[5.0, 1.0, 3.5, 4.0, 3.4, -np.inf]], np.float32)
    rows, columns = near_the_best(scores, 2, np.array([0.25]))
    assert (rows.tolist(), columns.tolist()) == ([0, 0, 0], [0, 2, 3])


def test_without_an_error_only_ties_with_the_kth_best_are_near():
    scores = np.array([[5.0, 4.0, 4.0, 3.0], [1.0, 2.0, 3.0, 4.0]])
    rows, columns = near_the_best(scores, 2, np.zeros(2))
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [
        (0, 0),
        (0, 1),
        (0, 2),
        (1, 2),
        (1, 3),
    ]


def test_rows_that_want_different_numbers_get_what_each_gets_alone():
    scores = np.random.default_rng(0).integers(0, 9, (6, 12)).astype(np.float32)
    scores[2, 3:] = -np.inf
    ks, errors = np.array([0, 1, 5, 12, 20, 3]), np.array([0.0, 0.5, 0.0, 1.0, 0.0, 0.3])
    rows, columns = near_the_best(scores, ks, errors)
    for row in range(6):
        found = columns[rows == row].tolist()
        alone = near_the_best(scores[[row]], max(1, int(ks[row])), errors[[row]])[1].tolist()
        assert found == (alone if ks[row] else [])


@pytest.mark.parametrize("k", [1, 2, 3, 4, 9])
@pytest.mark.parametrize("error", [0.0, 1.0])
def test_what_is_masked_is_never_near(k: int, error: float):
    scores = np.array([[-np.inf, 2.0, -np.inf, 1.0], [-np.inf] * 4], np.float32)
    rows, columns = near_the_best(scores, k, np.array([error, error]))
    assert set(rows.tolist()) == {0}
    assert set(columns.tolist()) <= {1, 3}
    assert 1 in columns


def test_blocks_cover_everything_once():
    assert [(block.start, block.stop) for block in blocks(7, 3)] == [(0, 3), (3, 6), (6, 7)]
    assert list(blocks(0, 3)) == []
