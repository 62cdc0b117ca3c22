"""What every model is to the rest of raysys: two encoders and a dot product.

Letters for shapes:
    B  queries in a batch
    H  interactions of a history
    N  candidates
    D  width of an embedding
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from raysys.config import ModelConfig
from raysys.dataset.feature_table import FeatureTables
from raysys.dataset.features import FeatureEncoder
from raysys.models.context import ContextTower
from raysys.models.features import FeatureTower


@dataclass(frozen=True, slots=True)
class QueryBatch:
    """B queries. A model reads the part that it knows.

    Attributes:
        user_nums: (B,) int64; 0 for a user that the vocabulary does not hold.
        item_nums: (B, H) int64, oldest first, left-padded with 0: the newest is in the last column.
        lengths: (B,) int64: how many columns of a row are history.
        event_types, gaps: (B, H) int64, or None, as `dataset.inputs.Inputs` has them.
    """

    user_nums: Tensor
    item_nums: Tensor
    lengths: Tensor
    event_types: Tensor | None = None
    gaps: Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ItemProjection:
    """From what is known of an item to its vector.

    Attributes:
        layers: see `Projection.as_arrays`.
    """

    encoder: FeatureEncoder
    layers: list[NDArray[np.float32]]


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
    num_event_types: int = 0
    """Of the interactions of histories, told apart beside the unknown one."""
    context_sizes: tuple[int, ...] = ()
    """Categories of each column of the context; none: it asks alike in every one."""
    temperature: float = 1.0
    features: FeatureTables = FeatureTables()
    """What its towers read of items and users beside their ids."""

    @property
    def history_length(self) -> int:
        """The newest interactions that a query is made of."""
        return self.config.history_length

    @abstractmethod
    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return (B, D)."""

    @abstractmethod
    def encode_candidates(self, item_nums: Tensor) -> Tensor:
        """Return (N, D) for (N,) item numbers."""

    @abstractmethod
    def projection_of_items(self) -> ItemProjection | None:
        """Return where items without an id of their own lie; None: their ids are all there is."""


class TowerModel(EmbeddingModel):
    """Items have one tower, so such a model can be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.context: ContextTower | None = None

    def in_context(self, queries: Tensor, codes: Tensor | None) -> Tensor:
        """Return queries, (..., D), as they are in the contexts of these codes, (...)."""
        if self.context is None or codes is None:
            return queries
        moved: Tensor = queries + self.context(codes)
        return moved

    @property
    @abstractmethod
    def item_tower(self) -> FeatureTower:
        """What makes the vectors of items."""

    def encode_candidates(self, item_nums: Tensor) -> Tensor:
        vectors: Tensor = self.item_tower(item_nums)
        return vectors

    def projection_of_items(self) -> ItemProjection | None:
        projection, known = self.item_tower.projection, self.features.items
        if projection is None or known is None:
            return None
        return ItemProjection(known.encoder, projection.as_arrays())
