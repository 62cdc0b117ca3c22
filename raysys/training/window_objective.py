"""Learning from windows of histories."""

import numpy as np
import torch
from torch import Tensor

from raysys.config import PipelineConfig, TransformerConfig
from raysys.dataset.histories import Histories
from raysys.dataset.inputs import Inputs
from raysys.models.transformer import Transformer
from raysys.training.chosen_items import ChosenItems
from raysys.training.communication import Communicator
from raysys.training.history_objective import HistoryObjective
from raysys.training.seen_items import NOTHING_SEEN
from raysys.training.window_batches import WindowBatch, WindowBatches


class WindowObjective(HistoryObjective[WindowBatch]):
    """A place reads its own window alone."""

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
        batches = WindowBatches(
            train,
            num_rows=num_rows,
            window=settings.window,
            half_life=settings.half_life,
            time_gaps=settings.time_gaps,
            seed=(config.training.seed, comm.rank),
        )
        super().__init__(model, train, chosen_items, batches, _NO_WINDOW)
        self._transformer = model

    def _queries(self, batch: WindowBatch) -> Tensor:
        pieces = torch.from_numpy(batch.pieces).to(self._device)
        return self._transformer.read(self._embedded(batch), pieces)


_NO_WINDOW = WindowBatch(
    inputs=Inputs(np.zeros((1, 1), np.int64)),
    targets=np.zeros((1, 1), np.int64),
    weights=np.zeros((1, 1), np.float32),
    seen=NOTHING_SEEN,
    contexts=None,
    users=np.zeros(0, np.int64),
    pieces=np.zeros((1, 1), np.int64),
)
