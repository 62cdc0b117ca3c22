"""Two towers over ids: a user embedding and an item embedding."""

import torch.nn.functional as F
from torch import Tensor, nn

from raysys.config import TwoTowerConfig
from raysys.models.base import EmbeddingModel, QueryBatch
from raysys.tables import UNKNOWN_NUM

_INITIAL_BOUND = 0.05  # as Keras fills embeddings, which TensorFlow Recommenders leaves as it is


class TwoTower(EmbeddingModel):
    """The query is the user's embedding; an unknown user's is that of a bucket, else zero."""

    config: TwoTowerConfig

    def __init__(self, config: TwoTowerConfig, *, num_items: int, num_users: int) -> None:
        super().__init__()
        self.config = config
        self.num_items = num_items
        self.num_users = num_users
        self.embedding_dim = config.embedding_dim
        self.temperature = config.temperature
        self.num_user_buckets = config.num_user_buckets
        self.query_tower = _embedding(num_users + 1 + self.num_user_buckets, config.embedding_dim)
        self.query_tower.weight.detach()[num_users + 1 :].zero_()
        self.candidate_tower = _embedding(num_items + 1, config.embedding_dim)

    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return the user embeddings, (B, D); the histories are not read."""
        return self.query_tower(batch.user_nums)  # type: ignore[no-any-return]

    def encode_candidates(self, item_nums: Tensor) -> Tensor:
        """Return the item embeddings, (N, D)."""
        return F.embedding(item_nums, self.candidate_tower.weight)


def _embedding(num_rows: int, width: int) -> nn.Embedding:
    table = nn.Embedding(num_rows, width, padding_idx=UNKNOWN_NUM)
    nn.init.uniform_(table.weight, -_INITIAL_BOUND, _INITIAL_BOUND)
    table.weight.detach()[UNKNOWN_NUM].zero_()
    return table
