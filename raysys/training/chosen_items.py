"""How surprised queries are by the items they led to."""

import numpy as np
import torch
from torch import Tensor

from raysys.config import PipelineConfig, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.models.base import EmbeddingModel
from raysys.models.losses import full_softmax_loss, in_batch_softmax_loss
from raysys.training.communication import Communicator


class ChosenItems:
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
