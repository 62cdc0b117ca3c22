"""Random filters over every kind of index: none is broken, no list is starved.

Run: pytest tests/unit/index/test_filtered.py. What a filter means is worked out once more here,
cell by cell in plain Python.
"""

import random
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from raysys.config import IndexConfig
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import TopK, exact_top_k
from raysys.filters.binding import bind
from raysys.filters.grammar import parse_expression
from raysys.filters.masks import Rule
from raysys.index import kinds, partition
from raysys.index.build import build_partitions
from raysys.index.delta import Delta
from raysys.index.filtered import RowFilters, ShardFilters
from raysys.index.shard import Shard, of_length_one, open_partitions

NUM_ITEMS, DIM = 300, 16
ITEM_IDS = [f"item-{number}" for number in range(NUM_ITEMS)]
NUMS = np.arange(1, NUM_ITEMS + 1, dtype=np.int32)
GENRES = ["Comedy", "Drama", "War", "Crime"]
MIN_RECALL = 0.95
# Kinds that leave rows out by selectors, kinds that cannot, and kinds that compress.
KINDS = ["Flat", "HNSW16", "IVF4,Flat", "PQ2x4"]

Cell = Callable[[int], bool]


def some_cells() -> pa.Table:
    draws = random.Random(1)
    genres = [
        draws.choice([None, "", "|".join(draws.sample(GENRES, draws.randint(1, 3)))])
        for _ in range(NUM_ITEMS)
    ]
    prices = [draws.choice([None, float(draws.randint(0, 50))]) for _ in range(NUM_ITEMS)]
    return pa.table({"item_id": ITEM_IDS, "genres": genres, "price": prices})


CELLS = some_cells()
GENRE_CELLS, PRICE_CELLS = CELLS["genres"].to_pylist(), CELLS["price"].to_pylist()


def random_condition(draws: random.Random) -> tuple[str, Cell]:
    """Return a condition as text, and what it says of the item of a row."""
    kind = draws.randrange(4)
    if kind == 0:
        ids = draws.sample(ITEM_IDS, draws.randint(1, 8))
        return f"Items.ITEM_ID IN ({_listed(ids)})", lambda row: ITEM_IDS[row] in ids
    if kind == 1:
        operator, border = draws.choice(["<", "<=", ">", ">=", "=", "!="]), draws.randint(0, 50)
        return f"Items.PRICE {operator} {border}", lambda row: _compares(row, operator, border)
    chosen = draws.sample(GENRES, draws.randint(1, 3))
    if kind == 2:
        return f"Items.GENRES IN ({_listed(chosen)})", lambda row: _has(row, chosen)
    return f"Items.GENRES NOT IN ({_listed(chosen)})", lambda row: not _has(row, chosen)


def _listed(texts: list[str]) -> str:
    return ", ".join(f'"{each}"' for each in texts)


def _has(row: int, chosen: list[str]) -> bool:
    return any(each in chosen for each in (GENRE_CELLS[row] or "").split("|"))


def _compares(row: int, operator: str, border: int) -> bool:
    price = PRICE_CELLS[row]
    if price is None:
        return operator == "!="
    return {
        "<": price < border,
        "<=": price <= border,
        ">": price > border,
        ">=": price >= border,
        "=": price == border,
        "!=": price != border,
    }[operator]


def random_clause(draws: random.Random) -> tuple[str, Cell]:
    """Return conditions with AND and OR between them; AND binds tighter."""
    text, first = random_condition(draws)
    groups = [[first]]
    for _ in range(draws.choice([0, 0, 1, 2])):
        word, (more, meets) = draws.choice(["AND", "OR"]), random_condition(draws)
        text += f" {word} {more}"
        if word == "AND":
            groups[-1].append(meets)
        else:
            groups.append([meets])
    return text, lambda row: any(all(meets(row) for meets in group) for group in groups)


@cache
def random_filter(seed: int) -> tuple[Rule, list[int]]:
    """Return a rule as serving makes it, and the item numbers that may be shown."""
    draws = random.Random(seed)
    texts, included, excluded = [], [], []
    for _ in range(draws.choice([1, 1, 2])):
        text, meets = random_clause(draws)
        word, named = draws.choice([("INCLUDE", included), ("EXCLUDE", excluded)])
        texts.append(f"{word} ItemID WHERE {text}")
        named.append(meets)
    bound = bind(parse_expression(" | ".join(texts)), {}, lambda _: False, lambda _: ())
    shown = [
        row + 1
        for row in range(NUM_ITEMS)
        if (not included or any(meets(row) for meets in included))
        and not any(meets(row) for meets in excluded)
    ]
    return bound.rule, shown


