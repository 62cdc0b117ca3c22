"""What the workers of a run do as one: fail together, and measure the model on all their users."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

from raysys.dataset.splits import Held
from raysys.errors import RaysysError
from raysys.models.base import EmbeddingModel
from raysys.training.communication import ProcessGroup
from raysys.training.loop import Validate

MakeValidate = Callable[[Held], Validate]
Value = TypeVar("Value")


class OtherWorkerFailed(Exception):
    """Another worker has an error to tell; this one only stops."""


class Workers:
    """This worker among all workers of the run."""

    def __init__(self, device: torch.device) -> None:
        self.comm = ProcessGroup()
        self.device = device

    def sum(self, number: int) -> int:
        """Return the sum of every worker's number."""
        total = torch.tensor([number], device=self.device)
        self.comm.sum_([total])
        return int(total)

    def total(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sum of every worker's counts."""
        tensor = torch.tensor(counts, device=self.device)
        self.comm.sum_([tensor])
        return tensor.cpu().numpy()

    def together(self, action: Callable[[], Value]) -> Value:
        """Do what every worker does at this point; where it fails on one, fail on all."""
        error: RaysysError | None = None
        try:
            value = action()
        except RaysysError as raised:
            error = raised
        num_failed = self.sum(error is not None)
        if error is not None:
            raise error
        if num_failed:
            raise OtherWorkerFailed
        return value

    def validation(self, held: Held, make_validate: MakeValidate | None) -> Validate | None:
        """Return what measures a model on the held-out users of all workers.

        None where no worker has one, or nothing to measure with.
        """
        if make_validate is None or not self.sum(len(held)):
            return None
        validate_own = make_validate(held) if len(held) else lambda model: {}

        def validate(model: EmbeddingModel) -> dict[str, float]:
            return self._mean(self.together(lambda: validate_own(model)), len(held))

        return validate

    def _mean(self, metrics: dict[str, float], num_users: int) -> dict[str, float]:
        """Return each metric's mean over the users of all workers."""
        every: list[dict[str, float]] = [{}] * self.comm.num_ranks
        dist.all_gather_object(every, metrics)
        names = sorted({name for each in every for name in each})
        sums = [metrics.get(name, 0.0) * num_users for name in names]
        totals = torch.tensor([float(num_users), *sums], dtype=torch.float64, device=self.device)
        self.comm.sum_([totals])
        return dict(zip(names, (totals[1:] / totals[0]).tolist(), strict=True))
