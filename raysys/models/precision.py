"""Products in the precision that autocast asks for, for losses that write their gradients out.

Sums, exponentials and everything that is added up over blocks stay in the precision of the weights.
"""

from collections.abc import Sequence

import torch
from torch import Tensor


def product_dtype(tensor: Tensor) -> torch.dtype:
    """Return the precision of products with a tensor, here and now."""
    device = tensor.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else tensor.dtype


def logits_of(queries: Tensor, candidates: Tensor, shifts: Tensor) -> Tensor:
    """Return queries · candidates + shifts, (B, C), in the precision of `shifts`, (C,)."""
    if queries.dtype == shifts.dtype:
        return torch.addmm(shifts, queries, candidates.T)
    return torch.mm(queries, candidates.T).to(shifts.dtype).add_(shifts)


def powers_(logits: Tensor, highest: Tensor) -> Tensor:
    """Replace logits, (B, C), by exp(logit - highest), where `highest`, (B, 1), is at least theirs.

    None is below exp(-80), 2e-35, which no sum with 1 notices, also where a logit is -inf: CPUs
    take ten to a hundred times as long for exponentials that vanish.
    """
    return logits.sub_(highest).clamp_(min=-80.0).exp_()


def add_product_(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left · right, both of one precision, to `total`, which may have a higher one."""
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(torch.mm(left, right))


def scaled(grads: Sequence[Tensor], factor: Tensor, dtypes: Sequence[torch.dtype]) -> list[Tensor]:
    """Return gradients times a factor, each in the precision of what it is the gradient of."""
    return [(grad * factor).to(dtype) for grad, dtype in zip(grads, dtypes, strict=True)]
