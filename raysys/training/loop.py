"""The training loop: torch only, one process or one of several.

An epoch is one pass over the training histories. After each one the model is validated; training
stops when the metric has not risen for `patience` epochs, and the best epoch's weights are kept.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysys.config import PipelineConfig
from raysys.dataset.histories import Histories
from raysys.errors import TrainingError
from raysys.models.base import EmbeddingModel
from raysys.models.counted import Counted
from raysys.models.device import seed_random_numbers
from raysys.training.checkpoint import Checkpoint, EpochResult, StepResult
from raysys.training.chosen_items import build_chosen_items
from raysys.training.communication import Communicator, SingleProcess
from raysys.training.counting import count
from raysys.training.objective import Objective
from raysys.training.objectives import build_objective
from raysys.training.steps import Steps
from raysys.training.stopping import Patience

Validate = Callable[[EmbeddingModel], dict[str, float]]


def fit(
    model: EmbeddingModel,
    train: Histories,
    *,
    config: PipelineConfig,
    user_nums: NDArray[np.integer] | None = None,
    validate: Validate | None = None,
    on_epoch: Callable[[EpochResult, Checkpoint], bool | None] = lambda result, checkpoint: None,
    on_step: Callable[[StepResult], None] = lambda step: None,
    comm: Communicator | None = None,
    start: Checkpoint | None = None,
    num_epochs: int | None = None,
    is_trained: bool = False,
) -> list[EpochResult]:
    """Train `model` in place and leave the best epoch's weights in it.

    The same call gives the same weights, also when it was cut off after an epoch and taken up
    again from that epoch's checkpoint.

    Args:
        train: this worker's users; item number 0 is never learnt.
        user_nums: (U,) the user vocabulary's numbers of `train.user_ids`; two-tower needs them.
        validate: metrics of the model, the same numbers on every worker, among them the one that
            `config.evaluation` names. None: every epoch runs, and the last is the best.
        on_epoch: called after each epoch, with what must be kept to go on from there; where it
            returns true, on all workers alike, training ends there.
        on_step: called after each step, with the state of the epoch so far; it must be quick.
        comm: the other workers; None where there are none.
        start: go on from here.
        num_epochs: stop after so many of the `max_epochs` that the schedule is for; None: none.
        is_trained: `model` comes from another training. Where there is validation, it is measured
            first, and stays as it is if no epoch is better.

    Returns:
        The result of each epoch, those before `start` included.

    Raises:
        TrainingError: there is nothing to learn from, or the loss is not finite; the best weights
            so far are in the model then.
    """
    comm = comm or SingleProcess()
    if isinstance(model, Counted):
        return count(model, train, comm, validate=validate, on_epoch=on_epoch, start=start)
    with _own_random_numbers():
        calls = _Calls(validate, on_epoch, on_step)
        return _Fit(model, train, config, user_nums, calls, comm).run(
            start, num_epochs, is_trained=is_trained
        )


@dataclass(frozen=True, slots=True)
class _Calls:
    """What the caller of `fit` wants to be asked and told."""

    validate: Validate | None
    on_epoch: Callable[[EpochResult, Checkpoint], bool | None]
    on_step: Callable[[StepResult], None]


class _Fit:
    def __init__(
        self,
        model: EmbeddingModel,
        train: Histories,
        config: PipelineConfig,
        user_nums: NDArray[np.integer] | None,
        calls: _Calls,
        comm: Communicator,
    ) -> None:
        self._model = model
        self._settings = config.training
        self._metric = config.evaluation.metric_name
        self._calls = calls
        self._comm = comm
        comm.broadcast_(list(model.parameters()))
        self._chosen_items = build_chosen_items(model, train, config, comm)
        self._objective: Objective = build_objective(
            model, train, user_nums, self._chosen_items, config, comm
        )
        self._steps = Steps(
            model,
            self._objective,
            config.training,
            comm,
            all_items_are_scored=self._chosen_items.scores_all_items,
        )
        self._num_examples = self._sum_of(self._objective.num_examples)
        if not self._num_examples:
            raise TrainingError(
                "There is nothing to learn from: no user in the training part has two "
                "interactions with known items. Import more of the log, or hold back less of it."
            )

    def run(
        self, start: Checkpoint | None, num_epochs: int | None, *, is_trained: bool
    ) -> list[EpochResult]:
        results: list[EpochResult] = []
        best_weights = _copy_of(self._model)
        before = [self._value_before()] if is_trained and self._calls.validate else []
        if start is not None:
            self._model.load_state_dict(start.weights)
            self._steps.load_state_dict(start.optimizer)
            results, best_weights = list(start.results), start.best_weights
        values = [*before, *(self._value(result) for result in results)]
        patience = Patience(self._settings.patience, values)
        try:
            for epoch in range(len(results), num_epochs or self._settings.max_epochs):
                if patience.is_exhausted:
                    break
                learnt = self._learn(epoch)
                with self._steps.averaged() as weights:
                    results.append(self._validated(learnt))
                    if patience.add(self._value(results[-1])):
                        best_weights = _copy_of(self._model)
                    checkpoint = Checkpoint(
                        weights, self._steps.state_dict(), best_weights, results
                    )
                    is_over = self._calls.on_epoch(results[-1], checkpoint)
                if is_over:
                    break
        finally:  # also where a loss was not finite
            self._model.load_state_dict(best_weights)
            self._model.eval()
        return results

    def _learn(self, epoch: int) -> EpochResult:
        """Learn from every example once; return what it took, without metrics."""
        source = (self._settings.seed, self._comm.rank, epoch)
        seed = int(np.random.SeedSequence(source).generate_state(1, np.uint64)[0] >> 1)
        seed_random_numbers(seed, next(self._model.parameters()).device)
        began = time.perf_counter()
        self._model.train()
        totals = np.zeros(2)  # loss, weight
        num_seen = num_steps = 0
        self._chosen_items.begin(epoch)
        batches = self._objective.batches(epoch)
        while True:
            num_steps += 1
            place = f"step {num_steps} of epoch {epoch + 1}"
            progress = (epoch + num_seen / self._num_examples) / self._settings.max_epochs
            step = self._steps.take(batches, place, progress)
            if step is None:
                break
            totals += (step.loss, step.weight)
            num_seen += step.num_examples
            seconds = time.perf_counter() - began
            self._calls.on_step(self._so_far(epoch, num_seen, totals, seconds))
        seconds = time.perf_counter() - began
        return EpochResult(
            epoch=epoch + 1,
            loss=float(totals[0] / totals[1]),
            metrics={},
            examples_per_s=num_seen / seconds,
            seconds=seconds,
            learning_rate=self._steps.learning_rate,
        )

    def _so_far(
        self, epoch: int, num_seen: int, totals: NDArray[np.float64], seconds: float
    ) -> StepResult:
        return StepResult(
            epoch=epoch + 1,
            share=min(1.0, num_seen / self._num_examples),
            loss=float(totals[0] / totals[1]) if totals[1] else 0.0,
            examples_per_s=num_seen / seconds,
            learning_rate=self._steps.learning_rate,
        )

    def _validated(self, learnt: EpochResult) -> EpochResult:
        began = time.perf_counter()
        self._model.eval()
        validate = self._calls.validate
        metrics = {} if validate is None else validate(self._model)
        seconds = learnt.seconds + time.perf_counter() - began
        return replace(learnt, metrics=metrics, seconds=seconds)

    def _value_before(self) -> float:
        """Return how good the model is that nothing was learnt with yet."""
        return self._value(self._validated(EpochResult(0, 0.0, {}, 0.0, 0.0, 0.0)))

    def _sum_of(self, number: int) -> int:
        total = torch.tensor([number], device=next(self._model.parameters()).device)
        self._comm.sum_([total])
        return int(total)

    def _value(self, result: EpochResult) -> float:
        if not result.metrics:
            return float(result.epoch)
        if self._metric not in result.metrics:
            raise TrainingError(
                f"Training is to stop by {self._metric}, but validation measured "
                f"{', '.join(sorted(result.metrics))}. Set evaluation.metric_k to one of "
                f"evaluation.ks."
            )
        return result.metrics[self._metric]


def _copy_of(model: EmbeddingModel) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Leave torch's global random generators as they were found."""
    with torch.random.fork_rng():
        yield
