"""Small histories, whose interactions happened at 0, 1, 2, ... microseconds."""

from collections import Counter
from collections.abc import Iterable

import numpy as np
import torch
from hypothesis import strategies as st

from raysys.config import SequenceConfig
from raysys.dataset.histories import Histories
from raysys.models.base import EmbeddingModel
from raysys.models.build import build_model
from raysys.training.history_targets import HistoryBatch

NUM_ITEMS = 90
"""Numbers that random histories are drawn from."""
NUM_EVENT_TYPES = 3
LENGTHS = st.lists(st.integers(0, 40), max_size=30)
"""Of users' histories."""


def histories_of(lists: list[list[int]]) -> Histories:
    """Return one user per list of items."""
    names = [f"user-{row}" for row in range(len(lists))]
    return Histories.from_lists(names, lists, [range(len(items)) for items in lists])


def random_histories(seed: int, count: int, longest: int) -> Histories:
    """Items of `NUM_ITEMS`, events of `NUM_EVENT_TYPES` and of none, gaps of all sizes."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, longest + 1, count).tolist()
    gaps_us = [2 ** random.integers(0, 50, n) for n in lengths]
    return Histories.from_lists(
        [f"user-{row}" for row in range(count)],
        [random.integers(1, NUM_ITEMS + 1, n) for n in lengths],
        [np.cumsum(gaps) for gaps in gaps_us],
        event_types=[random.integers(0, NUM_EVENT_TYPES + 1, n) for n in lengths],
    )


def model_of_histories(config: SequenceConfig) -> EmbeddingModel:
    """An untrained model of such histories, in which types and gaps matter already."""
    torch.manual_seed(2)
    model = build_model(
        config, num_items=NUM_ITEMS, num_users=5, num_event_types=NUM_EVENT_TYPES
    ).eval()
    for table in (model.event_types, model.gaps):
        if table is not None:
            torch.nn.init.normal_(table.weight.detach()[1:])
    return model


def numbered(lengths: list[int]) -> Histories:
    """Histories in which no two interactions share an item, so that an item names its place."""
    begins = np.cumsum([1, *lengths])
    return histories_of([list(range(b, b + n)) for b, n in zip(begins, lengths, strict=False)])


def with_weights(*weights: float) -> Histories:
    """One history of the items 1, 2, … with these weights."""
    items = range(1, len(weights) + 1)
    given = [np.array(weights, np.float32)]
    return Histories.from_lists(["ann"], [items], [range(len(weights))], weights=given)


def check_that_each_interaction_but_the_first_is_learnt_once(
    histories: Histories, batches: Iterable[HistoryBatch], num_examples: int
) -> None:
    learnt = Counter(
        (int(before), int(after))
        for batch in batches
        for before, after in zip(batch.inputs.item_nums.flat, batch.targets.flat, strict=True)
        if after
    )
    expected = Counter(
        (int(before), int(after))
        for row in range(len(histories))
        for before, after in zip(histories.of(row)[0][:-1], histories.of(row)[0][1:], strict=True)
    )
    assert learnt == expected
    assert num_examples == sum(expected.values())


def check_that_batches_say_what_each_target_came_after(
    histories: Histories, batches: Iterable[HistoryBatch]
) -> None:
    """`histories` are `numbered`."""
    before = {
        int(item): histories.of(row)[0][:place].tolist()
        for row in range(len(histories))
        for place, item in enumerate(histories.of(row)[0])
    }
    for batch in batches:
        targets = batch.targets[batch.targets != 0]
        assert (np.diff(batch.seen.queries) >= 0).all()
        for query, target in enumerate(targets.tolist()):
            seen = batch.seen.item_nums[batch.seen.queries == query]
            assert seen.tolist() == before[target]
