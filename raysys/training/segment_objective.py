"""Learning from segments of histories, whose states are carried on."""

import numpy as np
import torch
from torch import Tensor

from raysys.config import GruConfig, PipelineConfig
from raysys.dataset.histories import Histories
from raysys.dataset.inputs import Inputs
from raysys.models.gru import Gru
from raysys.training.chosen_items import ChosenItems
from raysys.training.communication import Communicator
from raysys.training.history_objective import HistoryObjective
from raysys.training.seen_items import NOTHING_SEEN
from raysys.training.segment_batches import SegmentBatch, SegmentBatches


class SegmentObjective(HistoryObjective[SegmentBatch]):
    """States are carried between segments."""

    def __init__(
        self,
        model: Gru,
        train: Histories,
        chosen_items: ChosenItems,
        config: PipelineConfig,
        num_lanes: int,
        comm: Communicator,
    ) -> None:
        settings = config.model
        assert isinstance(settings, GruConfig)
        batches = SegmentBatches(
            train,
            num_lanes=num_lanes,
            num_steps=settings.bptt,
            half_life=settings.half_life,
            time_gaps=settings.time_gaps,
            seed=(config.training.seed, comm.rank),
        )
        super().__init__(model, train, chosen_items, batches, _NO_SEGMENT)
        self._gru = model
        self._state = torch.zeros(0, model.embedding_dim, device=self._device)

    def _queries(self, batch: SegmentBatch) -> Tensor:
        continues = torch.from_numpy(batch.continues).to(self._device)
        state = torch.zeros(len(continues), self._gru.embedding_dim, device=self._device)
        if len(self._state):
            carried = self._state[continues.clamp(min=0)]
            state = torch.where((continues >= 0)[:, None], carried, state)
        states, self._state = self._gru.read_segment(self._embedded(batch), state)
        return states


_NO_SEGMENT = SegmentBatch(
    inputs=Inputs(np.zeros((1, 0), np.int64)),
    targets=np.zeros((1, 0), np.int64),
    weights=np.zeros((1, 0), np.float32),
    seen=NOTHING_SEEN,
    contexts=None,
    users=np.zeros(0, np.int64),
    continues=np.zeros(0, np.int64),
)
