"""The exact top-k against an oracle that shares no code with it.

Vectors of small whole numbers have scores that are exact in any order of additions, and so many
ties that the tie rule decides nearly every list.
"""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.evaluation import topk
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.scoring import exact_scores
from raysys.evaluation.topk import (
    TopK,
    catalogue_log_sum_exp,
    exact_top_k,
    merge_top_k,
    rescore,
    top_k_of_scores,
)


def oracle(scores: np.ndarray, nums: list[int], k: int, excluded: list[list[int]]) -> TopK:
    """Sort everything that is allowed, in plain Python."""
    item_nums = np.zeros((len(scores), k), np.int32)
    found = np.full((len(scores), k), -np.inf)
    for row in range(len(scores)):
        ranked = sorted(
            (-score, num)
            for score, num in zip(scores[row].tolist(), nums, strict=True)
            if num not in excluded[row]
        )[:k]
        for place, (negative, num) in enumerate(ranked):
            item_nums[row, place], found[row, place] = num, -negative
    return TopK(item_nums, found)


def assert_same(one: TopK, other: TopK) -> None:
    assert one.item_nums.tolist() == other.item_nums.tolist()
    assert one.scores.tolist() == other.scores.tolist()
    assert one.item_nums.dtype == other.item_nums.dtype == np.int32
    assert one.scores.dtype == other.scores.dtype == np.float64


@st.composite
def searches(draw: st.DrawFn) -> dict[str, Any]:
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    width = draw(st.sampled_from([1, 3, 16]))
    num_queries, num_candidates = draw(st.integers(0, 5)), draw(st.integers(0, 40))
    spread = draw(st.sampled_from([40, 100_000]))
    nums = np.sort(generator.choice(spread, num_candidates, replace=False) + 1).astype(np.int32)
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    foreign = [0, 7, 2**31 - 1]  # perhaps no candidate: these must not matter
    excluded = [
        [*nums[generator.random(num_candidates) < share].tolist(), *foreign[: row % 4]]
        for row in range(num_queries)
    ]
    return {
        "queries": generator.integers(-2, 3, (num_queries, width)).astype(np.float32),
        "candidates": generator.integers(-2, 3, (num_candidates, width)).astype(np.float32),
        "nums": nums,
        "k": draw(st.integers(1, 50)),
        "excluded": [excluded_row * 2 for excluded_row in excluded],  # each named twice
    }


@given(searches())
def test_lists_are_those_of_the_oracle(search):
    queries, candidates, nums = search["queries"], search["candidates"], search["nums"]
    scores = queries.astype(np.int64) @ candidates.astype(np.int64).T
    for excluded in (search["excluded"], [[] for _ in queries]):
        top = exact_top_k(queries, candidates, nums, search["k"], Exclusions.from_lists(excluded))
        assert_same(top, oracle(scores.astype(np.float64), nums.tolist(), search["k"], excluded))
    assert_same(top, exact_top_k(queries, candidates, nums, search["k"]))


@given(searches())
def test_lists_of_a_score_matrix_are_those_of_the_oracle(search):
    scores = search["queries"].astype(np.float64) @ search["candidates"].astype(np.float64).T
    expected = oracle(scores, search["nums"].tolist(), search["k"], search["excluded"])
    excluded = Exclusions.from_lists(search["excluded"])
    assert_same(top_k_of_scores(scores, search["nums"], search["k"], excluded), expected)


def near_ties(num_candidates: int, width: int = 160) -> tuple[np.ndarray, np.ndarray]:
    """Return queries, and candidates whose scores differ by less than float32 can tell."""
    generator = np.random.default_rng(1)
    queries = generator.normal(size=(4, width)).astype(np.float32)
    candidates = np.tile(generator.normal(size=width).astype(np.float32), (num_candidates, 1))
    for row in range(num_candidates):
        place = row % width
        candidates[row, place] = np.nextafter(candidates[row, place], np.float32(9 * (-1) ** row))
    return queries, candidates


