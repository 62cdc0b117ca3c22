"""One suite that every retriever inherits; what each must know beyond it has files of its own."""

from collections.abc import Callable

import numpy as np
import pytest

from raysys.dataset.histories import Histories
from raysys.dataset.popularity import popularity_counts, trend_scores, window_counts
from raysys.evaluation.baselines.ease import Ease
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.baselines.item_neighbors import ItemKnn, ItemNeighbors, SimilarItems
from raysys.evaluation.baselines.transitions import Transitions
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.retriever import EmbeddingRetriever
from raysys.evaluation.topk import Retriever
from tests.unit.evaluation.baselines.histories import histories_of

NUM_ITEMS = 8


def two_tastes() -> Histories:
    """Return users of whom each likes either the odd items 1, 3, 5, 7 or the even ones."""
    odd, even = [1, 3, 5, 7], [2, 4, 6, 8]
    return histories_of(
        *([item for item in taste if item != out] for taste in (odd, even) for out in taste)
    )


def popularity(train: Histories) -> Retriever:
    return FixedRanking(popularity_counts([train], NUM_ITEMS))


def trending(train: Histories) -> Retriever:
    return FixedRanking(trend_scores(window_counts([train], NUM_ITEMS, now_us=2, window_s=1e-6)))


def transitions(train: Histories) -> Retriever:
    return Transitions([train], NUM_ITEMS)


def recency_transitions(train: Histories) -> Retriever:
    return Transitions([train], NUM_ITEMS, decay=0.7)


def item_knn(train: Histories) -> Retriever:
    return ItemKnn(ItemNeighbors.fit([train], NUM_ITEMS))


def recency_item_knn(train: Histories) -> Retriever:
    return ItemKnn(ItemNeighbors.fit([train], NUM_ITEMS), decay=0.7)


def similar_items(train: Histories) -> Retriever:
    return SimilarItems(ItemNeighbors.fit([train], NUM_ITEMS))


def ease(train: Histories) -> Retriever:
    return Ease([train], NUM_ITEMS, l2=1.0)


def recency_ease(train: Histories) -> Retriever:
    return Ease([train], NUM_ITEMS, l2=1.0, decay=0.7)


def embedding(train: Histories) -> Retriever:
    """Return a model whose query is the mean of two-dimensional item embeddings, one per taste."""
    table = np.zeros((NUM_ITEMS + 1, 2), np.float32)
    table[1::2, 0] = table[2::2, 1] = 1.0

    def encode(histories: Histories) -> np.ndarray:
        vectors = [table[histories.of(row)[0]].sum(axis=0) for row in range(len(histories))]
        return np.array(vectors, np.float32).reshape(len(histories), 2)

    return EmbeddingRetriever(encode, table[1:], np.arange(1, NUM_ITEMS + 1, dtype=np.int32))


MODELS = [
    item_knn,
    recency_item_knn,
    similar_items,
    ease,
    recency_ease,
    embedding,
]
every_retriever = pytest.mark.parametrize(
    "make", [popularity, trending, transitions, recency_transitions, *MODELS]
)
every_model = pytest.mark.parametrize("make", MODELS)
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


def test_strangers_get_the_ranking_for_them_without_what_they_have_seen():
    table = np.eye(NUM_ITEMS, dtype=np.float32)
    nums = np.arange(1, NUM_ITEMS + 1, dtype=np.int32)

    def encode(histories: Histories) -> np.ndarray:
        return np.stack([table[3] * (histories.lengths[row] > 1) for row in range(len(histories))])

    popular = FixedRanking(np.array([0, 1, 9, 2, 3, 8, 0, 0, 0]))
    asked = histories_of([1, 2], [5], [])
    alone = EmbeddingRetriever(encode, table, nums).top_k(asked, 3, excluded=asked)
    top = EmbeddingRetriever(encode, table, nums, popular).top_k(asked, 3, excluded=asked)
    assert top.item_nums.tolist() == [[4, 3, 5], [2, 4, 3], [2, 5, 4]]
    assert top.scores.tolist() == [[1, 0, 0], [9, 3, 2], [9, 8, 3]]
    assert top.item_nums[0].tolist() == alone.item_nums[0].tolist()
    assert alone.item_nums[1:].tolist() == [[1, 2, 3], [1, 2, 3]]
    free = EmbeddingRetriever(encode, table, nums, popular).top_k(asked, 2, excluded=None)
    assert free.item_nums[1:].tolist() == [[2, 5], [2, 5]]
