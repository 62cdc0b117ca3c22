"""Two towers: a vector for a user and one for an item, each of an id and of what is known of it."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from raysys.config import TwoTowerConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.models.base import QueryBatch, TowerModel
from raysys.models.context import context_tower
from raysys.models.features import FeatureTower

_INITIAL_BOUND = 0.05  # as Keras fills embeddings, which TensorFlow Recommenders leaves as it is


class TwoTower(TowerModel):
    """The query is the user's vector; an unknown user's is that of a bucket, else zero.

    Args:
        features: what is known of users and items. Ids of items that have features begin at zero,
            so that an item which nobody has met lies where its features put it; ids of users do
            where items have none.
    """

    config: TwoTowerConfig

    def __init__(
        self,
        config: TwoTowerConfig,
        *,
        num_items: int,
        num_users: int,
        context_sizes: tuple[int, ...] = (),
        features: FeatureTables | None = None,
    ) -> None:
        super().__init__()
        self.features = features or FeatureTables()
        self.config = config
        self.num_items = num_items
        self.num_users = num_users
        self.embedding_dim = config.embedding_dim
        self.temperature = config.temperature
        self.num_user_buckets = config.num_user_buckets
        self.query_tower = FeatureTower(
            num_users + 1 + self.num_user_buckets,
            config.embedding_dim,
            table=self.features.users,
            hidden_layers=config.hidden_layers,
            id_dropout=config.id_dropout,
        )
        self.candidate_tower = FeatureTower(
            num_items + 1,
            config.embedding_dim,
            table=self.features.items,
            hidden_layers=config.hidden_layers,
            id_dropout=config.id_dropout,
        )
        # One side begins at zero, or chance would be taken for taste: over 15 seeds top-100 of the
        # TFRS retrieval tutorial is 0.2423 (spread 0.0020) where users do, else 0.2403 (0.0030).
        num_filled = (0, num_items + 1) if self.features.items is None else (num_users + 1, 0)
        _fill(self.query_tower.ids.weight, num_filled[0])
        _fill(self.candidate_tower.ids.weight, num_filled[1])
        self.context_sizes = context_sizes if config.context else ()
        self.context = context_tower(
            self.context_sizes, config.embedding_dim, dropout=config.context_dropout
        )
        self.rating_head = RatingHead(config.embedding_dim) if config.retrieval_weight else None

    @property
    def item_tower(self) -> FeatureTower:
        return self.candidate_tower

    def forget_users(self, is_forgotten: NDArray[np.bool_]) -> None:
        """Let the vectors of some users be zero, but for what follows from their features.

        So begin those from whom nothing is to be learnt: a vector that chance alone made would rank
        at random, and be taken for somebody's taste.

        Args:
            is_forgotten: (num_users + 1 + num_user_buckets,) by number.
        """
        with torch.no_grad():
            self.query_tower.ids.weight[torch.from_numpy(is_forgotten)] = 0.0

    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return the user vectors, (B, D); the histories are not read."""
        return self.query_tower(batch.user_nums)  # type: ignore[no-any-return]


class RatingHead(nn.Module):
    """What value an event of a user and an item has, from the vectors that also say who likes what.

    Linear in both vectors and in their product, number by number: their own levels, and how they
    fit. It begins at the mean of all values, `bias`.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.cat([torch.zeros(2 * width), torch.ones(width)]))
        self.bias = nn.Parameter(torch.zeros(1))

    def start_at(self, mean: float) -> None:
        """Let the untrained head predict the mean of all values; one that has learnt stays."""
        with torch.no_grad():
            self.bias[self.bias == 0] = mean

    def forward(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Return (B,) values for (B, D) queries and, row by row, (B, D) candidates."""
        together = torch.cat([queries, candidates, queries * candidates], dim=1)
        return F.linear(together, self.weight[None], self.bias)[:, 0]


def _fill(table: Tensor, num_rows: int) -> None:
    """Fill the first rows of a table but that of the unknown; the others are zero."""
    with torch.no_grad():
        table.zero_()
        nn.init.uniform_(table[:num_rows], -_INITIAL_BOUND, _INITIAL_BOUND)
        table[0] = 0.0
