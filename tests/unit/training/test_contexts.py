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


def evenings(tvs_to_a_phone: int = 1) -> Histories:
    """A planted world of 64 users: item 1, then 2 on a TV or 3 on a phone."""
    devices = [PHONE if row % (1 + tvs_to_a_phone) == 0 else TV for row in range(64)]
    histories = Histories.from_lists(
        [f"user-{row:02}" for row in range(64)],
        [[1, 2 if device == TV else 3] for device in devices],
        [[0, 1]] * 64,
        weights=[[0, 1]] * 64,
    )
    contexts = np.array([[0, 2 * device] for device in devices]).ravel()
    # The second of two columns, of sizes 2 and 3; the first is missing.
    return Histories(
        histories.user_ids,
        histories.offsets,
        histories.item_nums,
        histories.occurred_at_us,
        weights=histories.weights,
        contexts=contexts,
    )


def learnt(
    model: ModelConfig, histories: Histories, max_epochs: int = 15, **settings: bool | float
) -> tuple[Any, float]:
    """Return a trained model and its last loss. To it all users are one."""
    training = TRAINING.model_copy(update={"max_epochs": max_epochs})
    config = PipelineConfig(model=model.model_copy(update=settings), training=training)
    torch.manual_seed(0)
    made = build_model(config.model, num_items=3, num_users=1, context_sizes=(2, 3))
    results = fit(made, histories, config=config, user_nums=np.ones(64, dtype=np.int64))
    return made, results[-1].loss


def scores_in(made: Any, *codes: int) -> np.ndarray:
    """Return the scores of items 2 and 3 for somebody who took item 1, in some contexts."""
    asked = Histories.from_lists(["u"] * len(codes), [[1]] * len(codes), [[0]] * len(codes))
    asked = Histories(
        asked.user_ids,
        asked.offsets,
        asked.item_nums,
        asked.occurred_at_us,
        asked_in=np.array(codes),
    )
    queries = encode_histories(made, asked, user_nums=np.ones(len(codes), dtype=np.int64))
    return (queries @ encode_catalogue(made).T)[:, 1:]


@each_kind
def test_what_only_the_context_tells_is_learnt_with_it_alone(model: ModelConfig) -> None:
    made, loss = learnt(model, evenings(), context=True, context_dropout=0.0)
    plain, without = learnt(model, evenings(), context=False)
    assert loss < 0.2
    assert without > math.log(2) - 0.01  # two items are alike
    assert (made.context_sizes, plain.context_sizes) == ((2, 3), ())
    assert scores_in(made, 2 * TV, 2 * PHONE).argmax(axis=1).tolist() == [0, 1]


@each_kind
def test_who_says_nothing_gets_what_suits_all_contexts(model: ModelConfig) -> None:
    made, _ = learnt(model, evenings(tvs_to_a_phone=3), 40, context_dropout=0.3)
    [[on_tv, on_phone]] = scores_in(made, 0)
    assert 2 < math.exp(on_tv - on_phone) < 4.5  # 3 of 4 interactions were on a TV


@each_kind
def test_an_untrained_model_asks_alike_in_every_context(model: ModelConfig) -> None:
    def encoded(sizes: tuple[int, ...]) -> np.ndarray:
        torch.manual_seed(0)
        made = build_model(model, num_items=3, num_users=1, context_sizes=sizes)
        return encode_histories(made, evenings(), user_nums=np.ones(64, dtype=np.int64))

    assert np.array_equal(encoded((2, 3)), encoded(()))
