"""Losses that teach a model to put an item near the queries that led to it.

Everything here is pure: tensors in, tensor out. No model, no optimiser, no Ray.

Letters for shapes:
    B  queries in a batch
    C  distinct candidates that every query chooses from
    D  width of an embedding

A loss is the weighted sum over queries, in nats (of labels: in their unit, squared): only the
caller knows how many queries all workers have together. Candidates are distinct. Where the same
item stands in several rows of a batch, its column stands for all of them by its count: log sum_c
count_c exp(s_c) is the same number as the sum over rows, at a fifth of the cost for 8,192
interactions with 1,664 items.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from raysys.models.precision import add_product_, logits_of, powers_, product_dtype, scaled

LOGITS_AT_ONCE = 1 << 19
"""Logits in flight, about 2 MiB: a block stays in a core's cache between its five passes."""


def full_softmax_loss(
    query_embeddings: Tensor,
    candidate_embeddings: Tensor,
    chosen_columns: Tensor,
    *,
    query_weights: Tensor | None = None,
    temperature: float = 1.0,
    excluded: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return how surprised the queries are by the items they led to, among the whole catalogue.

    Args:
        query_embeddings: (B, D) float.
        candidate_embeddings: (C, D) float, every item of the catalogue once.
        chosen_columns: (B,) int64: the row of `candidate_embeddings` that each query led to.
        excluded: pairs, both (E,) int64, of a query, ascending, and a row of
            `candidate_embeddings` that it does not choose from, unless it is what it led to.
        query_weights: (B,) float; all 1 when None.
        temperature: divides the logits. > 0.
    """
    dtype = torch.promote_types(candidate_embeddings.dtype, torch.float32)  # of sums
    shifts = candidate_embeddings.new_zeros(len(candidate_embeddings), dtype=dtype)
    return _softmax_loss(
        query_embeddings / temperature,
        candidate_embeddings,
        chosen_columns,
        shifts,
        shifts[chosen_columns],
        query_weights,
        excluded=excluded,
    )


def in_batch_softmax_loss(
    query_embeddings: Tensor,
    candidate_embeddings: Tensor,
    chosen_columns: Tensor,
    column_counts: Tensor,
    *,
    sampling_probability: Tensor | None = None,
    remove_accidental_hits: bool = True,
    query_weights: Tensor | None = None,
    temperature: float = 1.0,
    num_hard_negatives: int | None = None,
    excluded: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return how surprised the queries are by their items, among the items of the batch.

    Every row of the batch is a negative of every other row. Popular items turn up as negatives
    more often than rare ones. To undo that, every logit is lowered by the log of its item's
    sampling probability (the logQ correction), the chosen one's included. A negative that is the
    query's own item (an accidental hit) is left out of that query's negatives.

    Args:
        query_embeddings: (B, D) float.
        candidate_embeddings: (C, D) float, each item of the batch once.
        chosen_columns: (B,) int64: the row of `candidate_embeddings` that each query led to.
        column_counts: (C,) float: how many rows of the batch hold the candidate, those of all
            workers together. >= 1.
        sampling_probability: (C,) float in (0, 1]: the chance that one row drawn from the training
            log names the candidate. Not checked here, in the hot loop. None: no correction.
        remove_accidental_hits: False counts a query's own item as a negative too, once for every
            other row that holds it, as TensorFlow Recommenders does unless told otherwise.
        query_weights: (B,) float; all 1 when None.
        temperature: divides the logits, before the correction. > 0.
        num_hard_negatives: only so many other candidates with the highest corrected logits count
            for a query; None: all.
        excluded: as in `full_softmax_loss`.

    Returns:
        Scalar in nats; 0 when no query has a negative.

    Source:
        Yi et al., Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
        Recommendations, RecSys 2019, doi:10.1145/3298689.3346996.
    """
    corrections = torch.zeros_like(column_counts)
    if sampling_probability is not None:
        corrections = -sampling_probability.log()
    shifts = corrections + column_counts.log()
    # The numerator is one row's share of the chosen column; where accidental hits are left out,
    # so is the column's part of the denominator.
    chosen_shifts = corrections[chosen_columns]
    return _softmax_loss(
        query_embeddings / temperature,
        candidate_embeddings,
        chosen_columns,
        shifts,
        chosen_shifts,
        query_weights,
        replace_chosen=remove_accidental_hits,
        num_hard_negatives=num_hard_negatives,
        excluded=excluded,
    )


def squared_error_loss(
    query_embeddings: Tensor,
    candidate_embeddings: Tensor,
    labels: Tensor,
    *,
    query_weights: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """Return how far the scores of the items that queries led to are from their labels, squared.

    Args:
        query_embeddings: (B, D) float.
        candidate_embeddings: (B, D) float: row i is the item of query i.
        labels: (B,) float.
        query_weights: (B,) float.
        temperature: divides the scores. > 0.
    """
    scores = (query_embeddings * candidate_embeddings).sum(dim=1) / temperature
    return (query_weights * (scores - labels).square()).sum()


def _softmax_loss(
    queries: Tensor,
    candidates: Tensor,
    chosen: Tensor,
    shifts: Tensor,
    chosen_shifts: Tensor,
    weights: Tensor | None,
    *,
    replace_chosen: bool = False,
    num_hard_negatives: int | None = None,
    excluded: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Return sum_i w_i (log sum_c exp(q_i·c + shift_c) - q_i·c_chosen - chosen_shift_i).

    With `replace_chosen`, the chosen column of a row has `chosen_shifts` in the first term too. Of
    the other columns those are left out of the sum that are `excluded` for the row.
    """
    if weights is None:
        weights = queries.new_ones(len(queries))
    loss: Tensor = _SoftmaxLoss.apply(  # type: ignore[no-untyped-call]
        queries,
        candidates,
        chosen,
        shifts,
        chosen_shifts,
        weights,
        replace_chosen,
        num_hard_negatives,
        excluded,
    )
    return loss


def keep_hardest_(logits: Tensor, num_hard_negatives: int | None) -> None:
    """Set all but the highest of each row of logits, (B, C), to -inf; None: leave all."""
    if num_hard_negatives is None or num_hard_negatives >= logits.shape[1]:
        return
    hardest = torch.topk(logits, num_hard_negatives, dim=1)
    logits.fill_(-torch.inf).scatter_(1, hardest.indices, hardest.values)


class _SoftmaxLoss(torch.autograd.Function):
    """Loss and gradients block by block, so that (B, C) logits are never held as a whole.

    The gradients are made on the way forward, while a block's probabilities are in the cache.
    """

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        candidates: Tensor,
        chosen: Tensor,
        shifts: Tensor,
        chosen_shifts: Tensor,
        weights: Tensor,
        replace_chosen: bool,
        num_hard_negatives: int | None,
        excluded: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        dtype = product_dtype(candidates)
        ctx.dtypes = queries.dtype, candidates.dtype
        with torch.autocast(queries.device.type, enabled=False):
            queries, factors = queries.to(dtype), candidates.to(dtype)
            grad_queries = torch.empty_like(queries, dtype=shifts.dtype)
            grad_candidates = torch.zeros_like(factors, dtype=shifts.dtype)
            extra = chosen_shifts - shifts[chosen]  # (B,)
            losses = torch.zeros_like(weights) if replace_chosen else -extra
            block = max(1, LOGITS_AT_ONCE // max(1, len(factors)))
            for start in range(0, len(queries), block):
                rows = slice(start, start + block)
                column = chosen[rows, None]
                logits = logits_of(queries[rows], factors, shifts)  # (block, C)
                if excluded is not None:
                    _exclude_(logits, start, column, *excluded)
                if replace_chosen:
                    logits.scatter_add_(1, column, extra[rows, None])
                if num_hard_negatives is not None:
                    own = logits.gather(1, column)
                    keep_hardest_(logits.scatter_(1, column, -torch.inf), num_hard_negatives)
                    logits.scatter_(1, column, own)
                own, best = logits.gather(1, column), logits.amax(dim=1, keepdim=True)
                powers = powers_(logits, best)
                total = powers.sum(dim=1, keepdim=True)  # at least 1
                losses[rows] += (total.log() + best - own)[:, 0]
                # d(logits) = weight * (powers / total - is chosen); factors of a row are left to
                # the queries, which are narrower than the logits.
                grad_logits = powers.scatter_add_(1, column, -total).to(dtype)
                scale = (weights[rows, None] / total).to(dtype)
                grad_queries[rows] = torch.mm(grad_logits, factors) * scale
                add_product_(grad_candidates, grad_logits.T, queries[rows] * scale)
            ctx.save_for_backward(grad_queries, grad_candidates)
            return losses @ weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled(ctx.saved_tensors, grad_loss, ctx.dtypes), *[None] * 7


def _exclude_(logits: Tensor, start: int, chosen: Tensor, queries: Tensor, columns: Tensor) -> None:
    """Set the logits of excluded columns to -inf in the block of queries that begins at `start`.

    Args:
        logits: (block, C).
        chosen: (block, 1): keeps its logit.
        queries: (E,) int64, ascending.
        columns: (E,) int64.
    """
    border = queries.new_tensor([start, start + len(logits)])
    first, end = torch.searchsorted(queries, border).tolist()
    places = (queries[first:end] - start) * logits.shape[1] + columns[first:end]
    of_chosen = logits.gather(1, chosen)
    logits.view(-1).index_fill_(0, places, -torch.inf)
    logits.scatter_(1, chosen, of_chosen)
