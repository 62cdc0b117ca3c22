"""Models learn from types and gaps what items do not tell, alone and on two workers."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from raysys.config import (
    GruConfig,
    PipelineConfig,
    SequenceConfig,
    TrainingConfig,
    TransformerConfig,
)
from raysys.dataset.histories import Histories
from raysys.models.base import EmbeddingModel
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.training.loop import fit

NUM_ITEMS = 13
BEGINNING = 13
VIEW, BUY = 1, 2
SECOND_US, DAY_US = 1_000_000, 86_400_000_000
TRAINING = TrainingConfig(learning_rate=0.04, batch_size=16, max_epochs=10)
KINDS: list[SequenceConfig] = [
    GruConfig(hidden_dimension=16, bptt=4, dropout=0.0),
    TransformerConfig(hidden_dimension=16, window=2, num_layers=1, dropout=0.0),
]

each_kind = pytest.mark.parametrize("model", KINDS, ids=lambda model: model.kind)


def forks() -> Histories:
    """A planted world of 64 users: a beginning, then one of four items, then what it led to.

    Item n leads to n + 4 where it was bought, a day after the beginning, and to n + 8 where it was
    viewed, a second after it. Nothing but the type and the gap tells which; both are as likely.
    """
    users = [(first, was_bought) for first in range(1, 5) for was_bought in (True, False)] * 8
    return Histories.from_lists(
        [f"user-{row:02}" for row in range(len(users))],
        [[BEGINNING, first, first + (4 if was_bought else 8)] for first, was_bought in users],
        [
            [0, gap_us, gap_us + 1]
            for gap_us in (DAY_US if each else SECOND_US for _, each in users)
        ],
        weights=[[0, 0, 1]] * len(users),
        event_types=[[VIEW, BUY if was_bought else VIEW, VIEW] for _, was_bought in users],
    )


def learnt(model: SequenceConfig, train: Histories, **settings: bool) -> tuple[Any, float]:
    """Return a trained model and its last loss."""
    config = PipelineConfig(model=model.model_copy(update=settings), training=TRAINING)
    torch.manual_seed(0)
    made = build_model(config.model, num_items=NUM_ITEMS, num_users=1, num_event_types=2)
    return made, fit(made, train, config=config)[-1].loss


def expected_next(model: EmbeddingModel, at_us: list[int], types: list[int] | None) -> int:
    """Return what is expected after item 3, that came after the beginning."""
    kinds = None if types is None else [types]
    history = Histories.from_lists(["u"], [[BEGINNING, 3]], [at_us], event_types=kinds)
    scores = encode_histories(model, history) @ encode_catalogue(model).T
    scores[:, [BEGINNING - 1, 2]] = -np.inf  # the seen, which may score anything
    return int(scores[0].argmax()) + 1


@each_kind
def test_what_only_the_type_of_an_event_tells_is_learnt_with_it_alone(model) -> None:
    train = replace(forks(), occurred_at_us=np.zeros(64 * 3, np.int64))
    made, loss = learnt(model, train, event_types=True, time_gaps=True)
    _, without = learnt(model, train, event_types=False, time_gaps=True)
    assert loss < 0.2
    assert without > math.log(2) - 0.01  # two items are alike
    assert expected_next(made, [0, 0], [VIEW, BUY]) == 7
    assert expected_next(made, [0, 0], [VIEW, VIEW]) == 11


@each_kind
def test_what_only_the_gap_tells_is_learnt_with_it_alone(model) -> None:
    train = replace(forks(), event_types=None)
    made, loss = learnt(model, train, event_types=True, time_gaps=True)
    _, without = learnt(model, train, event_types=True, time_gaps=False)
    assert loss < 0.2
    assert without > math.log(2) - 0.01
    assert expected_next(made, [0, DAY_US], None) == 7
    assert expected_next(made, [0, SECOND_US], None) == 11


@each_kind
def test_an_untrained_model_is_the_one_that_reads_items_alone(model) -> None:
    def encoded(**settings: bool) -> np.ndarray:
        torch.manual_seed(0)
        config = model.model_copy(update=settings)
        made = build_model(config, num_items=NUM_ITEMS, num_users=1, num_event_types=2)
        return encode_histories(made, forks())

    plain = encoded(event_types=False, time_gaps=False)
    assert np.array_equal(encoded(event_types=True, time_gaps=True), plain)