def exact_oracle(queries: np.ndarray, candidates: np.ndarray, k: int) -> TopK:
    rows, columns = np.divmod(np.arange(len(queries) * len(candidates)), len(candidates))
    scores = exact_scores(queries, candidates, rows, columns).reshape(len(queries), -1)
    nums = list(range(1, len(candidates) + 1))
    return oracle(scores, nums, k, [[] for _ in queries])


@pytest.mark.parametrize("k", [1, 7, 300])
def test_scores_that_float32_cannot_tell_apart_are_still_ordered(k: int):
    queries, candidates = near_ties(300)
    nums = np.arange(1, 301, dtype=np.int32)
    expected = exact_oracle(queries, candidates, k)
    assert_same(exact_top_k(queries, candidates, nums, k), expected)
    # The test would be worthless if float32 saw the order.
    in_float32 = np.argsort(-(queries @ candidates.T), axis=1, kind="stable")[:, :k] + 1
    assert in_float32.tolist() != expected.item_nums.tolist()


@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
@settings(max_examples=50)
def test_shards_searched_apart_and_merged_give_the_same_list_bit_by_bit(seed, num_shards, ties):
    generator = np.random.default_rng(seed)
    if ties:
        queries, candidates = near_ties(120)
    else:
        queries = generator.normal(size=(4, 160)).astype(np.float32)
        candidates = generator.normal(size=(120, 160)).astype(np.float32)
    nums = np.arange(1, 121, dtype=np.int32)
    excluded = Exclusions.from_lists([generator.choice(nums, 30) for _ in queries])
    shard_of = generator.integers(num_shards, size=120)
    parts = []
    for shard in range(num_shards):
        mine = np.flatnonzero(shard_of == shard)
        parts.append(exact_top_k(queries, candidates[mine], nums[mine], 10, excluded))
    whole = exact_top_k(queries, candidates, nums, 10, excluded)
    assert_same(merge_top_k(parts, 10), whole)
    for row in range(len(queries)):  # nor does it matter who else asks
        alone = exact_top_k(
            queries[row : row + 1],
            candidates,
            nums,
            10,
            Exclusions.from_lists(
                [excluded.item_nums[excluded.offsets[row] : excluded.offsets[row + 1]]]
            ),
        )
        assert_same(alone, TopK(whole.item_nums[row : row + 1], whole.scores[row : row + 1]))


@given(search=searches())
def test_the_size_of_blocks_changes_nothing(search):
    arguments = (
        search["queries"],
        search["candidates"],
        search["nums"],
        search["k"],
        Exclusions.from_lists(search["excluded"]),
    )
    whole = exact_top_k(*arguments)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(topk, "_QUERY_BLOCK", 2)
        patch.setattr(topk, "_CANDIDATE_BLOCK", 7)
        assert_same(exact_top_k(*arguments), whole)
        blocked = catalogue_log_sum_exp(search["queries"], search["candidates"])
    sums = catalogue_log_sum_exp(search["queries"], search["candidates"])
    np.testing.assert_allclose(blocked, sums, rtol=1e-5, atol=1e-5)


def test_a_zero_query_lists_the_lowest_numbers():
    candidates = np.random.default_rng(0).normal(size=(50, 16)).astype(np.float32)
    nums = np.arange(10, 60, dtype=np.int32)
    top = exact_top_k(
        np.zeros((1, 16), np.float32), candidates, nums, 3, Exclusions.from_lists([[11]])
    )
    assert top.item_nums.tolist() == [[10, 12, 13]]
    assert top.scores.tolist() == [[0.0, 0.0, 0.0]]


