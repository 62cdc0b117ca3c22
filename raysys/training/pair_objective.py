"""Learning from pairs of a user and an item."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysys.config import PipelineConfig, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.models.base import QueryBatch
from raysys.models.losses import squared_error_loss
from raysys.models.two_tower import TwoTower
from raysys.training.chosen_items import ChosenItems
from raysys.training.communication import Communicator
from raysys.training.objective import StepLoss
from raysys.training.pair_batches import PairBatch, PairBatches


class PairObjective:
    """Every interaction asks its user's vector for its item or, if it has a label, for that.

    Where the settings give both a weight, it asks for both: the score for the item, and the model's
    rating head for the label.
    """

    def __init__(
        self,
        model: TwoTower,
        train: Histories,
        user_nums: NDArray[np.integer],
        chosen_items: ChosenItems,
        config: PipelineConfig,
        batch_size: int,
        comm: Communicator,
    ) -> None:
        self._model = model
        self._chosen_items = chosen_items
        self._user_ids, self._user_nums = train.user_ids, user_nums
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
        settings = config.model
        assert isinstance(settings, TwoTowerConfig)
        self._settings = settings
        if self._predicts_labels and model.rating_head is not None:
            model.rating_head.start_at(self._mean_label)

    def batches(self, epoch: int) -> Iterator[PairBatch]:
        return self._batches.epoch(epoch)

    def users(self, batch: PairBatch) -> list[str]:
        rows = np.flatnonzero(np.isin(self._user_nums, batch.user_nums))
        names: list[str] = self._user_ids.take(rows).to_pylist()
        return names

    def loss(self, batch: PairBatch | None) -> StepLoss:
        batch = batch or _NO_PAIRS
        users = torch.from_numpy(batch.user_nums).to(self._device)
        no_history = users.new_zeros(len(users), 0)
        queries = self._model.encode_queries(QueryBatch(users, no_history, users.new_zeros(0)))
        if batch.contexts is not None:
            contexts = torch.from_numpy(batch.contexts).to(self._device)
            queries = self._model.in_context(queries, contexts)
        items = torch.from_numpy(batch.item_nums).to(self._device)
        weights = torch.from_numpy(batch.weights).to(self._device)
        if self._predicts_labels:
            labels = torch.from_numpy(batch.labels).to(self._device)
            total = self._loss_of_labels(queries, items, labels, weights)
        else:
            total = self._chosen_items.loss(queries, items, weights)
        return StepLoss(total, float(batch.weights.sum()), len(items))

    def _loss_of_labels(
        self, queries: Tensor, items: Tensor, labels: Tensor, weights: Tensor
    ) -> Tensor:
        candidates = self._model.encode_candidates(items)
        if self._model.rating_head is None:
            return squared_error_loss(
                queries,
                candidates,
                labels - self._mean_label,
                query_weights=weights,
                temperature=self._model.temperature,
            )
        values: Tensor = self._model.rating_head(queries, candidates)
        of_values = (weights * (values - labels).square()).sum()
        of_items = self._chosen_items.loss(queries, items, weights)
        settings = self._settings
        return settings.retrieval_weight * of_items + settings.rating_weight * of_values


_NO_FLOATS = np.zeros(0, np.float32)
_NO_PAIRS = PairBatch(np.zeros(0, np.int64), np.zeros(0, np.int64), _NO_FLOATS, _NO_FLOATS)
