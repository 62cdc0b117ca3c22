"""One suite that every retriever inherits, and what each must know beyond it."""

from collections.abc import Callable

import numpy as np
import pytest

from raysys.dataset.histories import Histories
from raysys.errors import ConfigError
from raysys.evaluation import baselines
from raysys.evaluation.baselines import Ease, Popularity, popularity_counts
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.retriever import EmbeddingRetriever
from raysys.evaluation.topk import Retriever

NUM_ITEMS = 8


def histories_of(*items: list[int]) -> Histories:
    users = [f"user {row}" for row in range(len(items))]
    return Histories.from_lists(users, items, [range(len(nums)) for nums in items])


def two_tastes() -> Histories:
    """Return users of whom each likes either the odd items 1, 3, 5, 7 or the even ones."""
    odd, even = [1, 3, 5, 7], [2, 4, 6, 8]
    return histories_of(
        *([item for item in taste if item != out] for taste in (odd, even) for out in taste)
    )


def popularity(train: Histories) -> Retriever:
    return Popularity(popularity_counts([train], NUM_ITEMS))


def ease(train: Histories) -> Retriever:
    return Ease([train], NUM_ITEMS, l2=1.0)


def embedding(train: Histories) -> Retriever:
    """Return a model whose query is the mean of two-dimensional item embeddings, one per taste."""
    table = np.zeros((NUM_ITEMS + 1, 2), np.float32)
    table[1::2, 0] = table[2::2, 1] = 1.0

    def encode(histories: Histories) -> np.ndarray:
        vectors = [table[histories.of(row)[0]].sum(axis=0) for row in range(len(histories))]
        return np.array(vectors, np.float32).reshape(len(histories), 2)

    return EmbeddingRetriever(encode, table[1:], np.arange(1, NUM_ITEMS + 1, dtype=np.int32))


every_retriever = pytest.mark.parametrize("make", [popularity, ease, embedding])
every_model = pytest.mark.parametrize("make", [ease, embedding])
Make = Callable[[Histories], Retriever]


@every_retriever
def test_lists_are_as_long_as_asked_and_hold_each_item_once(make: Make):
    top = make(two_tastes()).top_k(histories_of([1, 3], [2]), 5, excluded=None)
    assert top.item_nums.shape == top.scores.shape == (2, 5)
    assert (top.item_nums.dtype, top.scores.dtype) == (np.int32, np.float64)
    for row in top.item_nums.tolist():
        assert len(set(row)) == 5
        assert set(row) <= set(range(1, NUM_ITEMS + 1))
    assert (np.diff(top.scores, axis=1) <= 0).all()


@every_retriever
def test_equal_scores_stand_in_the_order_of_item_numbers(make: Make):
    top = make(two_tastes()).top_k(histories_of([1, 3], [2], []), NUM_ITEMS, excluded=None)
    ties = np.diff(top.scores, axis=1) == 0
    assert ties.any()
    assert (np.diff(top.item_nums, axis=1)[ties] > 0).all()


@every_retriever
def test_what_is_excluded_is_left_out_for_its_own_query_only(make: Make):
    histories = histories_of([1, 3], [1, 3])
    retriever = make(two_tastes())
    excluded = Exclusions.from_lists([[1, 2, 3, 99, 0], []])
    top = retriever.top_k(histories, 3, excluded=excluded)
    free = retriever.top_k(histories, NUM_ITEMS, excluded=None)
    expected = [num for num in free.item_nums[0].tolist() if num not in (1, 2, 3)][:3]
    assert top.item_nums[0].tolist() == expected
    assert top.item_nums[1].tolist() == free.item_nums[1, :3].tolist()


@every_retriever
def test_a_list_that_runs_out_is_padded(make: Make):
    everything = list(range(1, NUM_ITEMS + 1))
    excluded = Exclusions.from_lists([everything, everything[1:]])
    top = make(two_tastes()).top_k(histories_of([1], [2]), NUM_ITEMS + 2, excluded=excluded)
    assert top.item_nums.tolist() == [[0] * 10, [1] + [0] * 9]
    assert np.isneginf(top.scores).tolist() == [[True] * 10, [False] + [True] * 9]


@every_retriever
def test_a_list_does_not_depend_on_who_else_asks(make: Make):
    retriever = make(two_tastes())
    histories = histories_of([1, 3], [2], [], [5, 6, 7])
    together = retriever.top_k(histories, 6, excluded=histories)
    for row in range(len(histories)):
        mine = histories.take([row])
        alone = retriever.top_k(mine, 6, excluded=mine)
        assert alone.item_nums[0].tolist() == together.item_nums[row].tolist()
        assert alone.scores[0].tolist() == together.scores[row].tolist()


