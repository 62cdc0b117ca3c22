"""What a step of training is for each kind of model: from histories to a summed loss."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysys.config import GruConfig, PipelineConfig, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.errors import TrainingError
from raysys.models.base import EmbeddingModel, QueryBatch
from raysys.models.gru import Gru
from raysys.models.losses import full_softmax_loss, in_batch_softmax_loss, squared_error_loss
from raysys.models.two_tower import TwoTower
from raysys.training.batches import PairBatch, PairBatches, SegmentBatch, SegmentBatches
from raysys.training.communication import Communicator


@dataclass(frozen=True, slots=True)
class StepLoss:
    """`total` is the weighted sum in nats over `num_examples`, whose weights sum to `weight`."""

    total: Tensor
    weight: float
    num_examples: int


class Objective(Protocol):
    """One worker's part of the examples."""

    num_examples: int
    """Of this worker, per epoch."""

    def batches(self, epoch: int) -> Iterator[Any]:
        """Yield the batches of one epoch, the same on every run."""

    def loss(self, batch: Any | None) -> StepLoss:
        """Return the loss of one batch; None where this worker has no batch left, others do."""


def build_objective(
    model: EmbeddingModel,
    train: Histories,
    user_nums: NDArray[np.integer] | None,
    config: PipelineConfig,
    comm: Communicator,
) -> Objective:
    """Return the objective for the model's kind.

    Raises:
        TrainingError: a two-tower model was given no user numbers.
    """
    choose = _ChosenItems(model, train, config, comm)
    lanes = _share_of(config.training.batch_size, comm)
    if isinstance(model, Gru):
        return _SegmentObjective(model, train, choose, config, lanes, comm)
    if not isinstance(model, TwoTower):
        raise TrainingError(f"There is no objective for a {type(model).__name__} yet.")
    if user_nums is None:
        raise TrainingError(
            "A two-tower model learns one embedding per user, but no user numbers were given. "
            "Pass user_nums: the user vocabulary's numbers of train.user_ids."
        )
    return _PairObjective(model, train, user_nums, choose, config, lanes, comm)


def _share_of(batch_size: int, comm: Communicator) -> int:
    share, remainder = divmod(batch_size, comm.num_ranks)
    return max(1, share + (comm.rank < remainder))


