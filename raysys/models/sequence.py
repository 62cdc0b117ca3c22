"""What models of histories share: an item's vector is what is read and what a query is compared
with (tied weights): that of its id, plus what follows from the columns of the item table.
"""

from raysys.config import SequenceConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.models.base import TowerModel
from raysys.models.features import FeatureTower


class SequenceModel(TowerModel):
    """A query is made of a history alone.

    Args:
        width: of the items' vectors, and so of the queries.
        features: what is known of items; what is known of users is not read.
    """

    def __init__(
        self,
        config: SequenceConfig,
        *,
        num_items: int,
        width: int,
        features: FeatureTables | None,
    ) -> None:
        super().__init__()
        self.features = features or FeatureTables()
        self.num_items = num_items
        self.embedding_dim = width
        self.items = FeatureTower(
            num_items + 1, width, table=self.features.items, id_dropout=config.id_dropout
        )

    @property
    def item_tower(self) -> FeatureTower:
        return self.items
