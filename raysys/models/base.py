"""What every model is to the rest of raysys: two encoders and a dot product.

Letters for shapes:
    B  queries in a batch
    H  interactions of a history
    N  candidates
    D  width of an embedding
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn

from raysys.config import ModelConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.models.features import FeatureTower


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """B queries. A model reads the part that it knows.

    Attributes:
        user_nums: (B,) int64; 0 for a user that the vocabulary does not hold.
        item_nums: (B, H) int64, oldest first, left-padded with 0: the newest is in the last column.
        lengths: (B,) int64: how many columns of a row are history.
    """

    user_nums: Tensor
    item_nums: Tensor
    lengths: Tensor


class EmbeddingModel(nn.Module, ABC):
    """Queries and candidates as vectors of one width; score = dot product / temperature.

    Tables are `nn.Embedding`s, and are looked up by calling them or with `sparse=table.sparse`:
    training sets `sparse` on those that are too large to be touched as a whole.
    """

    config: ModelConfig
    embedding_dim: int
    num_items: int
    num_user_buckets: int = 0
    """Of the users without a number of their own, see `Vocabulary.numbers`."""
    temperature: float = 1.0
    features: FeatureTables = FeatureTables()
    """What its towers read of items and users beside their ids."""

    @property
    @abstractmethod
    def item_tower(self) -> FeatureTower:
        """What makes the vectors of items."""

    @property
    def history_length(self) -> int:
        """The newest interactions that a query is made of."""
        return self.config.history_length

    @abstractmethod
    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return (B, D)."""

    def encode_candidates(self, item_nums: Tensor) -> Tensor:
        """Return (N, D) for (N,) item numbers."""
        vectors: Tensor = self.item_tower(item_nums)
        return vectors