class _ChosenItems:
    """How surprised queries are by the items they led to: among all items, or those of the batch.

    The batch is that of all workers together, so that the loss does not depend on their number.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        train: Histories,
        config: PipelineConfig,
        comm: Communicator,
    ) -> None:
        self._model = model
        self._comm = comm
        self._options: dict[str, bool] = {"remove_accidental_hits": True}
        device = next(model.parameters()).device
        self._all_items: Tensor | None = None
        self._sampling_probability: Tensor | None = None
        if model.num_items <= config.training.full_softmax_up_to:
            self._all_items = torch.arange(1, model.num_items + 1, device=device)
            return
        logq_correction = True
        if isinstance(config.model, TwoTowerConfig):
            logq_correction = config.model.logq_correction
            self._options["remove_accidental_hits"] = config.model.remove_accidental_hits
        if logq_correction:
            counts = np.zeros(model.num_items + 1, np.int64)
            for block in train.blocks():
                counts += np.bincount(block.targets().item_nums, minlength=len(counts))
            frequency = torch.from_numpy(counts).to(device, torch.float64)
            frequency[0] = 0.0
            comm.sum_([frequency])
            self._sampling_probability = (frequency / frequency.sum()).float()

    def loss(self, queries: Tensor, item_nums: Tensor, weights: Tensor) -> Tensor:
        """Return the summed loss of (B, D) queries that led to (B,) items, (B,) weights."""
        temperature = self._model.temperature
        if self._all_items is not None:
            return full_softmax_loss(
                queries,
                self._model.encode_candidates(self._all_items),
                item_nums - 1,
                query_weights=weights,
                temperature=temperature,
            )
        distinct, counts = torch.unique(self._comm.gather(item_nums), return_counts=True)
        probability = self._sampling_probability
        return in_batch_softmax_loss(
            queries,
            self._model.encode_candidates(distinct),
            torch.searchsorted(distinct, item_nums),
            counts.float(),
            sampling_probability=None if probability is None else probability[distinct],
            query_weights=weights,
            temperature=temperature,
            **self._options,
        )


class _SegmentObjective:
    """Every position of a history predicts the next item; states are carried between segments."""

    def __init__(
        self,
        model: Gru,
        train: Histories,
        chosen_items: _ChosenItems,
        config: PipelineConfig,
        num_lanes: int,
        comm: Communicator,
    ) -> None:
        settings = config.model
        assert isinstance(settings, GruConfig)
        self._model = model
        self._chosen_items = chosen_items
        self._batches = SegmentBatches(
            train,
            num_lanes=num_lanes,
            num_steps=settings.bptt,
            half_life=settings.recency_half_life if settings.recency_mask else None,
            seed=(config.training.seed, comm.rank),
        )
        self.num_examples = self._batches.num_examples
        self._device = next(model.parameters()).device
        self._state = torch.zeros(0, model.embedding_dim, device=self._device)

    def batches(self, epoch: int) -> Iterator[SegmentBatch]:
        return self._batches.epoch(epoch)

    def loss(self, batch: SegmentBatch | None) -> StepLoss:
        if batch is None:
            batch = _NO_SEGMENT
        continues = torch.from_numpy(batch.continues).to(self._device)
        state = torch.zeros(len(continues), self._model.embedding_dim, device=self._device)
        if len(self._state):
            carried = self._state[continues.clamp(min=0)]
            state = torch.where((continues >= 0)[:, None], carried, state)
        inputs = torch.from_numpy(batch.inputs).to(self._device)
        states, self._state = self._model.read_segment(inputs, state)
        is_target = batch.targets != 0
        places = torch.from_numpy(np.flatnonzero(is_target)).to(self._device)
        weights = batch.weights[is_target]
        total = self._chosen_items.loss(
            states.flatten(0, 1)[places],
            torch.from_numpy(batch.targets[is_target]).to(self._device),
            torch.from_numpy(weights).to(self._device),
        )
        return StepLoss(total, float(weights.sum()), len(weights))


class _PairObjective:
    """Every interaction asks its user's embedding for its item or, if it has a label, for that."""

    def __init__(
        self,
        model: TwoTower,
        train: Histories,
        user_nums: NDArray[np.integer],
        chosen_items: _ChosenItems,
        config: PipelineConfig,
        batch_size: int,
        comm: Communicator,
    ) -> None:
        self._model = model
        self._chosen_items = chosen_items
        self._batches = PairBatches(
            train, user_nums, batch_size=batch_size, seed=(config.training.seed, comm.rank)
        )
        self.num_examples = self._batches.num_examples
        self._device = next(model.parameters()).device
        labels = self._batches.labels
        totals = torch.tensor([labels.sum(dtype=np.float64), len(labels)], device=self._device)
        comm.sum_([totals])
        self._predicts_labels = bool(totals[1] > 0)
        self._mean_label = float(totals[0] / totals[1].clamp(min=1))

    def batches(self, epoch: int) -> Iterator[PairBatch]:
        return self._batches.epoch(epoch)

    def loss(self, batch: PairBatch | None) -> StepLoss:
        batch = batch or _NO_PAIRS
        users = torch.from_numpy(batch.user_nums).to(self._device)
        no_history = users.new_zeros(len(users), 0)
        queries = self._model.encode_queries(QueryBatch(users, no_history, users.new_zeros(0)))
        items = torch.from_numpy(batch.item_nums).to(self._device)
        weights = torch.from_numpy(batch.weights).to(self._device)
        if self._predicts_labels:
            total = squared_error_loss(
                queries,
                self._model.encode_candidates(items),
                torch.from_numpy(batch.labels).to(self._device) - self._mean_label,
                query_weights=weights,
                temperature=self._model.temperature,
            )
        else:
            total = self._chosen_items.loss(queries, items, weights)
        return StepLoss(total, float(batch.weights.sum()), len(items))


_NO_SEGMENT = SegmentBatch(
    np.zeros((1, 0), np.int64),
    np.zeros((1, 0), np.int64),
    np.zeros((1, 0), np.float32),
    np.zeros(0, np.int64),
)
_NO_FLOATS = np.zeros(0, np.float32)
_NO_PAIRS = PairBatch(np.zeros(0, np.int64), np.zeros(0, np.int64), _NO_FLOATS, _NO_FLOATS)
