"""What a step of training is: batches of examples, and the summed loss of one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor


@dataclass(frozen=True, slots=True)
class StepLoss:
    """`total` is the weighted sum in nats over `num_examples`, whose weights sum to `weight`."""

    total: Tensor
    weight: float
    num_examples: int


class Objective(Protocol):
    """One worker's part of the examples."""

    num_examples: int
    """Of this worker, per epoch."""

    def batches(self, epoch: int) -> Iterator[Any]:
        """Yield the batches of one epoch, the same on every run."""

    def users(self, batch: Any) -> list[str]:
        """Return the ids of those whose interactions are in a batch, for errors."""

    def loss(self, batch: Any | None) -> StepLoss:
        """Return the loss of one batch; None where this worker has no batch left, others do."""
