"""Models that are counted, not learnt: each item has one score, and everybody the same query.

Letters for shapes:
    B  queries    N  items
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raysys.config import PopularityConfig, TrendingConfig
from raysys.models.base import QueryBatch, TowerModel
from raysys.models.features import FeatureTower


class Counted(TowerModel):
    """An item's vector is its score, the query is 1: measured and indexed as every other model.

    Uncounted, and for items that nobody has met, the score is 0.
    """

    config: PopularityConfig | TrendingConfig

    def __init__(self, config: PopularityConfig | TrendingConfig, *, num_items: int) -> None:
        super().__init__()
        self.config = config
        self.num_items = num_items
        self.embedding_dim = 1
        self.items = FeatureTower(num_items + 1, 1)
        torch.nn.init.zeros_(self.items.ids.weight)

    @property
    def item_tower(self) -> FeatureTower:
        return self.items

    def set_scores(self, scores: NDArray[np.floating]) -> None:
        """Let these be the scores, (N + 1,) by item number; the first one, of no item, stays 0."""
        with torch.no_grad():
            self.items.ids.weight[1:, 0] = torch.from_numpy(scores[1:]).to(self.items.ids.weight)

    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return (B, 1) ones."""
        return self.items.ids.weight.new_ones(len(batch.user_nums), 1)
