"""Learning from pairs of items."""

from collections.abc import Iterator

import numpy as np
import torch

from raysys.config import ItemToItemConfig, PipelineConfig
from raysys.dataset.histories import Histories
from raysys.models.item_to_item import ItemToItem
from raysys.training.chosen_items import ChosenItems
from raysys.training.co_interactions import NO_PAIRS, CoInteractions, ItemPairs
from raysys.training.communication import Communicator
from raysys.training.objective import StepLoss
from raysys.training.seen_items import SeenItems


class ItemPairObjective:
    """Every anchor asks for its context among the items of the batch; itself is no rival."""

    def __init__(
        self,
        model: ItemToItem,
        train: Histories,
        chosen_items: ChosenItems,
        config: PipelineConfig,
        batch_size: int,
        comm: Communicator,
    ) -> None:
        settings = config.model
        assert isinstance(settings, ItemToItemConfig)
        self._anchor_tower = model.anchor_tower
        self._chosen_items = chosen_items
        self._user_ids = train.user_ids
        self._pairs = CoInteractions(
            train,
            window=settings.window,
            batch_size=batch_size,
            seed=(config.training.seed, comm.rank),
        )
        self.num_examples = self._pairs.num_examples
        self._device = next(model.parameters()).device

    def batches(self, epoch: int) -> Iterator[ItemPairs]:
        return self._pairs.epoch(epoch)

    def users(self, batch: ItemPairs) -> list[str]:
        names: list[str] = self._user_ids.take(np.unique(batch.users)).to_pylist()
        return names

    def loss(self, batch: ItemPairs | None) -> StepLoss:
        batch = batch or NO_PAIRS
        anchors, contexts, weights = (
            torch.from_numpy(each).to(self._device)
            for each in (batch.anchors, batch.contexts, batch.weights)
        )
        own = SeenItems(np.arange(len(anchors)), batch.anchors)
        total = self._chosen_items.loss(self._anchor_tower(anchors), contexts, weights, seen=own)
        return StepLoss(total, float(batch.weights.sum()), len(contexts))
