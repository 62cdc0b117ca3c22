"""How surprised queries are by the items they led to, for each `training.loss`."""

from typing import Protocol

import torch
from torch import Tensor

from raysys.config import ItemToItemConfig, PipelineConfig, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.dataset.popularity import popularity_counts
from raysys.models.base import EmbeddingModel
from raysys.models.losses import full_softmax_loss, in_batch_softmax_loss
from raysys.training.communication import Communicator
from raysys.training.drawn_items import AmongDrawnItems
from raysys.training.seen_items import SeenItems


class ChosenItems(Protocol):
    """The loss of all workers together does not depend on their number."""

    scores_all_items: bool
    """In every step, so that it reaches the whole table of items."""

    def begin(self, epoch: int) -> None:
        """Be told that an epoch begins, before its first batch; what is drawn follows from it."""

    def loss(
        self, queries: Tensor, item_nums: Tensor, weights: Tensor, seen: SeenItems | None = None
    ) -> Tensor:
        """Return the summed loss of (B, D) queries that led to (B,) items, (B,) weights.

        Args:
            seen: what the queries do not choose from; None: they choose from all. Where items are
                drawn it does not count, for hardly any of a large catalogue's is a seen one.
        """


def build_chosen_items(
    model: EmbeddingModel, train: Histories, config: PipelineConfig, comm: Communicator
) -> ChosenItems:
    """Return the loss that the settings name.

    Args:
        train: this worker's users.
    """
    name = loss_name(config, model.num_items)
    if name == "full_softmax":
        return AmongAllItems(model)
    if name == "in_batch_softmax":
        return AmongItemsOfTheBatch(model, train, config, comm)
    share = config.training.popular_share if name == "sampled_softmax" else 0.0
    probability = None if share == 0 else answer_probability(model, train, comm)
    return AmongDrawnItems(model, name, probability, config.training)


def loss_name(config: PipelineConfig, num_items: int) -> str:
    """Return the loss that a catalogue of this size is learnt with."""
    if config.training.loss != "auto":
        return config.training.loss
    if isinstance(config.model, ItemToItemConfig):
        return "in_batch_softmax"
    if num_items <= config.training.full_softmax_up_to:
        return "full_softmax"
    return "in_batch_softmax" if isinstance(config.model, TwoTowerConfig) else "sampled_softmax"


def answer_probability(model: EmbeddingModel, train: Histories, comm: Communicator) -> Tensor:
    """Return how often each item number is the answer in the log of all workers, (N + 1,) float64.

    It sums to 1; number 0, what the vocabulary does not hold, has 0.
    """
    counts = popularity_counts(train.blocks(), model.num_items)
    device = next(model.parameters()).device
    frequency = torch.from_numpy(counts).to(device, torch.float64)
    comm.sum_([frequency])
    return frequency / frequency.sum()


class AmongAllItems:
    """The whole catalogue is scored."""

    scores_all_items = True

    def __init__(self, model: EmbeddingModel) -> None:
        self._model = model
        device = next(model.parameters()).device
        self._all_items = torch.arange(1, model.num_items + 1, device=device)

    def begin(self, epoch: int) -> None:
        """Nothing is drawn."""

    def loss(
        self, queries: Tensor, item_nums: Tensor, weights: Tensor, seen: SeenItems | None = None
    ) -> Tensor:
        return full_softmax_loss(
            queries,
            self._model.encode_candidates(self._all_items),
            item_nums - 1,
            query_weights=weights,
            temperature=self._model.temperature,
            excluded=None if seen is None else self._columns_of(seen),
        )

    def _columns_of(self, seen: SeenItems) -> tuple[Tensor, Tensor]:
        device = self._all_items.device
        queries, item_nums = torch.from_numpy(seen.queries), torch.from_numpy(seen.item_nums)
        return queries.to(device), item_nums.to(device) - 1


class AmongItemsOfTheBatch:
    """The items of all workers' queries are scored."""

    scores_all_items = False

    def __init__(
        self, model: EmbeddingModel, train: Histories, config: PipelineConfig, comm: Communicator
    ) -> None:
        self._model = model
        self._comm = comm
        self._num_hard_negatives = config.training.num_hard_negatives
        self._remove_accidental_hits, correction = True, 1.0
        if isinstance(config.model, TwoTowerConfig):
            correction = float(config.model.logq_correction)
            self._remove_accidental_hits = config.model.remove_accidental_hits
        if isinstance(config.model, ItemToItemConfig):
            # Uncorrected, a score becomes log P(item | query) - log P(item), since popular items
            # are negatives the more often; corrected as a whole, log P(item | query). That holds
            # where a query's own item is as often its rival as the others are.
            correction = 1 - config.model.popularity_discount_factor
            self._remove_accidental_hits = False
        self._sampling_probability: Tensor | None = None
        if correction:
            probability = answer_probability(model, train, comm)
            self._sampling_probability = probability.pow(correction).float()

    def begin(self, epoch: int) -> None:
        """Nothing is drawn but the batches themselves."""

    def loss(
        self, queries: Tensor, item_nums: Tensor, weights: Tensor, seen: SeenItems | None = None
    ) -> Tensor:
        distinct, counts = torch.unique(self._comm.gather(item_nums), return_counts=True)
        probability = self._sampling_probability
        return in_batch_softmax_loss(
            queries,
            self._model.encode_candidates(distinct),
            torch.searchsorted(distinct, item_nums),
            counts.float(),
            sampling_probability=None if probability is None else probability[distinct],
            remove_accidental_hits=self._remove_accidental_hits,
            query_weights=weights,
            temperature=self._model.temperature,
            num_hard_negatives=self._num_hard_negatives,
            excluded=_columns_of(seen, distinct),
        )


def _columns_of(seen: SeenItems | None, candidates: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return pairs of a query and the place of a seen item in `candidates`, (C,) ascending."""
    if seen is None:
        return None
    queries = torch.from_numpy(seen.queries).to(candidates.device)
    item_nums = torch.from_numpy(seen.item_nums).to(candidates.device)
    columns = torch.searchsorted(candidates, item_nums).clamp(max=len(candidates) - 1)
    is_candidate = candidates[columns] == item_nums
    return queries[is_candidate], columns[is_candidate]