def vectors(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


@pytest.fixture(scope="module", params=KINDS)
def shard(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Shard:
    directory: Path = tmp_path_factory.mktemp("index")
    config = IndexConfig(factory=request.param, num_partitions=2, min_recall=MIN_RECALL)
    with kinds.one_thread():
        note = build_partitions(
            directory, vectors(NUM_ITEMS), ITEM_IDS, config, "hash", queries=vectors(20, seed=9)
        )
    return open_partitions(directory, range(2), note)


def brute_force(queries: NDArray[np.float32], shown: list[int], k: int, banned: Exclusions) -> TopK:
    rows = np.array(shown, dtype=np.int64) - 1
    return exact_top_k(queries, vectors(NUM_ITEMS)[rows], NUMS[rows], k, banned)


def filters_of(nums: NDArray[np.int32]) -> RowFilters:
    return ShardFilters(CELLS, nums).at(Delta.empty(DIM)).released


def searched(
    shard: Shard, queries: NDArray[np.float32], k: int, banned: Exclusions, rule: Rule
) -> TopK:
    """Search under a rule as if there were too many rows to score them all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partition, "_ALWAYS_EXACT_ROWS", 0)
        return shard.search(queries, k, banned, filters_of(shard.nums).rows(rule))


@given(st.integers(0, 2**32))
def test_no_list_holds_what_its_filter_hides_and_none_is_shorter_than_it_must_be(
    shard: Shard, seed: int
) -> None:
    rule, shown = random_filter(seed)
    draws = random.Random(seed)
    queries, k = vectors(4, seed=2), draws.choice([1, 10, 25])
    seen = [draws.sample(range(1, NUM_ITEMS + 1), number) for number in (0, 30, 5, 60)]
    banned = Exclusions.from_lists(seen)
    top = searched(shard, queries, k, banned, rule)
    best = brute_force(queries, shown, k, banned)
    for nums, hidden in zip(top.item_nums, seen, strict=True):
        found, left = nums[nums > 0].tolist(), set(shown) - set(hidden)
        assert set(found) <= left
        assert len(set(found)) == len(found) == min(k, len(left))
    if shard.note.is_exact or len(shown) <= 15:
        assert top.item_nums.tolist() == best.item_nums.tolist()
        assert top.scores.tolist() == best.scores.tolist()


def test_under_filters_as_much_is_found_as_an_index_has_to_find(shard: Shard) -> None:
    queries, none = vectors(4, seed=2), Exclusions.from_lists([[]] * 4)
    filters = [random_filter(seed) for seed in range(40)]
    found, possible = 0, 0
    for rule, shown in filters:
        top = searched(shard, queries, 25, none, rule)
        best = brute_force(queries, shown, 25, none)
        for nums, best_nums in zip(top.item_nums, best.item_nums, strict=True):
            found += len(set(nums[nums > 0].tolist()) & set(best_nums.tolist()))
            possible += np.count_nonzero(best_nums)
    assert found / possible >= MIN_RECALL
    # Filters that keep little, and filters that keep nearly all.
    assert {min(len(shown), 299) // 75 for _, shown in filters} == {0, 1, 2, 3}


def test_similar_items_are_exact_under_a_filter_whatever_the_kind(shard: Shard) -> None:
    filters = filters_of(shard.nums)
    queries, none = vectors(2, seed=3), Exclusions.from_lists([[], []])
    for rule, shown in map(random_filter, range(20)):
        top = shard.search(queries, 10, none, filters.rows(rule), by_cosine=True)
        rows = np.array(shown, dtype=np.int64) - 1
        best = exact_top_k(
            of_length_one(queries), of_length_one(vectors(NUM_ITEMS))[rows], NUMS[rows], 10, none
        )
        assert top.item_nums.tolist() == best.item_nums.tolist()


def test_named_items_are_ranked_as_a_search_ranks_them(shard: Shard) -> None:
    queries = vectors(3, seed=4)
    named = Exclusions.from_lists([[5, 200, 17, 300], [], [9]])
    for by_cosine in (False, True):
        top = shard.rank(queries, 3, named, by_cosine=by_cosine)
        everything = vectors(NUM_ITEMS)
        if by_cosine:
            queries, everything = of_length_one(queries), of_length_one(everything)
        scores = queries.astype(np.float64) @ everything.astype(np.float64).T
        order = sorted([5, 200, 17, 300], key=lambda num: -scores[0, num - 1])
        assert top.item_nums.tolist() == [order[:3], [0, 0, 0], [9, 0, 0]]
        assert top.scores[2, 0] == pytest.approx(scores[2, 8])


def test_lets_tells_of_items_of_other_shards_that_they_are_not_here() -> None:
    filters = filters_of(np.array([9, 3, 4], np.int32))
    assert filters.lets(Rule(), np.array([3, 5, 9, 1000], np.int32)).tolist() == [
        True,
        False,
        True,
        False,
    ]
    empty = filters_of(np.array([], np.int32))
    assert empty.lets(Rule(), np.array([3], np.int32)).tolist() == [False]