@every_retriever
def test_nobody_asking_is_answered_with_nothing(make: Make):
    nobody = histories_of()
    top = make(two_tastes()).top_k(nobody, 4, excluded=nobody)
    assert top.item_nums.shape == top.scores.shape == (0, 4)


@every_model
def test_the_withheld_item_of_a_taste_is_found(make: Make):
    users = two_tastes()
    top = make(users).top_k(users, 1, excluded=users)
    assert top.item_nums[:, 0].tolist() == [1, 3, 5, 7, 2, 4, 6, 8]


@every_model
def test_items_that_a_model_never_knew_do_not_matter(make: Make):
    retriever = make(two_tastes())
    known = retriever.top_k(histories_of([1, 3]), 4, excluded=None)
    with_unknown = retriever.top_k(histories_of([0, 1, 0, 3]), 4, excluded=None)
    assert with_unknown.item_nums.tolist() == known.item_nums.tolist()


def test_popularity_counts_interactions_and_not_the_unknown_row():
    counts = popularity_counts([histories_of([1, 1, 0], [3, 1])], 4)
    assert counts.tolist() == [0, 3, 0, 1, 0]
    assert counts.dtype == np.int64


def test_popularity_ranks_by_count_and_then_by_number():
    counts = np.array([99, 2, 5, 2, 7, 5])
    top = Popularity(counts).top_k(
        histories_of([], []), 4, excluded=Exclusions.from_lists([[], [2]])
    )
    assert top.item_nums.tolist() == [[4, 2, 5, 1], [4, 5, 1, 3]]
    assert top.scores.tolist() == [[7, 5, 5, 2], [7, 5, 2, 2]]


def test_many_equally_popular_items_stand_in_the_order_of_their_numbers():
    counts = np.array([0, *([3, 1, 2] * 100)])
    top = Popularity(counts).top_k(histories_of([]), 300, excluded=None)
    expected = [*range(1, 301, 3), *range(3, 301, 3), *range(2, 301, 3)]
    assert top.item_nums[0].tolist() == expected


def test_ease_has_the_weights_worked_out_by_hand():
    # Two items, two users: both items, the first. X'X = [[2, 1], [1, 1]]; with l2 = 1 it is
    # [[3, 1], [1, 2]], its inverse P = [[2, -1], [-1, 3]] / 5. So item 1 speaks for item 2 with
    # -P[0, 1] / P[1, 1] = 1/3, and item 2 for item 1 with -P[1, 0] / P[0, 0] = 1/2.
    model = Ease([histories_of([1, 2], [1])], 2, l2=1.0)
    top = model.top_k(histories_of([1], [2], [1, 2]), 2, excluded=None)
    assert top.item_nums.tolist() == [[2, 1], [1, 2], [1, 2]]
    np.testing.assert_allclose(top.scores, [[1 / 3, 0], [1 / 2, 0], [1 / 2, 1 / 3]])


def test_ease_learns_that_something_happened_not_how_often():
    once, often = histories_of([1, 2], [1], [3, 2]), histories_of([1, 2, 2, 1], [1, 1], [3, 2, 3])
    asked = histories_of([1, 1, 3])
    expected = Ease([once], 3).top_k(histories_of([1, 3]), 3, excluded=None)
    found = Ease([often], 3).top_k(asked, 3, excluded=None)
    assert found.scores.tolist() == expected.scores.tolist()


def test_ease_learns_from_users_in_blocks(monkeypatch: pytest.MonkeyPatch):
    whole = Ease([two_tastes()], NUM_ITEMS).top_k(two_tastes(), 8, excluded=None)
    monkeypatch.setattr(baselines, "_USER_BLOCK", 3)
    blocked = Ease([two_tastes()], NUM_ITEMS).top_k(two_tastes(), 8, excluded=None)
    assert blocked.scores.tolist() == whole.scores.tolist()


def test_ease_refuses_what_would_not_fit_in_memory():
    with pytest.raises(ConfigError, match="20,001 items, but stops at 20,000"):
        Ease([histories_of([1])], 20_001)
    with pytest.raises(ConfigError, match="above 0"):
        Ease([histories_of([1])], 1, l2=0.0)
