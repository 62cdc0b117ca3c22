from collections import Counter
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from raysys.training.pair_batches import PairBatches
from tests.unit.histories import LENGTHS, histories_of, numbered, with_weights


def test_pairs_have_their_weights_and_those_of_none_are_left_out():
    batches = PairBatches(with_weights(1, 0, 0.25), np.array([7]), batch_size=5, seed=(0,))
    (batch,) = batches.epoch(0)
    assert sorted(zip(batch.item_nums, batch.weights, strict=True)) == [(1, 1), (3, 0.25)]
    assert batches.num_examples == 2


@settings(max_examples=30, deadline=None)
@given(LENGTHS, st.integers(1, 50))
def test_every_interaction_is_one_pair_per_epoch(lengths, batch_size):
    histories = numbered(lengths)
    user_nums = np.arange(len(lengths)) + 10
    batches = list(PairBatches(histories, user_nums, batch_size=batch_size, seed=(0,)).epoch(0))
    found = Counter(
        (int(user), int(item))
        for batch in batches
        for user, item in zip(batch.user_nums, batch.item_nums, strict=True)
    )
    expected = Counter(
        (row + 10, int(item)) for row in range(len(lengths)) for item in histories.of(row)[0]
    )
    assert found == expected
    assert all(len(batch.item_nums) == batch_size for batch in batches[:-1])


def test_pairs_are_drawn_anew_for_every_epoch_and_alike_on_every_run():
    def order(epoch: int) -> list[int]:
        batches = PairBatches(numbered([20]), np.array([1]), batch_size=7, seed=(0,))
        return [int(item) for batch in batches.epoch(epoch) for item in batch.item_nums]

    assert order(0) == order(0)
    assert order(0) != order(1)


def test_pairs_of_unknown_items_are_left_out():
    batches = PairBatches(histories_of([[0, 3, 0]]), np.array([1]), batch_size=5, seed=(0,))
    (batch,) = batches.epoch(0)
    assert batch.item_nums.tolist() == [3]
    assert batches.num_examples == 1


def test_a_pair_has_the_context_of_its_interaction():
    histories = replace(numbered([3, 4]), contexts=np.arange(1, 8) * 100)
    for batch in PairBatches(histories, np.array([1, 2]), batch_size=3, seed=(0,)).epoch(0):
        assert batch.contexts.tolist() == (batch.item_nums * 100).tolist()
