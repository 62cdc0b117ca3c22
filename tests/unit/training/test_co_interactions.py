"""Pairs of items: each interaction is the context of one that its user had near it."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raysys.training.co_interactions import CoInteractions, ItemPairs
from tests.unit.histories import LENGTHS, histories_of, numbered, with_weights


def pairs_of(batches: list[ItemPairs]) -> list[tuple[int, int]]:
    return [
        (int(anchor), int(context))
        for batch in batches
        for anchor, context in zip(batch.anchors, batch.contexts, strict=True)
    ]


@given(LENGTHS, st.integers(1, 12), st.integers(1, 50), st.integers(0, 3))
def test_every_interaction_is_the_context_of_one_near_it(lengths, window, batch_size, epoch):
    histories = numbered(lengths)  # no two interactions share an item
    pairs = CoInteractions(histories, window=window, batch_size=batch_size, seed=(7,))
    batches = list(pairs.epoch(epoch))
    found = pairs_of(batches)
    user_of = np.repeat(np.arange(len(histories)), histories.lengths)
    expected = [n for n in histories.item_nums.tolist() if lengths[user_of[n - 1]] > 1]
    assert sorted(context for _, context in found) == expected
    assert pairs.num_examples == len(expected)
    for anchor, context in found:
        assert user_of[anchor - 1] == user_of[context - 1]
        assert 1 <= abs(anchor - context) <= window
    assert all(len(batch.contexts) <= batch_size for batch in batches)
    users = [user for batch in batches for user in batch.users.tolist()]
    assert users == [user_of[context - 1] for _, context in found]


def test_over_the_epochs_all_within_the_window_come_up_alike():
    pairs = CoInteractions(histories_of([[1, 2, 3, 4, 5]]), window=2, batch_size=3, seed=(1, 2))
    found = Counter(pair for epoch in range(3000) for pair in pairs_of(list(pairs.epoch(epoch))))
    for context, anchors in {1: [2, 3], 2: [1, 3, 4], 3: [1, 2, 4, 5], 5: [3, 4]}.items():
        counts = [found[anchor, context] for anchor in anchors]
        assert sum(counts) == 3000
        # Four standard deviations of a binomial count.
        assert np.ptp(counts) < 2 * 4 * (3000 / len(anchors)) ** 0.5
        assert min(counts) > 0


def test_pairs_are_drawn_anew_for_every_epoch_and_alike_on_every_run():
    histories = numbered([9, 8, 7])

    def drawn(epoch: int, seed: int) -> list[tuple[int, int]]:
        pairs = CoInteractions(histories, window=3, batch_size=4, seed=(seed, 0))
        return pairs_of(list(pairs.epoch(epoch)))

    assert drawn(2, 1) == drawn(2, 1)
    assert drawn(2, 1) != drawn(3, 1)
    assert drawn(2, 1) != drawn(2, 5)


def test_unknown_items_are_passed_over_and_an_item_is_no_pair_with_itself():
    histories = histories_of([[1, 0, 0, 2], [3, 0], [4, 4, 4], []])
    pairs = CoInteractions(histories, window=1, batch_size=10, seed=(1,))
    [batch] = list(pairs.epoch(0))
    assert sorted(pairs_of([batch])) == [(1, 2), (2, 1)]
    assert batch.users.tolist() == [0, 0]


def test_what_is_read_alone_is_an_anchor_and_weights_are_those_of_the_context():
    pairs = CoInteractions(with_weights(0.0, 0.5, 2.0), window=9, batch_size=9, seed=(1,))
    assert pairs.num_examples == 2
    anchors = set()
    for epoch in range(20):
        [batch] = list(pairs.epoch(epoch))
        weights = dict(zip(batch.contexts.tolist(), batch.weights.tolist(), strict=True))
        assert weights == {2: 0.5, 3: 2.0}
        anchors |= set(batch.anchors.tolist())
    assert anchors == {1, 2, 3}
