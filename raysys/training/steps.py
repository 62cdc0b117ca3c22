"""One step of training: the loss of some batches, the gradients of all workers, new weights."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raysys.config import TrainingConfig
from raysys.errors import TrainingError
from raysys.models.base import EmbeddingModel
from raysys.training.averaging import WeightAverage
from raysys.training.communication import Communicator
from raysys.training.objective import Objective
from raysys.training.optimizer import Optimizer
from raysys.training.row_tables import (
    RowGradient,
    choose_row_tables,
    sum_of_workers,
    take_row_gradient,
)

_MAX_USERS_NAMED = 5


@dataclass(frozen=True, slots=True)
class StepTotals:
    """`loss` is the weighted sum in nats over `num_examples`, whose weights sum to `weight`."""

    loss: float
    weight: float
    num_examples: int


class Steps:
    """Changes the model's weights step by step, in every worker alike."""

    def __init__(
        self,
        model: EmbeddingModel,
        objective: Objective,
        settings: TrainingConfig,
        comm: Communicator,
        *,
        all_items_are_scored: bool,
    ) -> None:
        self._objective = objective
        self._settings = settings
        self._comm = comm
        self._model = model
        self._tables = choose_row_tables(
            model,
            min_rows=settings.row_updates_from,
            all_items_are_scored=all_items_are_scored,
        )
        in_tables = {id(table) for table in self._tables}
        self._parameters = [p for p in model.parameters() if id(p) not in in_tables]
        self._device = next(model.parameters()).device
        self._is_bfloat16 = settings.precision == "bfloat16" or (
            settings.precision == "auto" and self._device.type == "cuda"
        )
        self._optimizer = Optimizer(self._parameters, self._tables, settings)
        self._average: WeightAverage | None = None
        if settings.ema_decay is not None:
            self._average = WeightAverage(
                list(model.parameters()), self._tables, settings.ema_decay
            )

    def take(self, batches: Iterator[Any], place: str, progress: float) -> StepTotals | None:
        """Learn from this worker's next batches and those of all others.

        Args:
            place: which step this is, for errors.
            progress: the share of the whole training that lies before it, in [0, 1).

        Returns:
            What all workers had; None when none had a batch left.

        Raises:
            TrainingError: the loss or its gradient is not finite. No weight has changed.
        """
        own, used, is_ill = self._learn(batches)
        step = self._summed(own, has_batch=len(used) > 0)
        if step is None:
            return None
        if not math.isfinite(step.loss):
            ill = [batch for batch, ill in zip(used, is_ill, strict=True) if ill]
            raise self._not_finite(f"loss of {place}", step.loss, ill)
        of_tables = [sum_of_workers(take_row_gradient(t), self._comm) for t in self._tables]
        gradients = [p.grad for p in self._parameters if p.grad is not None]
        gradients += [gradient.values for gradient in of_tables]
        if self._settings.reduction == "mean":
            torch._foreach_mul_(gradients, 1 / max(1, step.num_examples))
        if self._settings.gradient_clip is not None:
            norm = torch.nn.utils.get_total_norm(gradients)
            if not math.isfinite(float(norm)):
                raise self._not_finite(f"gradient of {place}", float(norm), used)
            torch._foreach_mul_(
                gradients, min(1.0, self._settings.gradient_clip / (float(norm) + 1e-6))
            )
        self._change(progress, of_tables)
        return step

    def _change(self, progress: float, of_tables: list[RowGradient]) -> None:
        rows = [gradient.rows for gradient in of_tables]
        if self._average is not None:
            self._average.before_step(rows)
        self._optimizer.step(progress, of_tables)
        if self._average is not None:
            self._average.after_step(self._optimizer.num_steps, rows)

    @property
    def learning_rate(self) -> float:
        """Of the last step."""
        return self._optimizer.learning_rate

    @contextmanager
    def averaged(self) -> Iterator[dict[str, Tensor]]:
        """Let the model have, for the time of the block, what it is measured and saved with.

        Yields:
            The weights that the next step will change, by name.
        """
        weights = self._model.state_dict()
        with nullcontext() if self._average is None else self._average.in_place():
            yield weights

    def state_dict(self) -> dict[str, Any]:
        """Return all that the next step needs besides the weights."""
        average = [] if self._average is None else self._average.tensors
        return {"optimizer": self._optimizer.state_dict(), "average": average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        self._optimizer.load_state_dict(state["optimizer"])
        if self._average is not None:
            self._average.load(state["average"])

    def _learn(self, batches: Iterator[Any]) -> tuple[StepTotals, list[Any], list[bool]]:
        """Add up gradients; return the loss, the batches, and whose loss is not finite."""
        self._optimizer.zero_grad()
        own, used, is_ill = StepTotals(0.0, 0.0, 0), [], []
        for _ in range(self._settings.accumulate_steps):
            batch = next(batches, None)
            if batch is None and self._comm.num_ranks == 1:
                break
            with torch.autocast(self._device.type, torch.bfloat16, enabled=self._is_bfloat16):
                step = self._objective.loss(batch)
            step.total.backward()  # type: ignore[no-untyped-call]
            loss = float(step.total.detach())
            own = StepTotals(
                own.loss + loss, own.weight + step.weight, own.num_examples + step.num_examples
            )
            if batch is not None:
                used.append(batch)
                is_ill.append(not math.isfinite(loss))
        return own, used, is_ill

    def _summed(self, own: StepTotals, *, has_batch: bool) -> StepTotals | None:
        """Return what all workers had, and let each hold the sum of all gradients."""
        if self._comm.num_ranks == 1:
            return own if has_batch else None
        values = torch.tensor(
            [own.loss, own.weight, own.num_examples, has_batch], device=self._device
        )
        for parameter in self._parameters:
            if parameter.grad is None:  # this worker's batch did not reach it, another's may
                parameter.grad = torch.zeros_like(parameter)
        self._comm.sum_([values, *(p.grad for p in self._parameters if p.grad is not None)])
        loss, weight, num_examples, num_with_batch = values.tolist()
        return StepTotals(loss, weight, round(num_examples)) if num_with_batch else None

    def _not_finite(self, what: str, value: float, suspects: list[Any]) -> TrainingError:
        """Return the same error in every worker, naming the users of all suspect batches."""
        users = [user for batch in suspects for user in self._objective.users(batch)]
        named = ", ".join(repr(user) for user in users[:_MAX_USERS_NAMED])
        if len(users) > _MAX_USERS_NAMED:
            named += f" and {len(users) - _MAX_USERS_NAMED:,} more"
        letters = torch.tensor(
            list(f"{named}; ".encode() if named else b""), dtype=torch.int64, device=self._device
        )
        of_all = bytes(self._comm.gather(letters).tolist()).decode().removesuffix("; ")
        settings = self._settings
        return TrainingError(
            f"The {what} is {value}, so training stopped before it changed a weight; what was "
            f"saved before stays. Users in the batch: {of_all or 'unknown'}. Lower "
            f"training.learning_rate (now {settings.learning_rate:g}), set training.gradient_clip "
            f"(now {settings.gradient_clip}), or look at the weights and values of these users' "
            f"interactions."
        )
