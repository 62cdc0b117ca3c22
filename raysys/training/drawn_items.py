"""Losses against items that are drawn for each step, the same for all queries and workers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from raysys.config import TrainingConfig
from raysys.models.base import EmbeddingModel
from raysys.models.sampled_losses import (
    Negatives,
    binary_cross_entropy_loss,
    bpr_loss,
    gbce_exponent,
    sampled_softmax_loss,
)
from raysys.training.seen_items import SeenItems


class Proposal:
    """Draws items with replacement: a share by how often they are the answer, the others alike.

    Args:
        probability: (N + 1,) float64 by item number, [0] = 0; None where none is drawn by it.
        num_items: N.
        num_draws: of a step.
        popular_share: of the draws, rounded.
    """

    def __init__(
        self, probability: Tensor | None, num_items: int, num_draws: int, popular_share: float
    ) -> None:
        self._num_items = num_items
        self._num_popular = 0 if probability is None else round(popular_share * num_draws)
        self._num_alike = num_draws - self._num_popular
        self._probability = probability
        if probability is not None:
            cumulated = probability.cumsum(0).cpu()
            self._cumulated = cumulated / cumulated[-1]

    def draw(self, generator: torch.Generator) -> Tensor:
        """Return item numbers, (num_draws,) int64, on the CPU."""
        alike = torch.randint(1, self._num_items + 1, (self._num_alike,), generator=generator)
        if not self._num_popular:
            return alike
        places = torch.rand(self._num_popular, dtype=torch.float64, generator=generator)
        return torch.cat([alike, torch.searchsorted(self._cumulated, places, right=True)])

    def expected_counts(self, item_nums: Tensor) -> Tensor:
        """Return how often each item is drawn in the mean over steps, float32."""
        alike = torch.full(item_nums.shape, self._num_alike / self._num_items, dtype=torch.float64)
        expected = alike.to(item_nums.device)
        if self._probability is not None:
            expected += self._num_popular * self._probability[item_nums]
        return expected.float()


class AmongDrawnItems:
    """Every worker draws the same; a query's own item is left out of what it is compared with."""

    scores_all_items = False

    def __init__(
        self,
        model: EmbeddingModel,
        name: str,
        probability: Tensor | None,
        settings: TrainingConfig,
    ) -> None:
        self._model = model
        self._seed = settings.seed
        self._generator = torch.Generator()
        self._proposal = Proposal(
            probability, model.num_items, settings.num_negatives, settings.popular_share
        )
        self._options: dict[str, Any] = {
            "temperature": model.temperature,
            "num_hard_negatives": settings.num_hard_negatives,
        }
        self._loss = _LOSSES[name]
        if name == "gbce":
            self._options["own_exponent"] = gbce_exponent(
                settings.num_negatives, model.num_items, settings.gbce_calibration
            )

    def begin(self, epoch: int) -> None:
        seed = np.random.SeedSequence((self._seed, epoch)).generate_state(1, np.uint64)[0]
        self._generator.manual_seed(int(seed >> 1))

    def loss(
        self, queries: Tensor, item_nums: Tensor, weights: Tensor, seen: SeenItems | None = None
    ) -> Tensor:
        drawn = self._proposal.draw(self._generator).to(item_nums.device)
        negative_nums, counts = torch.unique(drawn, return_counts=True)
        distinct = torch.unique(torch.cat([negative_nums, item_nums]))
        embeddings = self._model.encode_candidates(distinct)
        places = torch.searchsorted(negative_nums, item_nums).clamp_(max=len(negative_nums) - 1)
        negatives = Negatives(
            F.embedding(torch.searchsorted(distinct, negative_nums), embeddings),
            counts.float(),
            self._proposal.expected_counts(negative_nums),
            places.where(negative_nums[places] == item_nums, -1),
        )
        own = F.embedding(torch.searchsorted(distinct, item_nums), embeddings)
        return self._loss(queries, own, negatives, query_weights=weights, **self._options)


_LOSSES: dict[str, Callable[..., Tensor]] = {
    "sampled_softmax": sampled_softmax_loss,
    "bce": binary_cross_entropy_loss,
    "gbce": binary_cross_entropy_loss,
    "bpr": bpr_loss,
}
