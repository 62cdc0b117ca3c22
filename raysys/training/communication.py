"""What the workers of one training say to each other: sums, and who drew which items."""

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.distributed as dist
from torch import Tensor


class Communicator(Protocol):
    """The workers of one training. Every worker makes the same calls in the same order."""

    rank: int
    num_ranks: int

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all workers. All have one dtype and device."""

    def gather(self, nums: Tensor) -> Tensor:
        """Return the numbers of all workers end to end. `nums` is 1-d int64."""

    def gather_rows(self, nums: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the numbers and rows of all workers end to end, by rank.

        Args:
            nums: (R,) int64; R may differ between workers.
            rows: (R, D).
        """

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by worker 0's."""


class SingleProcess:
    """One worker, alone."""

    rank = 0
    num_ranks = 1

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""

    def gather(self, nums: Tensor) -> Tensor:
        """Return `nums`."""
        return nums

    def gather_rows(self, nums: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return both."""
        return nums, rows

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Leave the tensors as they are."""


class ProcessGroup:
    """The workers of torch's default process group (gloo on CPUs, NCCL on GPUs)."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.num_ranks = dist.get_world_size()

    def sum_(self, tensors: Sequence[Tensor]) -> None:
        """Send all tensors in one message, and put the sums back."""
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.all_reduce(flat)
        self._put_back(flat, tensors)

    def gather(self, nums: Tensor) -> Tensor:
        """Send the lengths first, then the numbers."""
        return self._gather(nums, self._lengths(nums))

    def gather_rows(self, nums: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Send the lengths first, then the numbers, then the rows.

        Dense, and not sparse tensors inside torch's own sums: those work on gloo and fail on NCCL.
        """
        lengths = self._lengths(nums)
        return self._gather(nums, lengths), self._gather(rows, lengths)

    def broadcast_(self, tensors: Sequence[Tensor]) -> None:
        """Send all tensors in one message."""
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        dist.broadcast(flat, src=0)
        self._put_back(flat, tensors)

    def _lengths(self, nums: Tensor) -> list[int]:
        lengths = nums.new_zeros(self.num_ranks, dtype=torch.int64)
        lengths[self.rank] = len(nums)
        dist.all_reduce(lengths)
        found: list[int] = lengths.tolist()
        return found

    def _gather(self, own: Tensor, lengths: list[int]) -> Tensor:
        """Return the tensors of all workers end to end; they travel padded to the longest."""
        padded = own.new_zeros(max(lengths), *own.shape[1:])
        padded[: len(own)] = own
        everyones = [torch.empty_like(padded) for _ in lengths]
        dist.all_gather(everyones, padded)
        return torch.cat([each[:length] for each, length in zip(everyones, lengths, strict=True)])

    @staticmethod
    def _put_back(flat: Tensor, tensors: Sequence[Tensor]) -> None:
        with torch.no_grad():
            parts = torch.split(flat, [tensor.numel() for tensor in tensors])
            for tensor, part in zip(tensors, parts, strict=True):
                tensor.copy_(part.view_as(tensor))
