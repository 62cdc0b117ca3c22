"""How a gradient changes the weights: the rule of the step, its learning rate, weight decay."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from raysys.config import TrainingConfig


class Optimizer:
    """AdamW or Adagrad with a scheduled learning rate.

    Weight decay shrinks matrices and embeddings. Biases and the scales of norms, which are vectors,
    are left alone: they do not multiply what could overfit.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], settings: TrainingConfig) -> None:
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
        self._torch = _build([group for group in groups if group["params"]], settings)

    def zero_grad(self) -> None:
        # Kept, not freed: a step adds to every gradient, also to one that its batch did not reach.
        self._torch.zero_grad(set_to_none=False)

    def step(self, progress: float) -> None:
        """Change the weights by the gradients that they hold.

        Args:
            progress: the share of `max_epochs` that is learnt before this step, in [0, 1).
        """
        self.learning_rate = learning_rate(self._settings, self.num_steps, progress)
        for group in self._torch.param_groups:
            group["lr"] = self.learning_rate
        self._torch.step()
        self.num_steps += 1

    def state_dict(self) -> dict[str, Any]:
        return {"num_steps": self.num_steps, "torch": self._torch.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.num_steps = state["num_steps"]
        self._torch.load_state_dict(state["torch"])


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
        initial_accumulator_value=0.1,  # both as in Keras, whose tutorials people compare with
        eps=1e-7,
    )
