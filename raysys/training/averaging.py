"""The exponential moving average of a model's weights over the steps of a training."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class WeightAverage:
    """After step n, from 1: average = d average + (1 - d) weights, d = min(decay, n / (n + 9)).

    The smaller d of the first steps makes the average forget the untrained weights.

    Source:
        Polyak & Juditsky, Acceleration of Stochastic Approximation by Averaging, 1992; the first
        steps as in tf.train.ExponentialMovingAverage.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], decay: float) -> None:
        self._parameters = parameters
        self.tensors = [parameter.detach().clone() for parameter in parameters]
        """The average of each parameter."""
        self._decay = decay

    def update(self, num_steps: int) -> None:
        """Take in the weights after step `num_steps`."""
        decay = min(self._decay, num_steps / (num_steps + 9))
        weights = [parameter.detach() for parameter in self._parameters]
        torch._foreach_lerp_(self.tensors, weights, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the average for the time of the block, and then its weights again."""
        weights = [parameter.data for parameter in self._parameters]
        self._give(self.tensors)
        try:
            yield
        finally:
            self._give(weights)

    def load(self, tensors: Sequence[Tensor]) -> None:
        """Go on from these."""
        for tensor, loaded in zip(self.tensors, tensors, strict=True):
            tensor.copy_(loaded)

    def _give(self, tensors: Sequence[Tensor]) -> None:
        for parameter, tensor in zip(self._parameters, tensors, strict=True):
            parameter.data = tensor
