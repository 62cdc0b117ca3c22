"""The sequential model: a GRU reads a history, its last state is the query.

Letters for shapes:
    S  steps of a segment
    B  histories side by side
    D  width of state and embedding
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raysys.config import GruConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.models.base import QueryBatch
from raysys.models.dropout import Dropout
from raysys.models.recurrence import gru_segment, new_gate_first
from raysys.models.sequence import SequenceModel
from raysys.tables import UNKNOWN_NUM


class Gru(SequenceModel):
    """Vectors of interactions -> GRU -> dropout -> dot product with item vectors."""

    config: GruConfig

    def __init__(
        self,
        config: GruConfig,
        *,
        num_items: int,
        num_event_types: int = 0,
        context_sizes: tuple[int, ...] = (),
        features: FeatureTables | None = None,
    ) -> None:
        width = config.hidden_dimension
        super().__init__(
            config,
            num_items=num_items,
            num_event_types=num_event_types,
            context_sizes=context_sizes,
            width=width,
            features=features,
        )
        self.config = config
        self.gru = nn.GRU(width, width)
        self.dropout = Dropout(config.dropout)
        nn.init.normal_(self.items.ids.weight, std=width**-0.5)
        with torch.no_grad():
            self.items.ids.weight[UNKNOWN_NUM].zero_()

    def read_segment(self, embedded: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read the next steps of B histories.

        Args:
            embedded: (S, B, D): what `embedded` returns, one column per history.
            state: (B, D), zeros at the start of a history. No gradient flows into it.

        Returns:
            The query after every step, (S, B, D), dropout applied, and the state to go on with,
            (B, D), detached. Steps behind the end of a history make both meaningless for it.
        """
        if embedded.is_cuda:
            states, last = self.gru(embedded, state.detach()[None].contiguous())
            return self.dropout(states), last[0].detach()
        input_weight, weight, input_bias, bias = self.gru_weights()
        projected = F.linear(embedded, new_gate_first(input_weight), new_gate_first(input_bias))
        states, last = gru_segment(projected, state, weight, bias)
        return self.dropout(states), last

    def gru_weights(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return what reads the input, (3D, D), the state, (3D, D), and their biases, (3D,).

        Rows are in torch's order: the reset, the update, the new gate.
        """
        names = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
        input_weight, weight, input_bias, bias = (self.gru.get_parameter(name) for name in names)
        return input_weight, weight, input_bias, bias

    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return the state after each history, (B, D); zeros where it is empty."""
        state = self.items.ids.weight.new_zeros(len(batch.lengths), self.embedding_dim)
        embedded = self.embedded(batch.item_nums, batch.event_types, batch.gaps)
        for step, read in enumerate(embedded.unbind(1)):
            stepped = self.gru(read[None], state[None])[0][0]
            begun = batch.lengths >= batch.item_nums.shape[1] - step
            state = torch.where(begun[:, None], stepped, state)
        queries: Tensor = self.dropout(state)
        return queries
