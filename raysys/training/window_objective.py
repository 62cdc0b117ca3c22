"""Learning from windows of histories, every position of which predicts the next item."""

from collections.abc import Iterator

import numpy as np
import torch

from raysys.config import PipelineConfig, TransformerConfig
from raysys.dataset.histories import Histories
from raysys.models.transformer import Transformer
from raysys.training.chosen_items import ChosenItems
from raysys.training.communication import Communicator
from raysys.training.objective import StepLoss
from raysys.training.seen_items import SeenItems
from raysys.training.window_batches import WindowBatch, WindowBatches


class WindowObjective:
    """Every position of a history predicts the next item from its own window.

    It chooses from what its user had not seen, as in `SegmentObjective`.
    """

    def __init__(
        self,
        model: Transformer,
        train: Histories,
        chosen_items: ChosenItems,
        config: PipelineConfig,
        num_rows: int,
        comm: Communicator,
    ) -> None:
        settings = config.model
        assert isinstance(settings, TransformerConfig)
        self._model = model
        self._chosen_items = chosen_items
        self._user_ids = train.user_ids
        self._batches = WindowBatches(
            train,
            num_rows=num_rows,
            window=settings.window,
            half_life=settings.recency_half_life if settings.recency_mask else None,
            seed=(config.training.seed, comm.rank),
        )
        self.num_examples = self._batches.num_examples
        self._device = next(model.parameters()).device

    def batches(self, epoch: int) -> Iterator[WindowBatch]:
        return self._batches.epoch(epoch)

    def users(self, batch: WindowBatch) -> list[str]:
        names: list[str] = self._user_ids.take(batch.users).to_pylist()
        return names

    def loss(self, batch: WindowBatch | None) -> StepLoss:
        if batch is None:
            batch = _NO_WINDOW
        inputs = torch.from_numpy(batch.inputs).to(self._device)
        queries = self._model.read(inputs, torch.from_numpy(batch.pieces).to(self._device))
        is_target = batch.targets != 0
        places = torch.from_numpy(np.flatnonzero(is_target)).to(self._device)
        weights = batch.weights[is_target]
        total = self._chosen_items.loss(
            queries.flatten(0, 1)[places],
            torch.from_numpy(batch.targets[is_target]).to(self._device),
            torch.from_numpy(weights).to(self._device),
            seen=batch.seen,
        )
        return StepLoss(total, float(weights.sum()), len(weights))


_NO_WINDOW = WindowBatch(
    np.zeros((1, 1), np.int64),
    np.zeros((1, 1), np.int64),
    np.zeros((1, 1), np.int64),
    np.zeros((1, 1), np.float32),
    np.zeros(0, np.int64),
    SeenItems(np.zeros(0, np.int64), np.zeros(0, np.int64)),
)
