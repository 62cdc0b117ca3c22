import itertools

import numpy as np
import pytest

from raysys.dataset.histories import Histories
from raysys.errors import ConfigError
from raysys.evaluation.baselines import item_neighbors
from raysys.evaluation.baselines.item_neighbors import ItemKnn, ItemNeighbors, SimilarItems
from tests.unit.evaluation.baselines.histories import histories_of

TRAIN = histories_of([1, 2, 1], [2, 1], [2, 3], [2])


def listed(neighbors: ItemNeighbors, item: int) -> list[tuple[int, float]]:
    span = slice(neighbors.offsets[item], neighbors.offsets[item + 1])
    return list(zip(neighbors.nums[span].tolist(), neighbors.similarities[span], strict=True))


def test_similarities_are_those_worked_out_by_hand():
    # c(1) = 2, c(2) = 4, c(3) = 1; c(1, 2) = 2, c(2, 3) = 1. With shrinkage 1 and the cosine:
    neighbors = ItemNeighbors.fit([TRAIN], 3, shrinkage=1)
    one_two, two_three = 2 / (np.sqrt(8) + 1), 1 / (np.sqrt(4) + 1)
    assert listed(neighbors, 1) == [(2, pytest.approx(one_two))]
    assert listed(neighbors, 2) == [(1, pytest.approx(one_two)), (3, pytest.approx(two_three))]
    assert listed(neighbors, 3) == [(2, pytest.approx(two_three))]
    assert neighbors.popularity.tolist() == [0, 2, 4, 1]


def test_a_discount_of_one_divides_by_the_neighbors_popularity_alone():
    neighbors = ItemNeighbors.fit([TRAIN], 3, shrinkage=0, popularity_discount=1.0)
    assert listed(neighbors, 2) == [(1, pytest.approx(2 / 2)), (3, pytest.approx(1 / 1))]
    assert listed(neighbors, 3) == [(2, pytest.approx(1 / 4))]


def test_few_common_users_make_no_neighbors_and_only_so_many_are_kept():
    assert listed(ItemNeighbors.fit([TRAIN], 3, min_users=2), 3) == []
    assert len(listed(ItemNeighbors.fit([TRAIN], 3, num_neighbors=1), 2)) == 1


def random_log() -> Histories:
    random = np.random.default_rng(5)
    return histories_of(
        *(random.integers(0, 31, random.integers(0, 12)).tolist() for _ in range(40))
    )


@pytest.mark.parametrize("num_items", [30, 3000])  # counted in a table, and by sorting
def test_knn_has_the_scores_of_a_plain_implementation(num_items: int):
    log, decay = random_log(), 0.8
    users = [set(log.of(row)[0].tolist()) - {0} for row in range(len(log))]
    neighbors = ItemNeighbors.fit([log], num_items, num_neighbors=6, popularity_discount=0.7)

    def similarity(item: int, other: int) -> float:
        count = [sum(each in user for user in users) for each in (item, other)]
        common = sum(item in user and other in user for user in users)
        return common / (count[0] ** 0.3 * count[1] ** 0.7 + 10)

    kept = {}
    for item in range(1, 31):
        others = [n for n in range(1, 31) if n != item and similarity(item, n) > 0]
        kept[item] = sorted(others, key=lambda n: (-similarity(item, n), n))[:6]
        assert [num for num, _ in listed(neighbors, item)] == kept[item]
    found = ItemKnn(neighbors, decay=decay).top_k(log, 30, excluded=None)
    for row in range(len(log)):
        newest_first = list(dict.fromkeys(n for n in log.of(row)[0][::-1].tolist() if n))
        for item, score in zip(found.item_nums[row].tolist(), found.scores[row], strict=True):
            terms = [
                decay**age * similarity(item, other)
                for age, other in enumerate(newest_first)
                if other in kept.get(item, ())
            ]
            assert score == pytest.approx(sum(terms), abs=2e-6)


def test_similar_items_are_those_of_the_newest_known_item_then_the_popular_ones():
    retriever = SimilarItems(ItemNeighbors.fit([TRAIN], 4))
    top = retriever.top_k(histories_of([1, 3], [3, 1, 0], []), 4, excluded=None)
    assert top.item_nums.tolist() == [[2, 1, 3, 4], [2, 1, 3, 4], [2, 1, 3, 4]]
    top = retriever.top_k(histories_of([1, 2]), 4, excluded=None)
    assert top.item_nums.tolist() == [[1, 3, 2, 4]]


def test_neighbors_do_not_depend_on_blocks():
    log = random_log()
    whole = ItemNeighbors.fit([log], 30)
    blocked = ItemNeighbors.fit((log.slice(*pair) for pair in itertools.pairwise([0, 7, 40])), 30)
    assert blocked.nums.tolist() == whole.nums.tolist()
    assert blocked.similarities.tolist() == whole.similarities.tolist()


def test_a_user_counts_with_the_newest_items_only(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(item_neighbors, "MAX_USER_ITEMS", 2)
    neighbors = ItemNeighbors.fit([histories_of([1, 2, 3])], 3)
    assert neighbors.popularity.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_neighbors": 0}, "at least 1"),
        ({"shrinkage": -1.0}, "shrinkage of at least 0"),
        ({"popularity_discount": 1.5}, "in .0, 1.*1.5"),
        ({"num_neighbors": 10**9}, "Ask for fewer"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        ItemNeighbors.fit([TRAIN], 3, **settings)


def test_too_large_a_log_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(item_neighbors, "NEIGHBORS_MAX_PAIRS", 12)
    with pytest.raises(ConfigError, match="from 13 pairs"):
        ItemNeighbors.fit([TRAIN], 3)
