"""The sequential model of causal attention: what a history's last position gathers is the query.

The lineage of SASRec (Kang and McAuley, Self-Attentive Sequential Recommendation, ICDM 2018),
normalised before each part of a layer, as in GPT-2. Where SASRec learns a vector per position, here
each head learns a bias per distance between two positions (Raffel et al., Exploring the Limits of
Transfer Learning, JMLR 2020, whose buckets these are; HSTU has one per distance), so a position
means the same wherever the window begins. Attention alone cannot tell how much it has seen; so with
an item is read how many interactions came before it. An item's embedding is what is read and what a
query is compared with (tied weights).

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
from raysys.models.base import EmbeddingModel, QueryBatch
from raysys.models.dropout import Dropout
from raysys.models.tiles import round_up
from raysys.tables import UNKNOWN_NUM

NUM_BUCKETS = 32
"""Of distances, and of depths: 16 of one count each, then wider ones up to the window."""
_INITIAL_STD = 0.02  # of embeddings and weights, as in GPT-2


class Transformer(EmbeddingModel):
    """Item embeddings -> layers of attention -> norm -> dot product with item embeddings."""

    config: TransformerConfig

    def __init__(self, config: TransformerConfig, *, num_items: int) -> None:
        super().__init__()
        width = round_up(config.hidden_dimension)
        self.config = config
        self.num_items = num_items
        self.embedding_dim = width
        self.items = nn.Embedding(num_items + 1, width, padding_idx=UNKNOWN_NUM)
        self.depths = nn.Embedding(NUM_BUCKETS, width)
        self.dropout = Dropout(config.dropout)
        self.layers = nn.ModuleList(TransformerLayer(config) for _ in range(config.num_layers))
        self.norm = nn.LayerNorm(width)
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.Linear):
                nn.init.normal_(module.weight, std=_INITIAL_STD)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.items.weight[UNKNOWN_NUM].zero_()

    def read(self, item_nums: Tensor, pieces: Tensor, depths: Tensor) -> Tensor:
        """Return the query after every position, (B, W, D).

        Args:
            item_nums: (B, W) int64: rows of one or more pieces of histories, end to end.
            pieces: (B, W): equal for positions of one piece, and different for neighbouring ones.
                A position looks back at its own piece alone.
            depths: (B, W) int64: how many older interactions a history has.
        """
        buckets = distance_buckets(item_nums.shape[1], self.config.window, item_nums.device)
        is_hidden = (pieces[:, :, None] != pieces[:, None, :]) | (buckets < 0)  # (B, W, W)
        mask = torch.zeros(is_hidden.shape, dtype=torch.float32, device=item_nums.device)
        mask.masked_fill_(is_hidden, -math.inf)
        states = self.dropout(self.embedded(item_nums, depths))
        for layer in self.layers:
            states = layer(states, buckets.clamp(min=0), mask[:, None])
        queries: Tensor = self.norm(states)
        return queries

    def embedded(self, item_nums: Tensor, depths: Tensor) -> Tensor:
        """Return what the first layer reads, (B, W, D): see `read`."""
        embedded: Tensor = self.items(item_nums) + self.depths(
            buckets_of(depths, self.config.window)
        )
        return embedded

    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return the query after each history, (B, D); zeros where it is empty."""
        width = batch.item_nums.shape[1]
        if not width:
            return self.items.weight.new_zeros(len(batch.lengths), self.embedding_dim)
        places = torch.arange(width, device=batch.item_nums.device)
        depths = places - (width - batch.lengths[:, None])
        queries = self.read(batch.item_nums, depths >= 0, depths.clamp(min=0))[:, -1]
        return torch.where(batch.lengths[:, None] > 0, queries, 0.0)

    def encode_candidates(self, item_nums: Tensor) -> Tensor:
        """Return the item embeddings, (N, D)."""
        return F.embedding(item_nums, self.items.weight, sparse=self.items.sparse)


class TransformerLayer(nn.Module):
    """Attention, then two linear maps with a ReLU between them; each is added to what it read."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width, self.num_heads = round_up(config.hidden_dimension), config.num_heads
        inner = self.num_heads * round_up(-(-width // self.num_heads))
        self.attention_norm = nn.LayerNorm(width)
        self.into_heads = nn.Linear(width, 3 * inner)
        """To queries, keys and values, in this order."""
        self.distance_bias = nn.Parameter(torch.zeros(self.num_heads, NUM_BUCKETS))
        self.out_of_heads = nn.Linear(inner, width)
        self.wide_norm = nn.LayerNorm(width)
        self.into_wide = nn.Linear(width, 4 * width)
        self.out_of_wide = nn.Linear(4 * width, width)
        self.dropout = Dropout(config.dropout)

    def forward(self, states: Tensor, buckets: Tensor, mask: Tensor) -> Tensor:
        """Return the newest Q positions after this layer, (B, Q, D).

        Args:
            states: (B, W, D).
            buckets: (Q, W) of distances, see `distance_buckets`, none below 0.
            mask: (B, 1, Q, W): 0, or -inf where a position, in row, may not see another.
        """
        num_queries = len(buckets)
        heads = self.into_heads(self.attention_norm(states)).unflatten(2, (3, self.num_heads, -1))
        queries, keys, values = heads.permute(2, 0, 3, 1, 4)  # (B, A, W, E)
        bias = self.distance_bias[:, buckets] + mask
        gathered = attention(queries[:, :, -num_queries:], keys, values, bias)
        states = states[:, -num_queries:]
        states = states + self.dropout(self.out_of_heads(gathered.transpose(1, 2).flatten(2)))
        wide = F.relu(self.into_wide(self.wide_norm(states)))
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


def distance_buckets(num_positions: int, window: int, device: torch.device) -> Tensor:
    """Return the bucket of the distance from each position, in row, back to each other.

    Returns:
        (num_positions, num_positions) int64, see `buckets_of`; -1 where the other one is later.
    """
    positions = torch.arange(num_positions, device=device)
    distances = positions[:, None] - positions
    return torch.where(distances < 0, -1, buckets_of(distances.clamp(min=0), window))


def buckets_of(counts: Tensor, window: int) -> Tensor:
    """Return the bucket of each count of interactions, from 0 on, in [0, NUM_BUCKETS).

    Counts below 16 have their own; the others share, ever more to a bucket, up to the last, which
    holds all that are as long as the window, or longer.
    """
    exact = NUM_BUCKETS // 2
    share = (counts.clamp(min=exact) / exact).log() / math.log(max(window, exact + 1) / exact)
    shared = (exact + (share * (NUM_BUCKETS - exact)).long()).clamp(max=NUM_BUCKETS - 1)
    return torch.where(counts < exact, counts, shared)
