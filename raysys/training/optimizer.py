"""How a gradient changes the weights: the rule of the step, its learning rate, weight decay."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from raysys.config import TrainingConfig
from raysys.training.row_optimizer import ADAGRAD_EPS, ADAGRAD_START, build_row_optimizer
from raysys.training.row_tables import RowGradient


class Optimizer:
    """AdamW or Adagrad with a scheduled learning rate.

    Weight decay shrinks matrices and embeddings. Biases and the scales of norms, which are vectors,
    are left alone: they do not multiply what could overfit.

    Args:
        parameters: changed as a whole in every step.
        tables: changed in the rows that a step reached.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        tables: Sequence[nn.Parameter],
        settings: TrainingConfig,
    ) -> None:
        self._settings = settings
        self.num_steps = 0
        self.learning_rate = 0.0
        """Of the last step."""
        groups = [
            {
                "params": [parameter for parameter in parameters if parameter.ndim > 1],
                "weight_decay": settings.weight_decay,
            },
            {
                "params": [parameter for parameter in parameters if parameter.ndim <= 1],
                "weight_decay": 0.0,
            },
        ]
        self._torch = _build(groups, settings)
        self._of_tables = [build_row_optimizer(table, settings) for table in tables]

    def zero_grad(self) -> None:
        # Kept, not freed: a step adds to every gradient, also to one that its batch did not reach.
        self._torch.zero_grad(set_to_none=False)

    def step(self, progress: float, of_tables: Sequence[RowGradient]) -> None:
        """Change the weights by the gradients that they hold, and the tables by these.

        Args:
            progress: the share of `max_epochs` that is learnt before this step, in [0, 1).
        """
        self.learning_rate = learning_rate(self._settings, self.num_steps, progress)
        for group in self._torch.param_groups:
            group["lr"] = self.learning_rate
        self._torch.step()
        for optimizer, gradient in zip(self._of_tables, of_tables, strict=True):
            optimizer.step(gradient, self.learning_rate)
        self.num_steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {
            "num_steps": self.num_steps,
            "torch": self._torch.state_dict(),
            "tables": [optimizer.state for optimizer in self._of_tables],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.num_steps = state["num_steps"]
        self._torch.load_state_dict(state["torch"])
        for optimizer, loaded in zip(self._of_tables, state["tables"], strict=True):
            for name, tensor in optimizer.state.items():
                tensor.copy_(loaded[name])


def learning_rate(settings: TrainingConfig, num_steps: int, progress: float) -> float:
    """Return the learning rate of a step.

    Args:
        num_steps: steps before this one.
        progress: the share of `max_epochs` that is learnt before this step, in [0, 1).
    """
    factor = 1.0
    if settings.schedule == "linear":
        factor = 1.0 - progress
    elif settings.schedule == "cosine":
        factor = (1.0 + math.cos(math.pi * progress)) / 2
    if num_steps < settings.warmup_steps:
        factor *= (num_steps + 1) / settings.warmup_steps
    return settings.learning_rate * factor


def _build(groups: list[dict[str, Any]], settings: TrainingConfig) -> torch.optim.Optimizer:
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=settings.learning_rate, fused=True)
    return torch.optim.Adagrad(
        groups,
        lr=settings.learning_rate,
        initial_accumulator_value=ADAGRAD_START,
        eps=ADAGRAD_EPS,
    )