def test_an_excluded_item_never_appears_even_when_k_exceeds_the_catalogue():
    nums = np.array([3, 5], np.int32)
    top = exact_top_k(
        np.ones((2, 1), np.float32),
        np.ones((2, 1), np.float32),
        nums,
        3,
        Exclusions.from_lists([[3], [5, 3]]),
    )
    assert top.item_nums.tolist() == [[5, 0, 0], [0, 0, 0]]
    assert top.scores.tolist() == [[1.0, -np.inf, -np.inf], [-np.inf] * 3]


def test_rescored_lists_are_the_exact_ones_when_the_search_found_enough():
    queries, candidates = near_ties(60)
    nums = np.arange(1, 61, dtype=np.int32)
    generator = np.random.default_rng(0)
    columns = np.stack([generator.permutation(60) for _ in queries])
    expected = exact_top_k(queries, candidates, nums, 5)
    assert_same(rescore(queries, candidates, nums, columns, 5), expected)


def test_places_that_a_search_left_empty_are_not_ranked():
    candidates = np.array([[1.0], [2.0], [3.0]], np.float32)
    nums = np.array([4, 5, 6], np.int32)
    columns = np.array([[-1, 0, 2], [-1, -1, -1]])
    top = rescore(np.ones((2, 1), np.float32), candidates, nums, columns, 2)
    assert top.item_nums.tolist() == [[6, 4], [0, 0]]
    assert top.scores.tolist() == [[3.0, 1.0], [-np.inf, -np.inf]]


def test_merged_lists_are_padded_at_the_end():
    some = TopK(np.array([[4, 0]], np.int32), np.array([[1.0, -np.inf]]))
    more = TopK(np.array([[2, 9]], np.int32), np.array([[1.0, 0.5]]))
    merged = merge_top_k([some, more], 5)
    assert merged.item_nums.tolist() == [[2, 4, 9, 0, 0]]
    assert merged.scores.tolist() == [[1.0, 1.0, 0.5, -np.inf, -np.inf]]
    assert merge_top_k([some, more], 2).item_nums.tolist() == [[2, 4]]


def test_the_log_sum_exp_of_two_shards_is_that_of_the_catalogue():
    generator = np.random.default_rng(0)
    queries = (30 * generator.normal(size=(3, 16))).astype(np.float32)
    candidates = generator.normal(size=(100, 16)).astype(np.float32)
    scores = queries.astype(np.float64) @ candidates.astype(np.float64).T
    expected = np.log(np.exp(scores - 200).sum(axis=1)) + 200
    whole = catalogue_log_sum_exp(queries, candidates)
    halves = [catalogue_log_sum_exp(queries, candidates[half::2]) for half in (0, 1)]
    np.testing.assert_allclose(whole, expected, rtol=1e-5)
    np.testing.assert_allclose(np.logaddexp(*halves), expected, rtol=1e-5)


def test_the_log_sum_exp_of_nothing_is_minus_infinity():
    nothing = catalogue_log_sum_exp(np.ones((2, 3), np.float32), np.ones((0, 3), np.float32))
    assert nothing.tolist() == [-np.inf, -np.inf]


ONES = np.ones((2, 3), np.float32)
NUMS = np.array([1, 2], np.int32)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ONES, ONES, NUMS, 0), "k must be at least 1, but got 0"),
        ((ONES.astype(np.float64), ONES, NUMS, 1), "must be float32.*float64"),
        ((ONES[:, :2], ONES, NUMS, 1), "do not fit"),
        ((ONES, ONES, NUMS[:1], 1), "do not fit"),
        ((ONES, ONES, NUMS[::-1], 1), "must ascend"),
        ((ONES, ONES, np.array([2, 2], np.int32), 1), "must ascend"),
        ((ONES, ONES, NUMS, 1, Exclusions.from_lists([[1]])), "2 queries.*but got 1"),
        ((ONES * np.float32(np.nan), ONES, NUMS, 1), "must be finite"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments: tuple[Any, ...], message: str):
    with pytest.raises(ValueError, match=message):
        exact_top_k(*arguments)
