"""What models of histories share: what they read of interactions, and compare queries with.

    read = vector of the item + vector of the event's type + vector of the gap since the last one

The vector of the item is what a query is compared with too (tied weights): that of its id, plus
what follows from the columns of the item table. The other two begin at zero, so that an untrained
model is the one that reads items alone.
"""

from torch import Tensor, nn

from raysys.config import SequenceConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.dataset.inputs import NUM_GAPS
from raysys.models.base import TowerModel
from raysys.models.context import context_tower, zeros
from raysys.models.features import FeatureTower
from raysys.tables import UNKNOWN_NUM


class SequenceModel(TowerModel):
    """A query is made of a history alone.

    Args:
        num_event_types: that are told apart, beside the unknown one, if the settings want them.
        context_sizes: categories of each column of the context, if the settings want them.
        width: of the items' vectors, and so of the queries.
        features: what is known of items; what is known of users is not read.
    """

    def __init__(
        self,
        config: SequenceConfig,
        *,
        num_items: int,
        num_event_types: int,
        context_sizes: tuple[int, ...],
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
        self.num_event_types = num_event_types if config.event_types else 0
        self.event_types: nn.Embedding | None = None
        if self.num_event_types:
            num_rows = self.num_event_types + 1
            self.event_types = zeros(num_rows, width, padding_idx=UNKNOWN_NUM)
        self.gaps: nn.Embedding | None = None
        if config.time_gaps:
            self.gaps = zeros(NUM_GAPS, width, padding_idx=UNKNOWN_NUM)
        self.context_sizes = context_sizes if config.context else ()
        self.context = context_tower(self.context_sizes, width, dropout=config.context_dropout)

    @property
    def item_tower(self) -> FeatureTower:
        return self.items

    def embedded(
        self, item_nums: Tensor, event_types: Tensor | None = None, gaps: Tensor | None = None
    ) -> Tensor:
        """Return what is read of interactions, (..., D).

        Args:
            item_nums, event_types, gaps: (...) int64, see `dataset.inputs.Inputs`. What the model
                has no vectors for is passed over, and None is as 0 everywhere.
        """
        vectors: Tensor = self.items(item_nums)
        for table, nums in ((self.event_types, event_types), (self.gaps, gaps)):
            if table is not None and nums is not None:
                vectors = vectors + table(nums)
        return vectors
