"""Models learn what only the context of an interaction tells, and nothing without it."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from raysys.config import (
    GruConfig,
    ModelConfig,
    PipelineConfig,
    TrainingConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from raysys.dataset.histories import Histories
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.training.loop import fit

TRAINING = TrainingConfig(learning_rate=0.02, batch_size=8, max_epochs=15, loss="full_softmax")
TV, PHONE = 1, 2
KINDS: list[ModelConfig] = [
    GruConfig(hidden_dimension=16, bptt=4, dropout=0.0),
    TransformerConfig(hidden_dimension=16, window=2, num_layers=1, dropout=0.0),
    TwoTowerConfig(embedding_dim=16),
]

each_kind = pytest.mark.parametrize("model", KINDS, ids=lambda model: model.kind)


def evenings() -> Histories:
    """A planted world of 64 users: item 1, then 2 on a TV or 3 on a phone, as likely."""
    users = range(64)
    histories = Histories.from_lists(
        [f"user-{row:02}" for row in users],
        [[1, 2 + row % 2] for row in users],
        [[0, 1]] * 64,
        weights=[[0, 1]] * 64,
    )
    contexts = np.array([[0, 2 * (TV + row % 2)] for row in users]).ravel()
    # The second of two columns, of sizes 2 and 3; the first is missing.
    return Histories(
        histories.user_ids,
        histories.offsets,
        histories.item_nums,
        histories.occurred_at_us,
        weights=histories.weights,
        contexts=contexts,
    )


def learnt(model: ModelConfig, **settings: bool) -> tuple[Any, float]:
    """Return a trained model and its last loss. To it all users are one."""
    config = PipelineConfig(model=model.model_copy(update=settings), training=TRAINING)
    torch.manual_seed(0)
    made = build_model(config.model, num_items=3, num_users=1, context_sizes=(2, 3))
    results = fit(made, evenings(), config=config, user_nums=np.ones(64, dtype=np.int64))
    return made, results[-1].loss


@each_kind
def test_what_only_the_context_tells_is_learnt_with_it_alone(model: ModelConfig) -> None:
    made, loss = learnt(model, context=True)
    plain, without = learnt(model, context=False)
    assert loss < 0.2
    assert without > math.log(2) - 0.01  # two items are alike
    assert (made.context_sizes, plain.context_sizes) == ((2, 3), ())
    codes = np.array([2 * TV, 2 * PHONE])
    asked = Histories.from_lists(["u", "v"], [[1], [1]], [[0], [0]])
    asked = Histories(
        asked.user_ids, asked.offsets, asked.item_nums, asked.occurred_at_us, asked_in=codes
    )
    queries = encode_histories(made, asked, user_nums=np.array([1, 1]))
    scores = queries @ encode_catalogue(made).T
    assert (scores[:, 1:].argmax(axis=1) + 2).tolist() == [2, 3]  # of the two that follow


@each_kind
def test_an_untrained_model_asks_alike_in_every_context(model: ModelConfig) -> None:
    def encoded(sizes: tuple[int, ...]) -> np.ndarray:
        torch.manual_seed(0)
        made = build_model(model, num_items=3, num_users=1, context_sizes=sizes)
        return encode_histories(made, evenings(), user_nums=np.ones(64, dtype=np.int64))

    assert np.array_equal(encoded((2, 3)), encoded(()))
