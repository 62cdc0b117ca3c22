"""Two towers of items: one for the item that is asked about, one for those that may be shown.

Letters for shapes:
    B  queries    N  items    D  width of an embedding
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raysys.config import ItemToItemConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.models.base import QueryBatch, TowerModel
from raysys.models.features import FeatureTower


class ItemToItem(TowerModel):
    """The query is the anchor vector of an item: the newest one of a history.

    Args:
        features: what is known of items.
    """

    config: ItemToItemConfig

    def __init__(
        self, config: ItemToItemConfig, *, num_items: int, features: FeatureTables | None = None
    ) -> None:
        super().__init__()
        self.features = features or FeatureTables()
        self.config = config
        self.num_items = num_items
        self.embedding_dim = config.item_id_hidden_dim
        self.anchor_tower = self._tower()
        self.candidate_tower = self._tower()

    @property
    def item_tower(self) -> FeatureTower:
        return self.candidate_tower

    def forget_items(self, is_forgotten: NDArray[np.bool_]) -> None:
        """Let the ids of some items say nothing, so that their vectors follow from their features.

        So begin those from which nothing is to be learnt: chance alone would choose their
        neighbors.

        Args:
            is_forgotten: (N + 1,) by number.
        """
        rows = torch.from_numpy(is_forgotten)
        with torch.no_grad():
            self.anchor_tower.ids.weight[rows] = 0.0
            self.candidate_tower.ids.weight[rows] = 0.0

    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return the anchor vectors of the newest items, (B, D); zeros where there is none."""
        if not batch.item_nums.shape[1]:
            return self.anchor_tower.ids.weight.new_zeros(len(batch.lengths), self.embedding_dim)
        return self.anchor_tower(batch.item_nums[:, -1])  # type: ignore[no-any-return]

    def _tower(self) -> FeatureTower:
        tower = FeatureTower(
            self.num_items + 1,
            self.embedding_dim,
            table=self.features.items,
            id_dropout=self.config.id_dropout,
        )
        with torch.no_grad():
            nn.init.normal_(tower.ids.weight, std=self.embedding_dim**-0.5)
            tower.ids.weight[0].zero_()
        return tower
