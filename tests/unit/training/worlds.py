"""Small worlds that a model learns in a second, and the settings it learns them with."""

import numpy as np
import pyarrow as pa
import torch

from raysys.config import (
    GruConfig,
    PipelineConfig,
    TrainingConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from raysys.dataset.feature_table import FeatureTable, FeatureTables
from raysys.dataset.features import fit_features
from raysys.dataset.histories import Histories
from raysys.logs.schema import Field, ValueType
from raysys.models.build import build_model

NUM_ITEMS = 12
NUM_EVENT_TYPES = 2
LOSSES = ["full_softmax", "sampled_softmax", "in_batch_softmax", "bce", "gbce", "bpr"]


def rings(num_users: int = 24, length: int = 8) -> Histories:
    """A planted world: whoever took item n takes item n + 1 next, and 1 after the last.

    The types of events, and the times between them, say nothing.
    """
    lists = [
        [(start + step) % NUM_ITEMS + 1 for step in range(length)] for start in range(num_users)
    ]
    places = np.arange(length)
    return Histories.from_lists(
        [f"user-{row:02}" for row in range(num_users)],
        lists,
        [places * (row % 5) * 1_000_000 for row in range(num_users)],
        event_types=[places * row % (NUM_EVENT_TYPES + 1) for row in range(num_users)],
    )


def worlds_of_genres() -> tuple[Histories, FeatureTables]:
    """Items 1 to 6 are of genre a, 7 to 12 of b; users of even rows take a. Item 12 is new."""
    lists = [list(range(1, 7)) if row % 2 == 0 else list(range(7, 12)) for row in range(10)]
    times = [range(len(items)) for items in lists]
    train = Histories.from_lists([f"u{row}" for row in range(10)], lists, times)
    genre = Field("GENRE", ValueType.STRING, is_categorical=True)
    table = pa.table({"genre": ["a"] * 6 + ["b"] * 6})
    encoder = fit_features([table], [genre])
    return train, FeatureTables(items=FeatureTable.of(table, encoder))


def gru_config(**training: object) -> PipelineConfig:
    settings = {"learning_rate": 0.02, "batch_size": 8, "max_epochs": 12} | training
    return PipelineConfig(
        model=GruConfig(hidden_dimension=16, bptt=4, dropout=0.0, time_gaps=True),
        training=TrainingConfig(**settings),
    )


def transformer_config(window: int = 16, **training: object) -> PipelineConfig:
    settings = {"learning_rate": 0.02, "batch_size": 4, "max_epochs": 12} | training
    return PipelineConfig(
        model=TransformerConfig(
            hidden_dimension=16, window=window, num_layers=1, dropout=0.0, time_gaps=True
        ),
        training=TrainingConfig(**settings),
    )


def uncut_transformer_config(**training: object) -> PipelineConfig:
    """One row holds all that a worker reads, so it does not matter where histories are cut."""
    return transformer_config(window=200, **training)


def two_tower_config(**training: object) -> PipelineConfig:
    settings = {"learning_rate": 0.05, "batch_size": 32, "max_epochs": 20} | training
    return PipelineConfig(
        model=TwoTowerConfig(embedding_dim=8), training=TrainingConfig(**settings)
    )


def with_model(config: PipelineConfig, **settings: object) -> PipelineConfig:
    return config.model_copy(update={"model": config.model.model_copy(update=settings)})


def model_for(config: PipelineConfig, num_users: int = 24, **known: object):
    torch.manual_seed(0)
    return build_model(
        config.model,
        num_items=NUM_ITEMS,
        num_users=num_users,
        num_event_types=NUM_EVENT_TYPES,
        **known,
    )


def weights_of(model) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]
