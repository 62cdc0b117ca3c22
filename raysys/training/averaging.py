"""The exponential moving average of a model's weights over the steps of a training."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """After step n, from 1: average = d average + (1 - d) weights, d = min(decay, n / (n + 9)).

    The smaller d of the first steps makes the average forget the untrained weights. Of large tables
    a step touches only the rows that it changes; what the average of the others missed meanwhile is
    made up for later, exactly, since their weights stood still.

    Args:
        parameters: of the model.
        tables: those of them that are changed row by row.
        decay: in (0, 1).

    Source:
        Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; the first
        steps as in tf.train.ExponentialMovingAverage.
    """

    def __init__(
        self, parameters: Sequence[nn.Parameter], tables: Sequence[nn.Parameter], decay: float
    ) -> None:
        self._parameters = parameters
        self.tensors = [parameter.detach().clone() for parameter in parameters]
        """The average of each parameter, up to date within `in_place`."""
        places = {id(parameter): place for place, parameter in enumerate(parameters)}
        self._tables = [
            _TableAverage(table.detach(), self.tensors[places[id(table)]]) for table in tables
        ]
        in_tables = {places[id(table)] for table in tables}
        self._whole = [place for place in places.values() if place not in in_tables]
        self._decay = decay
        self._log_kept = 0.0
        """Sum of log d over the steps since `in_place`."""

    def before_step(self, rows: Sequence[Tensor]) -> None:
        """Be told which rows of each table the next step will change."""
        for table, changed in zip(self._tables, rows, strict=True):
            table.catch_up(changed, self._log_kept)

    def after_step(self, num_steps: int, rows: Sequence[Tensor]) -> None:
        """Take in the weights after step `num_steps`."""
        decay = min(self._decay, num_steps / (num_steps + 9))
        self._log_kept += math.log(decay)
        for place in self._whole:
            self.tensors[place].lerp_(self._parameters[place].detach(), 1 - decay)
        for table, changed in zip(self._tables, rows, strict=True):
            table.take_in(changed, decay, self._log_kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the average for the time of the block, and then its weights again."""
        for table in self._tables:
            table.catch_up_with_all(self._log_kept)
        self._log_kept = 0.0
        weights = [parameter.data for parameter in self._parameters]
        self._give(self.tensors)
        try:
            yield
        finally:
            self._give(weights)

    def load(self, tensors: Sequence[Tensor]) -> None:
        """Go on from what `tensors` was in `in_place`."""
        for tensor, loaded in zip(self.tensors, tensors, strict=True):
            tensor.copy_(loaded)

    def _give(self, tensors: Sequence[Tensor]) -> None:
        for parameter, tensor in zip(self._parameters, tensors, strict=True):
            parameter.data = tensor


class _TableAverage:
    """Of one table. For n steps in which a row's weights w stand still, average - w shrinks by d
    each time: by exp(the sum of log d).
    """

    def __init__(self, weights: Tensor, average: Tensor) -> None:
        self._weights = weights
        self._average = average
        self._log_kept = torch.zeros(len(weights), dtype=torch.float64, device=weights.device)

    def catch_up(self, rows: Tensor, log_kept: float) -> None:
        kept = (log_kept - self._log_kept[rows]).exp_().to(self._weights.dtype)[:, None]
        weights = self._weights[rows]
        average = weights + kept * (self._average[rows] - weights)
        self._average.index_copy_(0, rows, average)

    def take_in(self, rows: Tensor, decay: float, log_kept: float) -> None:
        average = self._average[rows].lerp_(self._weights[rows], 1 - decay)
        self._average.index_copy_(0, rows, average)
        self._log_kept[rows] = log_kept

    def catch_up_with_all(self, log_kept: float) -> None:
        kept = (log_kept - self._log_kept).exp_().to(self._weights.dtype)[:, None]
        self._average.sub_(self._weights).mul_(kept).add_(self._weights)
        self._log_kept.zero_()
