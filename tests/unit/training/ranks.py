"""Several workers in one process, for tests of what they learn together."""

import threading

import torch

from raysys.config import (
    PipelineConfig,
)
from raysys.dataset.histories import Histories
from raysys.errors import TrainingError
from raysys.training.loop import fit
from tests.unit.training.worlds import (
    model_for,
)


class Threads:
    """Workers as threads of this process, which sum by turns in the order of their rank."""

    def __init__(self, rank: int, num_ranks: int, shared: dict) -> None:
        self.rank, self.num_ranks, self._shared = rank, num_ranks, shared

    def _exchange(self, value):
        self._shared[self.rank] = value
        self._shared["barrier"].wait()
        values = [self._shared[rank] for rank in range(self.num_ranks)]
        self._shared["barrier"].wait()
        return values

    def sum_(self, tensors):
        everyones = self._exchange([tensor.detach().clone() for tensor in tensors])
        with torch.no_grad():
            for tensor, parts in zip(tensors, zip(*everyones, strict=True), strict=True):
                tensor.copy_(sum(parts))

    def gather(self, nums):
        return torch.cat(self._exchange(nums))

    def gather_rows(self, nums, rows):
        return torch.cat(self._exchange(nums)), torch.cat(self._exchange(rows))

    def broadcast_(self, tensors):
        first = self._exchange([tensor.detach().clone() for tensor in tensors])[0]
        with torch.no_grad():
            for tensor, value in zip(tensors, first, strict=True):
                tensor.copy_(value)


def fit_in_ranks(
    parts: list[Histories], config: PipelineConfig, user_nums: list, **known: object
) -> list:
    """Return the model and the results, or the error, of each worker.

    Args:
        known: what models are made of besides the settings, see `model_for`.
    """
    shared = {"barrier": threading.Barrier(len(parts), timeout=30)}
    models = [model_for(config, **known) for _ in parts]
    results: list = [None] * len(parts)

    def work(rank: int) -> None:
        comm = Threads(rank, len(parts), shared)
        try:
            results[rank] = fit(
                models[rank], parts[rank], config=config, user_nums=user_nums[rank], comm=comm
            )
        except TrainingError as error:
            results[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(zip(models, results, strict=True))
