"""What FAISS finds of a partition, less what queries must not get. Run: pytest tests/unit/index"""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from raysys.evaluation.exclusion import Exclusions
from raysys.index import kinds
from raysys.index.approximate import Banned, Finder
from raysys.index.effort import Effort

NUM_ROWS, DIM, SIZE = 1_000, 16, 20
NUMS = 2 * np.arange(NUM_ROWS, dtype=np.int32) + 1  # item numbers are not rows
KINDS = ["IVF16,Flat", "HNSW16"]


def vectors(count: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)


ROWS, QUERIES = vectors(NUM_ROWS, 0), vectors(8, 1)
BEST = np.argsort(-(QUERIES @ ROWS.T), axis=1)
NONE: list[int] = []


@pytest.fixture(scope="module", params=KINDS)
def index(request: pytest.FixtureRequest) -> Any:
    with kinds.one_thread():
        return kinds.make_index(request.param, ROWS)


def found_rows(
    index: Any,
    banned: list[list[int]],
    allowed: NDArray[np.bool_] | None = None,
    *,
    obeys_selectors: bool = True,
) -> NDArray[np.int64]:
    lists = Exclusions.from_lists([NUMS[rows] for rows in banned])
    left_out = Banned(NUMS, lists, len(QUERIES), allowed)
    finder = Finder(index, left_out, allowed, obeys_selectors=obeys_selectors)
    return finder.rows(QUERIES, SIZE, np.ones(len(QUERIES), np.bool_))


def recall(found: NDArray[np.int64], wanted: list[NDArray[np.int64]]) -> float:
    pairs = zip(found, wanted, strict=True)
    return float(np.mean([len(np.intersect1d(have, want[:SIZE])) / SIZE for have, want in pairs]))


def test_whoever_may_not_have_the_best_gets_as_many_others_without_exact_search(
    index: Any,
) -> None:
    kinds.set_effort(index, Effort(nprobe=16, ef_search=200))
    # The first may have all; the others not the best 5, 10, 15, 60, 120, 180 and 240.
    counts = [0, 5, 10, 15, 60, 120, 180, 240]
    banned = [best[:count].tolist() for best, count in zip(BEST, counts, strict=True)]
    found = found_rows(index, banned)
    assert (found >= 0).all()
    for rows, out in zip(found.tolist(), banned, strict=True):
        assert not set(rows) & set(out)
        assert len(set(rows)) == SIZE
    wanted = [best[count:] for best, count in zip(BEST, counts, strict=True)]
    assert recall(found, wanted) >= 0.99


@pytest.mark.parametrize("obeys_selectors", [True, False])
def test_a_search_that_passes_over_many_rows_is_as_thorough_as_one_for_them_all(
    index: Any, obeys_selectors: bool
) -> None:
    kinds.set_effort(index, Effort(nprobe=5, ef_search=24))
    allowed = np.random.default_rng(2).random(NUM_ROWS) < 0.25
    free = recall(found_rows(index, [NONE] * 8), [*BEST])
    found = found_rows(index, [NONE] * 8, allowed, obeys_selectors=obeys_selectors)
    assert allowed[found[found >= 0]].all()
    assert recall(found, [best[allowed[best]] for best in BEST]) >= free


def test_what_is_hidden_anyway_is_not_counted_as_banned() -> None:
    allowed = np.zeros(NUM_ROWS, np.bool_)
    allowed[[3, 5]] = True
    lists = Exclusions.from_lists([NUMS[[3, 4, 3]], [2, 4], NUMS[[5, 3]]])  # 2 and 4: elsewhere
    assert Banned(NUMS, lists, 3, allowed).counts.tolist() == [1, 0, 2]
    assert Banned(NUMS, lists, 3, None).counts.tolist() == [2, 0, 2]
