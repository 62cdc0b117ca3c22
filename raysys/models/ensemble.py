"""Several models that rank together: their vectors lie side by side, so that scores add up.

Letters for shapes:
    B  queries    N  items    D  width of an embedding, the padded widths of all members together
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from raysys.config import EnsembleConfig
from raysys.models.base import EmbeddingModel, ItemProjection, QueryBatch
from raysys.models.sequence import SequenceModel
from raysys.models.tiles import padded_width, round_up


class Ensemble(EmbeddingModel):
    """score = sum over members of share * score of the member, where the shares sum to 1.

    A softmax of such scores is the normalised geometric mean of the members' probabilities. It is
    made of trained models and cannot be trained itself.

    Args:
        members: for the same items, in the order of the settings.
    """

    config: EnsembleConfig

    def __init__(self, config: EnsembleConfig, members: Sequence[SequenceModel]) -> None:
        super().__init__()
        self.config = config
        self.num_items = members[0].num_items
        self.embedding_dim = sum(round_up(member.embedding_dim) for member in members)
        self.members = nn.ModuleList(members)
        total = sum(config.weights)
        self.shares = [weight / total for weight in config.weights]

    def each(self) -> list[tuple[SequenceModel, float]]:
        """Return the members with their shares."""
        members = [member for member in self.members if isinstance(member, SequenceModel)]
        return list(zip(members, self.shares, strict=True))

    def encode_queries(self, batch: QueryBatch) -> Tensor:
        """Return (B, D)."""
        vectors = [padded_width(each.encode_queries(batch)) * share for each, share in self.each()]
        return torch.cat(vectors, dim=1)

    def encode_candidates(self, item_nums: Tensor) -> Tensor:
        vectors = [padded_width(each.encode_candidates(item_nums)) for each, _ in self.each()]
        return torch.cat(vectors, dim=1)

    def projection_of_items(self) -> ItemProjection | None:
        """Return the members' projections side by side; None where they read different features."""
        found = [member.projection_of_items() for member, _ in self.each()]
        known = [each for each in found if each is not None]
        if len(known) < len(found) or any(each.encoder != known[0].encoder for each in known):
            return None
        # Models of histories have no hidden layers: one product and its bias.
        pairs = zip(*(each.layers for each in known), strict=True)
        return ItemProjection(known[0].encoder, [np.concatenate(pair, axis=-1) for pair in pairs])
