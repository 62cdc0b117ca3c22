"""The policies of exploration: what a place that explores draws.

They share the rest. A place explores with the chance of the exploration weight, draws one of the
fresh items that do not stand above by a softmax, and takes the next relevant item otherwise
(`slot_mixture`). So their propensities are exact, shards need not know of each other, and a policy
is what it makes the softmax of.

Letters for shapes:
    B  queries    n  items
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysys.config import ExplorationPolicy
from raysys.policy.slot_mixture import exploration_logits

SLOT_MIXTURE: ExplorationPolicy = "slot-mixture"
EPSILON_GREEDY: ExplorationPolicy = "epsilon-greedy"
NO_POLICY: ExplorationPolicy = "none"
"""Nothing is drawn: the relevance order."""


class DrawPolicy(Protocol):
    """How much queries are drawn to fresh items."""

    def logits(
        self,
        scores: NDArray[np.floating],
        impressions: NDArray[np.integer],
        clicks: NDArray[np.integer],
        interactions: NDArray[np.integer],
    ) -> NDArray[np.float64]:
        """Return the logits of the softmax, of the shape of the scores, always a new array.

        Args:
            scores: (B, n) of the model, or (M,) of single pairs; zeros without a query's vector.
            impressions, clicks, interactions: (n,) or (M,), see `slot_mixture.exploration_logits`.
        """

    def logit_errors(self, score_errors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how far logits may be off where scores are off by so much."""


@dataclass(frozen=True, slots=True)
class SlotMixture:
    """Draws what the model likes, and what is little known. See `slot_mixture`."""

    temperature: float
    bonus: float

    def logits(
        self,
        scores: NDArray[np.floating],
        impressions: NDArray[np.integer],
        clicks: NDArray[np.integer],
        interactions: NDArray[np.integer],
    ) -> NDArray[np.float64]:
        return exploration_logits(
            scores,
            impressions,
            clicks,
            interactions,
            temperature=self.temperature,
            bonus=self.bonus,
        )

    def logit_errors(self, score_errors: NDArray[np.float64]) -> NDArray[np.float64]:
        return score_errors / self.temperature


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    """Draws all fresh items alike, whatever is known of them and of who asks."""

    def logits(
        self,
        scores: NDArray[np.floating],
        impressions: NDArray[np.integer],
        clicks: NDArray[np.integer],
        interactions: NDArray[np.integer],
    ) -> NDArray[np.float64]:
        return np.zeros(scores.shape)

    def logit_errors(self, score_errors: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.zeros_like(score_errors)


def draw_policies(*, temperature: float, bonus: float) -> dict[ExplorationPolicy, DrawPolicy]:
    """Return the policies that draw, by name; the settings are those of the slot mixture."""
    return {SLOT_MIXTURE: SlotMixture(temperature, bonus), EPSILON_GREEDY: EpsilonGreedy()}
