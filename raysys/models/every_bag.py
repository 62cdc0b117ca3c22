"""The sums of all bags of a feature table, whose gradient is a sum over bags as well.

`F.embedding_bag` sorts all features anew in every step to add up their gradients. Where a step
reads the whole table, that order is always the same: it is found once.

Letters for shapes:
    R  rows    V  features of all rows    F  features that there are    D  width of an embedding
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


@dataclass(frozen=True, slots=True, eq=False)
class _Bags:
    """The rows of a sparse matrix, in the form that `F.embedding_bag` takes."""

    nums: Tensor
    values: Tensor
    begins: Tensor

    def sums(self, vectors: Tensor) -> Tensor:
        """Return the matrix times (columns, D)."""
        return F.embedding_bag(
            self.nums, vectors, self.begins, mode="sum", per_sample_weights=self.values
        )


class EveryBag:
    """R bags.

    Args:
        nums: (V,) which features, from 0 to F - 1, one row after the other.
        values: (V,) float.
        offsets: (R + 1,), from 0 to V.
        num_features: F.
    """

    def __init__(self, nums: Tensor, values: Tensor, offsets: Tensor, num_features: int) -> None:
        self.device = nums.device
        nums, sizes = nums.long(), offsets.diff()
        self._by_row = _Bags(nums, values, offsets[:-1])
        order = torch.argsort(nums, stable=True)
        rows = torch.repeat_interleave(sizes, output_size=len(nums))[order]
        uses = torch.bincount(nums, minlength=num_features)
        self._by_feature = _Bags(rows, values[order], uses.cumsum(0) - uses)

    def sums(self, features: Tensor) -> Tensor:
        """Return sum over each bag of value * features[feature], (R, D), for (F, D) features."""
        found: Tensor = _Sums.apply(  # type: ignore[no-untyped-call]
            features, self._by_row, self._by_feature
        )
        return found


class _Sums(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, by_row: _Bags, by_feature: _Bags) -> Tensor:
        ctx.by_feature = by_feature
        return by_row.sums(features)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_sums: Tensor) -> tuple[Tensor, None, None]:
        return ctx.by_feature.sums(grad_sums.contiguous()), None, None
