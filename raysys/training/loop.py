"""The training loop: torch only, one process or one of several.

An epoch is one pass over the training histories. After each one the model is validated; training
stops when the metric has not risen for `patience` epochs, and the best epoch's weights are kept.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysys.config import PipelineConfig, TrainingConfig
from raysys.dataset.histories import Histories
from raysys.errors import TrainingError
from raysys.models.base import EmbeddingModel
from raysys.training.checkpoint import Checkpoint, EpochResult, StepResult
from raysys.training.communication import Communicator, SingleProcess
from raysys.training.objective import Objective, StepLoss
from raysys.training.objectives import build_objective
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

    Returns:
        The result of each epoch, those before `start` included.

    Raises:
        TrainingError: there is nothing to learn from, or the loss is not finite.
    """
    comm = comm or SingleProcess()
    with _own_random_numbers():
        calls = _Calls(validate, on_epoch, on_step)
        return _Fit(model, train, config, user_nums, calls, comm).run(start)


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
        self._parameters = list(model.parameters())
        comm.broadcast_(self._parameters)
        self._optimizer = _build_optimizer(self._parameters, config.training)
        self._objective: Objective = build_objective(model, train, user_nums, config, comm)
        self._num_examples = self._sum_of(self._objective.num_examples)
        if not self._num_examples:
            raise TrainingError(
                "There is nothing to learn from: no user in the training part has two "
                "interactions with known items. Import more of the log, or hold back less of it."
            )

    def run(self, start: Checkpoint | None) -> list[EpochResult]:
        results: list[EpochResult] = []
        best_weights = _copy_of(self._model)
        if start is not None:
            self._model.load_state_dict(start.weights)
            self._optimizer.load_state_dict(start.optimizer)
            results, best_weights = list(start.results), start.best_weights
        patience = Patience(self._settings.patience, [self._value(result) for result in results])
        for epoch in range(len(results), self._settings.max_epochs):
            if patience.is_exhausted:
                break
            result = self._epoch(epoch)
            results.append(result)
            if patience.add(self._value(result)):
                best_weights = _copy_of(self._model)
            optimizer_state = self._optimizer.state_dict()
            checkpoint = Checkpoint(
                self._model.state_dict(), optimizer_state, best_weights, results
            )
            if self._calls.on_epoch(result, checkpoint):
                break
        self._model.load_state_dict(best_weights)
        self._model.eval()
        return results

    def _epoch(self, epoch: int) -> EpochResult:
        seed = (self._settings.seed, self._comm.rank, epoch)
        torch.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1))
        began = time.perf_counter()
        self._model.train()
        totals = np.zeros(2)  # loss, weight
        num_seen = 0
        batches = self._objective.batches(epoch)
        while True:
            batch = next(batches, None)
            progress = (epoch + num_seen / self._num_examples) / self._settings.max_epochs
            step = self._step(batch, progress)
            if step is None:
                break
            totals += (float(step.total), step.weight)
            num_seen += step.num_examples
            seconds = time.perf_counter() - began
            self._calls.on_step(self._so_far(epoch, num_seen, totals, seconds))
        loss = totals[0] / totals[1]
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss of epoch {epoch + 1} is {loss}, so the weights are of no use. Lower "
                f"training.learning_rate (now {self._settings.learning_rate:g}) or set "
                f"training.gradient_clip."
            )
        seconds = time.perf_counter() - began
        self._model.eval()
        validate = self._calls.validate
        metrics = {} if validate is None else validate(self._model)
        return EpochResult(
            epoch=epoch + 1,
            loss=float(loss),
            metrics=metrics,
            examples_per_s=num_seen / seconds,
            seconds=time.perf_counter() - began,
            learning_rate=self._learning_rate,
        )

    def _so_far(
        self, epoch: int, num_seen: int, totals: NDArray[np.float64], seconds: float
    ) -> StepResult:
        return StepResult(
            epoch=epoch + 1,
            share=min(1.0, num_seen / self._num_examples),
            loss=float(totals[0] / totals[1]) if totals[1] else 0.0,
            examples_per_s=num_seen / seconds,
            learning_rate=self._learning_rate,
        )

    @property
    def _learning_rate(self) -> float:
        return float(self._optimizer.param_groups[0]["lr"])

    def _step(self, batch: object | None, progress: float) -> StepLoss | None:
        """Learn from one batch of all workers; None when no worker has one left."""
        if batch is None and self._comm.num_ranks == 1:
            return None
        own_step = self._objective.loss(batch)
        self._optimizer.zero_grad(set_to_none=False)
        own_step.total.backward()  # type: ignore[no-untyped-call]
        step = self._summed(own_step, has_batch=batch is not None)
        if step is None:
            return None
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        if self._settings.reduction == "mean":
            torch._foreach_mul_(gradients, 1 / max(1, step.num_examples))
        if self._settings.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._settings.gradient_clip)
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.learning_rate * self._decay(progress)
        self._optimizer.step()
        return step

    def _summed(self, step: StepLoss, *, has_batch: bool) -> StepLoss | None:
        total = step.total.detach()
        if self._comm.num_ranks == 1:
            return StepLoss(total, step.weight, step.num_examples)
        values = total.new_tensor([0.0, step.weight, step.num_examples, has_batch])
        values[0] = total
        for parameter in self._parameters:
            if parameter.grad is None:  # this worker's batch did not reach it, another's may
                parameter.grad = torch.zeros_like(parameter)
        self._comm.sum_([values, *(p.grad for p in self._parameters if p.grad is not None)])
        _, weight, num_examples, num_with_batch = values.tolist()
        if not num_with_batch:
            return None
        return StepLoss(values[0], weight, round(num_examples))

    def _decay(self, progress: float) -> float:
        return 1.0 - progress if self._settings.learning_rate_decay else 1.0

    def _sum_of(self, number: int) -> int:
        total = torch.tensor([number], device=self._parameters[0].device)
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


def _build_optimizer(
    parameters: list[torch.nn.Parameter], settings: TrainingConfig
) -> torch.optim.Optimizer:
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(
            parameters,
            lr=settings.learning_rate,
            weight_decay=settings.weight_decay,
            fused=True,
        )
    return torch.optim.Adagrad(
        parameters,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        initial_accumulator_value=0.1,  # both as in Keras, whose tutorials people compare with
        eps=1e-7,
    )


def _copy_of(model: EmbeddingModel) -> dict[str, Tensor]:
    return {name: weight.detach().clone() for name, weight in model.state_dict().items()}


@contextmanager
def _own_random_numbers() -> Iterator[None]:
    """Leave torch's global random generators as they were found."""
    with torch.random.fork_rng():
        yield
