"""The context of the interaction that is to be found, as a vector that a query is moved by.

    query in a context = query + sum over columns of the vector of the column's category

All vectors begin at zero, so that an untrained model asks alike in every context.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from raysys.dataset.categories import MISSING


class ContextTower(nn.Module):
    """From codes of contexts to vectors.

    Args:
        sizes: categories of each column, as `ContextEncoder.sizes` has them.
        width: of a query.
        dropout: share of the categories that training takes for missing.
    """

    def __init__(self, sizes: Sequence[int], width: int, *, dropout: float) -> None:
        super().__init__()
        self.dropout = dropout
        self.columns = nn.ModuleList(zeros(size, width) for size in sizes)

    def forward(self, codes: Tensor) -> Tensor:
        """Return (..., D) for (...) int64 codes, see `ContextEncoder.codes`."""
        vectors: list[Tensor] = []
        for column in self.columns:
            assert isinstance(column, nn.Embedding)
            nums = codes % column.num_embeddings
            if self.training and self.dropout:
                chance = torch.rand(nums.shape, device=nums.device)
                nums = torch.where(chance < self.dropout, MISSING, nums)
            vectors.append(column(nums))
            codes = codes // column.num_embeddings
        return torch.stack(vectors).sum(dim=0)


def context_tower(sizes: Sequence[int], width: int, *, dropout: float) -> ContextTower | None:
    """Return a tower; None where there are no columns."""
    return ContextTower(sizes, width, dropout=dropout) if sizes else None


def zeros(num_rows: int, width: int, *, padding_idx: int | None = None) -> nn.Embedding:
    """Return a table of zeros, made without the random numbers that the others are made of.

    Args:
        padding_idx: a row that stays zero.
    """
    module: nn.Embedding = nn.Embedding.from_pretrained(  # type: ignore[no-untyped-call]
        torch.zeros(num_rows, width), freeze=False, padding_idx=padding_idx
    )
    return module
