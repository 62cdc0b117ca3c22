"""AdamW and Adagrad that change only the rows of a table that a step reached.

A row that no step reaches stays as it is: its moments do not fade and its weights do not decay
meanwhile ("lazy" optimizers). A row's moments are corrected for the steps that reached *it*, so
that the first step of a rare item is as long as that of a common one. Where every step reaches
every row these are torch's optimizers.
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from raysys.config import TrainingConfig
from raysys.training.row_tables import RowGradient

ADAGRAD_START = 0.1
ADAGRAD_EPS = 1e-7
"""Both as in Keras, whose tutorials people compare with."""
_BETAS = 0.9, 0.999
_ADAM_EPS = 1e-8


class RowOptimizer(Protocol):
    """Changes one table."""

    state: dict[str, Tensor]
    """What it remembers of each row."""

    def step(self, gradient: RowGradient, learning_rate: float) -> None:
        """Change the rows that the gradient has."""


def build_row_optimizer(table: nn.Parameter, settings: TrainingConfig) -> RowOptimizer:
    """Return the row-wise form of `settings.optimizer`."""
    kind = RowAdamW if settings.optimizer == "adamw" else RowAdagrad
    return kind(table.detach(), settings.weight_decay)


class RowAdamW:
    """As torch.optim.AdamW, with a count of steps for each row.

    Source:
        Loshchilov & Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """

    def __init__(self, table: Tensor, weight_decay: float) -> None:
        self._table = table
        self._weight_decay = weight_decay
        self.state = {
            "means": torch.zeros_like(table),
            "squares": torch.zeros_like(table),
            "num_steps": torch.zeros(len(table), dtype=torch.int32, device=table.device),
        }

    def step(self, gradient: RowGradient, learning_rate: float) -> None:
        rows, values = gradient.rows, gradient.values
        num_steps = self.state["num_steps"].index_select(0, rows) + 1
        means = self.state["means"].index_select(0, rows).lerp_(values, 1 - _BETAS[0])
        squares = self.state["squares"].index_select(0, rows).mul_(_BETAS[1])
        squares.addcmul_(values, values, value=1 - _BETAS[1])
        weights = self._table.index_select(0, rows).mul_(1 - learning_rate * self._weight_decay)
        first, second = (
            (1 - beta ** num_steps[:, None].double()).to(values.dtype) for beta in _BETAS
        )
        weights.addcdiv_(
            means / first, (squares / second).sqrt_().add_(_ADAM_EPS), value=-learning_rate
        )
        for name, changed in (("num_steps", num_steps), ("means", means), ("squares", squares)):
            self.state[name].index_copy_(0, rows, changed)
        self._table.index_copy_(0, rows, weights)


class RowAdagrad:
    """As torch.optim.Adagrad, also where a step does not reach a row if no weight decays.

    Source:
        Duchi et al., Adaptive Subgradient Methods, JMLR 2011.
    """

    def __init__(self, table: Tensor, weight_decay: float) -> None:
        self._table = table
        self._weight_decay = weight_decay
        self.state = {"squares": torch.full_like(table, ADAGRAD_START)}

    def step(self, gradient: RowGradient, learning_rate: float) -> None:
        rows = gradient.rows
        weights = self._table.index_select(0, rows)
        values = torch.add(gradient.values, weights, alpha=self._weight_decay)
        squares = self.state["squares"].index_select(0, rows).addcmul_(values, values)
        self.state["squares"].index_copy_(0, rows, squares)
        weights.addcdiv_(values, squares.sqrt_().add_(ADAGRAD_EPS), value=-learning_rate)
        self._table.index_copy_(0, rows, weights)
