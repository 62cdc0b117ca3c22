"""Tables of embeddings that are too large to be touched as a whole in every step.

Their gradients are the rows that a batch reached, and what a step costs follows the batch: no zeros
are made, summed over workers, or added for the other rows.

Letters for shapes:
    R  rows of a table that a step reached
    D  width of an embedding
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from raysys.models.base import EmbeddingModel
from raysys.training.communication import Communicator


@dataclass(frozen=True, slots=True)
class RowGradient:
    """The gradient of some rows of a table: `rows` (R,) int64, ascending, `values` (R, D)."""

    rows: Tensor
    values: Tensor


def choose_row_tables(
    model: EmbeddingModel, *, min_rows: int, all_items_are_scored: bool
) -> list[nn.Parameter]:
    """Let the gradients of all large tables be sparse, and return those tables.

    Args:
        min_rows: a table of fewer rows is cheaper to touch as a whole.
        all_items_are_scored: every step reaches every item, so that their table has no rows to
            spare.
    """
    tables = []
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            is_reached = all_items_are_scored and module.num_embeddings == model.num_items + 1
            module.sparse = module.num_embeddings >= min_rows and not is_reached
            if module.sparse:
                tables.append(module.get_parameter("weight"))
    return tables


def take_row_gradient(table: nn.Parameter) -> RowGradient:
    """Return what the last batches gave a table, and leave it without a gradient."""
    gradient, table.grad = table.grad, None
    if gradient is None:  # no batch reached it
        rows = torch.zeros(0, dtype=torch.int64, device=table.device)
        return RowGradient(rows, table.detach().new_zeros(0, table.shape[1]))
    if not gradient.is_sparse:  # the model used the table in another way than looking rows up
        rows = torch.arange(len(table), device=table.device)
        return RowGradient(rows, gradient)
    return _added_up(gradient._indices()[0], gradient._values())


def sum_of_workers(own: RowGradient, comm: Communicator) -> RowGradient:
    """Return the sum of all workers' gradients of a table."""
    if comm.num_ranks == 1:
        return own
    return _added_up(*comm.gather_rows(own.rows, own.values))


def _added_up(rows: Tensor, values: Tensor) -> RowGradient:
    distinct, places = torch.unique(rows, return_inverse=True)
    totals = values.new_zeros(len(distinct), values.shape[1])
    return RowGradient(distinct, totals.index_add_(0, places, values))
