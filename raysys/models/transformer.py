"""The sequential model of causal attention: what a history's last position gathers is the query.

The lineage of SASRec (Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018),
normalised before each part of a layer, as in GPT-2. Where SASRec learns a vector per position, here
each head learns a bias per distance between two positions (as in HSTU: Zhai et al., Actions Speak
Louder than Words, ICML 2024), so a position means the same wherever the window begins.

Letters for shapes:
    B  rows read side by side
    W  positions of a row
    Q  newest positions, all of them or the last
    D  width of an embedding
    A  heads
    E  numbers that a head reads of a position
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raysys.config import TransformerConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.models.base import QueryBatch
from raysys.models.dropout import Dropout
from raysys.models.sequence import SequenceModel
from raysys.models.tiles import round_up
from raysys.tables import UNKNOWN_NUM

_INITIAL_STD = 0.02  # of embeddings and weights, as in GPT-2


class Transformer(SequenceModel):
    """Vectors of interactions -> layers of attention -> norm -> dot product with item vectors."""

    config: TransformerConfig

    def __init__(
        self,
        config: TransformerConfig,
        *,
        num_items: int,
        num_event_types: int = 0,
        context_sizes: tuple[int, ...] = (),
        features: FeatureTables | None = None,
    ) -> None:
        width = round_up(config.hidden_dimension)
        super().__init__(
            config,
            num_items=num_items,
            num_event_types=num_event_types,
            context_sizes=context_sizes,
            width=width,
            features=features,
        )
        self.config = config
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.items.ids.weight, std=_INITIAL_STD)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=_INITIAL_STD)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.items.ids.weight[UNKNOWN_NUM].zero_()

    def read(self, embedded: Tensor, pieces: Tensor) -> Tensor:
        """Return the query after every position, (B, W, D).

        Args:
            embedded: (B, W, D): what `embedded` returns for rows of one or more pieces of
                histories, end to end.
            pieces: (B, W): equal for positions of one piece, and different for neighbouring ones.
                A position looks back at its own piece alone.
        """
        distances = distances_back(embedded.shape[1], self.config.window, embedded.device)
        is_hidden = (pieces[:, :, None] != pieces[:, None, :]) | (distances < 0)  # (B, W, W)
        mask = torch.zeros(is_hidden.shape, dtype=torch.float32, device=embedded.device)
        mask.masked_fill_(is_hidden, -math.inf)
        states = self.dropout(embedded)
        for layer in self.layers:
            states = layer(states, distances.clamp(min=0), mask[:, None])
        queries: Tensor = self.norm(states)
        return queries

    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return the query after each history, (B, D); zeros where it is empty."""
        width = batch.item_nums.shape[1]
        if not width:
            return self.items.ids.weight.new_zeros(len(batch.lengths), self.embedding_dim)
        places = torch.arange(width, device=batch.item_nums.device)
        is_item = places >= width - batch.lengths[:, None]
        embedded = self.embedded(batch.item_nums, batch.event_types, batch.gaps)
        queries = self.read(embedded, is_item)[:, -1]
        return torch.where(batch.lengths[:, None] > 0, queries, 0.0)


class TransformerLayer(nn.Module):
    """Attention, then two linear maps with a GELU between them; each is added to what it read."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, self.num_heads = round_up(config.hidden_dimension), config.num_heads
        inner = self.num_heads * round_up(-(-width // self.num_heads))
        self.attention_norm = nn.LayerNorm(width)
        self.into_heads = nn.Linear(width, 3 * inner)
        """To queries, keys and values, in this order."""
        self.distance_bias = nn.Parameter(torch.zeros(self.num_heads, config.window))
        self.out_of_heads = nn.Linear(inner, width)
        self.wide_norm = nn.LayerNorm(width)
        self.into_wide = nn.Linear(width, 4 * width)
        self.out_of_wide = nn.Linear(4 * width, width)
        self.dropout = Dropout(config.dropout)

    def forward(self, states: Tensor, distances: Tensor, mask: Tensor) -> Tensor:
        """Return the newest Q positions after this layer, (B, Q, D).

        Args:
            states: (B, W, D).
            distances: (Q, W), see `distances_back`, none below 0.
            mask: (B, 1, Q, W): 0, or -inf where a position, in row, may not see another.
        """
        num_queries = len(distances)
        heads = self.into_heads(self.attention_norm(states)).unflatten(2, (3, self.num_heads, -1))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)  # (B, A, W, E)
        bias = self.distance_bias[:, distances] + mask
        gathered = attention(queries[:, :, -num_queries:], keys, values, bias)
        states = states[:, -num_queries:]
        states = states + self.dropout(self.out_of_heads(gathered.transpose(1, 2).flatten(2)))
        wide = F.gelu(self.into_wide(self.wide_norm(states)), approximate="tanh")
        following: Tensor = states + self.dropout(self.out_of_wide(wide))
        return following


def attention(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Return softmax(queries · keys / sqrt(E) + bias) · values, (B, A, Q, E).

    On a GPU in one fused kernel. On a CPU that kernel takes no bias with a gradient.

    Args:
        queries: (B, A, Q, E).
        keys, values: (B, A, W, E).
        bias: (B, A, Q, W); -inf where nothing is to be seen, but not along a whole row.
    """
    if queries.is_cuda:
        return F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    scores = (queries * queries.shape[-1] ** -0.5) @ keys.transpose(-1, -2)
    return torch.softmax(scores + bias, dim=-1) @ values


def distances_back(num_positions: int, window: int, device: torch.device) -> Tensor:
    """Return the distance from each position, in row, back to each other.

    Returns:
        (num_positions, num_positions) int64; what is as far back as the window is long, or further,
        counts as the furthest that was learnt, window - 1; -1 where the other position is later.
    """
    positions = torch.arange(num_positions, device=device)
    return (positions[:, None] - positions).clamp(-1, window - 1)
