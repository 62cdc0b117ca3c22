"""Training in one plain process, with the CPU seconds that it took: no cluster, one thread.

CPU seconds are user + system of this process. Those of a fixed loop of matrix products stand beside
them in every benchmark, since processors differ and other work on the machine slows both.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from movielens_100k import Log

from raysys.commands.released_model import embedding_retriever
from raysys.config import PipelineConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.dataset.histories import Histories
from raysys.dataset.splits import Held
from raysys.evaluation.evaluate import evaluate
from raysys.evaluation.topk import Retriever
from raysys.models.base import EmbeddingModel
from raysys.models.build import build_model
from raysys.training.checkpoint import EpochResult
from raysys.training.loop import fit
from raysys.training.pieces import usual_lengths

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Trained:
    """A model, every epoch's result, and the CPU seconds of training without validation."""

    model: EmbeddingModel
    results: list[EpochResult]
    cpu_s: float

    @property
    def num_epochs(self) -> int:
        return len(self.results)

    def best(self, metric: str) -> EpochResult:
        """Return the epoch whose weights the model has."""
        return max(self.results, key=lambda result: result.metrics[metric])


def train_here(
    config: PipelineConfig,
    log: Log,
    train: Histories,
    *,
    features: FeatureTables | None = None,
    validation: Held | None = None,
    exclude_history: bool = True,
    is_enough: Callable[[EpochResult, EmbeddingModel], bool] = lambda result, model: False,
) -> Trained:
    """Train with the loop of the product on the users of usual length, as its workers do.

    Args:
        features: what is known of the log's items and users.
        validation: chooses the best epoch; None: the last is.
        exclude_history: leave out what a user has seen in validation.
        is_enough: ends the training after an epoch. Its CPU seconds do not count either.
    """
    aside_s = 0.0

    def aside(action: Callable[[], Value]) -> Value:
        nonlocal aside_s
        value, cpu_s, _ = timed(action)
        aside_s += cpu_s
        return value

    def validate(model: EmbeddingModel) -> dict[str, float]:
        assert validation is not None
        ranked, ks = embedding_retriever(model, log.users), [config.evaluation.metric_k]
        return evaluate(ranked, validation, ks, exclude_history=exclude_history).means()

    def learn() -> tuple[EmbeddingModel, list[EpochResult]]:
        torch.manual_seed(config.training.seed)
        model = build_model(
            config.model, num_items=len(log.items), num_users=len(log.users), features=features
        )
        learnt = train.take(np.flatnonzero(usual_lengths(train.lengths, config.model)))
        results = fit(
            model,
            learnt,
            config=config,
            user_nums=log.users.numbers(learnt.user_ids),
            validate=None if validation is None else lambda model: aside(lambda: validate(model)),
            on_epoch=lambda result, checkpoint: aside(lambda: is_enough(result, model)),
        )
        return model, results

    (model, results), cpu_s, _ = timed(learn)
    return Trained(model, results, cpu_s - aside_s)


def retriever_of(trained: Trained, log: Log) -> Retriever:
    """Return the model behind the door that baselines share."""
    return embedding_retriever(trained.model, log.users)


def with_training(config: PipelineConfig, **changes: object) -> PipelineConfig:
    """Return the settings with some of how the model is learnt replaced; None leaves one alone."""
    wanted = {name: value for name, value in changes.items() if value is not None}
    training = config.training.model_copy(update=wanted)
    return config.model_copy(update={"training": training})


def calibration() -> float:
    """Return the CPU seconds of 200 products of matrices of 1,024 x 1,024, float32."""
    matrix = torch.ones(1024, 1024)

    def multiply() -> None:
        for _ in range(200):
            torch.mm(matrix, matrix)

    return timed(multiply)[1]


def timed(action: Callable[[], Value]) -> tuple[Value, float, float]:
    """Return what the action returns, its CPU seconds and its wall seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    value = action()
    return value, time.process_time() - cpu, time.perf_counter() - wall
