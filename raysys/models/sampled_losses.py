"""Losses of queries against their own items and negatives that were drawn, the same for all.

Pure, as `losses` is. What they cost does not depend on the size of the catalogue.

Letters for shapes:
    B  queries in a batch
    K  distinct negatives that every query is compared with
    D  width of an embedding

A loss is the weighted sum over queries, in nats.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from raysys.models.losses import LOGITS_AT_ONCE, keep_hardest_
from raysys.models.precision import add_product_, logits_of, powers_, product_dtype, scaled

_Head = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]
"""(block,) logits of the queries' own items and (block, K) logits of the negatives, -inf where one
does not count, to the losses, (block,), and their derivatives by both."""


@dataclass(frozen=True, slots=True)
class Negatives:
    """What all queries are compared with besides their own items.

    Attributes:
        embeddings: (K, D) float, each item once.
        counts: (K,) float: how often each was drawn. >= 1.
        expected_counts: (K,) float > 0: the mean of `counts` over draws.
        own_columns: (B,) int64: the column that is the query's own item, an accidental hit, which
            is left out; -1 where none is.
    """

    embeddings: Tensor
    counts: Tensor
    expected_counts: Tensor
    own_columns: Tensor


def sampled_softmax_loss(
    query_embeddings: Tensor,
    own_embeddings: Tensor,
    negatives: Negatives,
    *,
    query_weights: Tensor,
    temperature: float = 1.0,
    num_hard_negatives: int | None = None,
) -> Tensor:
    """Return how surprised the queries are by their items, estimated from the negatives drawn.

    A negative's logit is lowered by the log of how often it was to be expected (the logQ
    correction), so that the sum of exponentials has the mean of that over all other items, whatever
    they are drawn by. The query's own item is certain to be there, so its logit stays.

    Args:
        query_embeddings: (B, D) float.
        own_embeddings: (B, D) float: row i is the item that query i led to.
        query_weights: (B,) float.
        temperature: divides the logits, before the correction. > 0.
        num_hard_negatives: only so many negatives with the highest corrected logits count for a
            query; None: all.

    Returns:
        Scalar in nats; 0 when no query has a negative.

    Source:
        Bengio & Senecal, Adaptive Importance Sampling to Accelerate Training of a Neural
        Probabilistic Language Model, 2008. On leaving the own item's logit as it is: Khrylchenko et
        al., Correcting the LogQ Correction, RecSys 2025.
    """
    shifts = negatives.counts.log() - negatives.expected_counts.log()
    queries = query_embeddings / temperature
    return _loss(
        queries, own_embeddings, negatives, shifts, query_weights, _softmax, num_hard_negatives
    )


def binary_cross_entropy_loss(
    query_embeddings: Tensor,
    own_embeddings: Tensor,
    negatives: Negatives,
    *,
    query_weights: Tensor,
    temperature: float = 1.0,
    own_exponent: float = 1.0,
    num_hard_negatives: int | None = None,
) -> Tensor:
    """Return -log(p_own ^ own_exponent) - sum over negatives of log(1 - p), p = sigmoid(logit).

    Args:
        query_embeddings, own_embeddings, query_weights, temperature, num_hard_negatives: as in
            `sampled_softmax_loss`. A negative that was drawn twice counts twice.
        own_exponent: 1 is plain BCE; `gbce_exponent` makes it gBCE.

    Source:
        Kang & McAuley, Self-Attentive Sequential Recommendation, ICDM 2018; Petrov & Macdonald,
        gSASRec, RecSys 2023, doi:10.1145/3604915.3608783.
    """
    head = partial(_binary_cross_entropy, negatives.counts, own_exponent)
    queries, shifts = query_embeddings / temperature, torch.zeros_like(negatives.counts)
    return _loss(
        queries, own_embeddings, negatives, shifts, query_weights, head, num_hard_negatives
    )


def gbce_exponent(num_negatives: int, num_items: int, calibration: float) -> float:
    """Return beta = 1 - t (1 - a), a = num_negatives / (num_items - 1), of gBCE.

    Fewer negatives than the catalogue holds make BCE too sure of every item; beta < 1 undoes it.

    Args:
        num_negatives: drawn for a query, uniformly.
        num_items: of the catalogue, > 1.
        calibration: t in [0, 1]: 0 is plain BCE, 1 gives the probabilities that BCE against the
            whole catalogue would give.

    Source:
        Petrov & Macdonald, gSASRec, RecSys 2023, doi:10.1145/3604915.3608783, where the same
        stands as a (t (1 - 1/a) + 1/a).
    """
    return 1 - calibration * (1 - min(1.0, num_negatives / (num_items - 1)))


def bpr_loss(
    query_embeddings: Tensor,
    own_embeddings: Tensor,
    negatives: Negatives,
    *,
    query_weights: Tensor,
    temperature: float = 1.0,
    num_hard_negatives: int | None = None,
) -> Tensor:
    """Return -log sigmoid(own logit - logit), its mean over a query's negatives; 0 without any.

    Args:
        query_embeddings, own_embeddings, query_weights, temperature, num_hard_negatives: as in
            `sampled_softmax_loss`. A negative that was drawn twice counts twice.

    Source:
        Rendle et al., BPR: Bayesian Personalized Ranking from Implicit Feedback, UAI 2009.
    """
    head = partial(_pairwise, negatives.counts)
    queries, shifts = query_embeddings / temperature, torch.zeros_like(negatives.counts)
    return _loss(
        queries, own_embeddings, negatives, shifts, query_weights, head, num_hard_negatives
    )


def _softmax(own: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    highest = torch.maximum(own, logits.amax(dim=1))
    powers, own_power = powers_(logits, highest[:, None]), (own - highest).exp()
    total = powers.sum(dim=1) + own_power  # at least 1
    losses = total.log() + highest - own
    return losses, own_power / total - 1, powers.div_(total[:, None])


def _binary_cross_entropy(
    counts: Tensor, own_exponent: float, own: Tensor, logits: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    losses = -own_exponent * F.logsigmoid(own) - F.logsigmoid(-logits) @ counts
    return losses, -own_exponent * torch.sigmoid(-own), logits.sigmoid_().mul_(counts)


def _pairwise(counts: Tensor, own: Tensor, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    shares = counts * (logits > -torch.inf)
    shares /= shares.sum(1, keepdim=True).clamp_(min=1)
    ahead = logits.sub_(own[:, None])
    losses = -(F.logsigmoid(-ahead) * shares).sum(1)
    grad_logits = ahead.sigmoid_().mul_(shares)
    return losses, -grad_logits.sum(1), grad_logits


def _loss(
    queries: Tensor,
    own: Tensor,
    negatives: Negatives,
    shifts: Tensor,
    weights: Tensor,
    head: _Head,
    num_hard_negatives: int | None,
) -> Tensor:
    loss: Tensor = _LossOfNegatives.apply(  # type: ignore[no-untyped-call]
        queries,
        own,
        negatives.embeddings,
        shifts,
        negatives.own_columns,
        weights,
        head,
        num_hard_negatives,
    )
    return loss


class _LossOfNegatives(torch.autograd.Function):
    """Loss and gradients block by block, made on the way forward, as in `losses._SoftmaxLoss`."""

    @staticmethod
    def forward(
        ctx: Any,
        queries: Tensor,
        own: Tensor,
        negatives: Tensor,
        shifts: Tensor,
        own_columns: Tensor,
        weights: Tensor,
        head: _Head,
        num_hard_negatives: int | None,
    ) -> Tensor:
        inputs = queries, own, negatives
        dtype = product_dtype(negatives)
        ctx.dtypes = [tensor.dtype for tensor in inputs]
        with torch.autocast(queries.device.type, enabled=False):
            grads = [torch.zeros_like(tensor, dtype=shifts.dtype) for tensor in inputs]
            own_logits = (queries * own).sum(1, dtype=shifts.dtype)
            queries, factors = queries.to(dtype), negatives.to(dtype)
            losses = torch.zeros_like(weights)
            grad_own_logits = torch.zeros_like(own_logits)
            block = max(1, LOGITS_AT_ONCE // max(1, len(factors)))
            for start in range(0, len(queries), block):
                rows = slice(start, start + block)
                logits = logits_of(queries[rows], factors, shifts)  # (block, K)
                hits = torch.nonzero(own_columns[rows] >= 0)[:, 0]
                logits[hits, own_columns[rows][hits]] = -torch.inf
                keep_hardest_(logits, num_hard_negatives)
                losses[rows], grad_own_logits[rows], grad_logits = head(own_logits[rows], logits)
                grad_logits = grad_logits.mul_(weights[rows, None]).to(dtype)
                grads[0][rows] = torch.mm(grad_logits, factors)
                add_product_(grads[2], grad_logits.T, queries[rows])
            grad_own_logits = (grad_own_logits * weights)[:, None]
            grads[0] += grad_own_logits * own
            torch.mul(grad_own_logits, queries, out=grads[1])
            ctx.save_for_backward(*grads)
            return losses @ weights

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_loss: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled(ctx.saved_tensors, grad_loss, ctx.dtypes), *[None] * 5
