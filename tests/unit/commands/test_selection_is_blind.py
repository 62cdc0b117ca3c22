"""What chooses a model cannot see the test part: other items there change no bit of the training.

Early stopping, the best epoch and every trial of a search go through the same call: `fit` with the
pieces of a worker and what `MakeValidate` makes.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from raysys.commands.measuring import MakeValidate
from raysys.config import (
    EvaluationConfig,
    GruConfig,
    LeaveLastOut,
    PipelineConfig,
    RandomSplit,
    SplitConfig,
    TimeSplit,
    TrainingConfig,
    UserSplit,
)
from raysys.dataset.histories import Histories
from raysys.dataset.splits import Split, split
from raysys.dataset.vocabulary import Vocabulary
from raysys.models.build import build_model
from raysys.training.loop import fit
from raysys.training.pieces import pieces_of

NUM_ITEMS, NUM_USERS = 30, 40
SPLITS = [
    LeaveLastOut(),
    RandomSplit(validation_share=0.2),
    TimeSplit(test_share=0.2, validation_share=0.2),
    UserSplit(test_share=0.3, validation_share=0.3),
]


def log() -> Histories:
    random = np.random.default_rng(0)
    lengths = random.integers(4, 12, NUM_USERS)
    return Histories.from_lists(
        [f"user-{row:02}" for row in range(NUM_USERS)],
        [random.integers(1, NUM_ITEMS + 1, length) for length in lengths],
        [np.sort(random.integers(0, 10**6, length)) for length in lengths],
    )


def poisoned(of: Histories, config: SplitConfig, part: Callable[[Split], NDArray[np.int32]]):
    """Return the log with other items at the places of one part of its split."""
    places = np.arange(1, of.num_interactions + 1, dtype=np.int32)  # stand for the items
    chosen = part(split(replace(of, item_nums=places), config)) - 1
    items = of.item_nums.copy()
    items[chosen] = items[chosen] % NUM_ITEMS + 1
    assert (items != of.item_nums).sum() == len(np.unique(chosen)) > 5
    return replace(of, item_nums=items)


def of_test(parts: Split) -> NDArray[np.int32]:
    """Return what only the test part has, which with whole users held out is all of them."""
    queries = parts.test.histories.item_nums
    learnt = np.concatenate([parts.train.item_nums, parts.validation.relevant.item_nums])
    return np.union1d(parts.test.relevant.item_nums, np.setdiff1d(queries, learnt))


def of_validation(parts: Split) -> NDArray[np.int32]:
    return parts.validation.relevant.item_nums


def trained(of: Histories, config: SplitConfig, directory: Path) -> tuple[list, list[torch.Tensor]]:
    users = directory / "users.arrow"
    Vocabulary.from_ids(of.user_ids.to_pylist()).save(users)
    settings = PipelineConfig(
        split=config,
        model=GruConfig(hidden_dimension=16, bptt=4),
        training=TrainingConfig(max_epochs=4, patience=2, batch_size=8),
        evaluation=EvaluationConfig(ks=(5,), metric_k=5),
    )
    pieces = pieces_of(of, settings)
    torch.manual_seed(0)
    model = build_model(settings.model, num_items=NUM_ITEMS, num_users=NUM_USERS)
    validate = MakeValidate(settings.evaluation, users)(pieces.validation)
    results = fit(model, pieces.train, config=settings, validate=validate)
    return [(each.loss, each.metrics) for each in results], list(model.parameters())


@pytest.mark.parametrize("config", SPLITS, ids=lambda config: config.kind)
def test_other_items_in_the_test_part_change_no_bit_of_a_training(
    config: SplitConfig, tmp_path: Path
) -> None:
    results, weights = trained(log(), config, tmp_path)
    blind_results, blind_weights = trained(poisoned(log(), config, of_test), config, tmp_path)
    assert blind_results == results
    assert all(map(torch.equal, weights, blind_weights))


@pytest.mark.parametrize("config", SPLITS, ids=lambda config: config.kind)
def test_other_items_in_the_validation_part_are_seen(config: SplitConfig, tmp_path: Path) -> None:
    results, _ = trained(log(), config, tmp_path)
    others, _ = trained(poisoned(log(), config, of_validation), config, tmp_path)
    assert [metrics for _, metrics in others] != [metrics for _, metrics in results]
