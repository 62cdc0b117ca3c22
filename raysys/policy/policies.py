"""The policies of exploration: what a place that explores draws.

They share the rest. A place explores with the chance of the exploration weight, draws one of the
fresh items that do not stand above, and takes the next relevant item otherwise. Most draw by a
softmax (`slot_mixture`): their propensities are exact, shards need not know of each other, and such
a policy is what it makes the softmax of: of each fresh item, the model's score for who asks, times
a weight, and its appeal, which is the same for everybody. One samples these sums (`thompson`).

Letters for shapes:
    n  items
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysys.config import ExplorationPolicy, ServingConfig

SLOT_MIXTURE: ExplorationPolicy = "slot-mixture"
THOMPSON_SAMPLING: ExplorationPolicy = "thompson-sampling"
EPSILON_GREEDY: ExplorationPolicy = "epsilon-greedy"
NO_POLICY: ExplorationPolicy = "none"
"""Nothing is drawn: the relevance order."""

_PRIOR_CLICKS = 2.0
"""Shape of the gamma distribution of what is not known yet; 1 lets go of too many after a little
bad luck (benchmarks/loop.py)."""


class DrawPolicy(Protocol):
    """How much queries are drawn to fresh items: logit = score * score_weight + appeal."""

    @property
    def score_weight(self) -> float: ...

    def appeal(
        self,
        impressions: NDArray[np.integer],
        clicks: NDArray[np.integer],
        interactions: NDArray[np.integer],
        click_rate: float,
    ) -> NDArray[np.float64]:
        """Return how much everybody is drawn to each fresh item, (n,).

        Args:
            impressions: (n,) times that the item was shown.
            clicks: (n,) of those; may exceed the impressions, where those were lost.
            interactions: (n,) with the item in the log that the release was made from.
            click_rate: of an average fresh item, in (0, 1].
        """

    def deviations(self, clicks: NDArray[np.integer]) -> NDArray[np.float64] | None:
        """Return how uncertain each item's appeal is, (n,), where a policy samples it.

        None: it draws by the softmax.
        """


@dataclass(frozen=True, slots=True)
class SlotMixture:
    """Draws what the model likes, what was clicked more than others, and what is little known.

    Of an item that was shown n times an average one would have been clicked e = n * click_rate
    times. How many times as often as the average this one is clicked is unknown: before anything is
    shown it has the gamma distribution of shape 2 and mean 1, and after c clicks that of mean
    (2 + c) / (2 + e). The appeal is `evidence` times the log of that mean and `bonus` times what is
    left of the doubt, sqrt(2 / (2 + e)); an item that the log knows is doubted less.

    Args:
        temperature: divides the scores. > 0.
        evidence, bonus: in units of a logit.
    """

    temperature: float
    evidence: float
    bonus: float

    @property
    def score_weight(self) -> float:
        return 1 / self.temperature

    def appeal(
        self,
        impressions: NDArray[np.integer],
        clicks: NDArray[np.integer],
        interactions: NDArray[np.integer],
        click_rate: float,
    ) -> NDArray[np.float64]:
        shape, rate = _posterior(impressions, clicks, click_rate)
        doubt = np.sqrt(_PRIOR_CLICKS / rate) / (1 + interactions)
        appeal: NDArray[np.float64] = self.evidence * np.log(shape / rate) + self.bonus * doubt
        return appeal

    def deviations(self, clicks: NDArray[np.integer]) -> NDArray[np.float64] | None:
        return None


@dataclass(frozen=True, slots=True)
class ThompsonSampling:
    """Draws what a sample of how often items are clicked makes best: see `policy.thompson`.

    By the distribution of `SlotMixture`: the appeal is `evidence` times the mean of the log of how
    many times as often as the average an item is clicked.
    """

    temperature: float
    evidence: float

    @property
    def score_weight(self) -> float:
        return 1 / self.temperature

    def appeal(
        self,
        impressions: NDArray[np.integer],
        clicks: NDArray[np.integer],
        interactions: NDArray[np.integer],
        click_rate: float,
    ) -> NDArray[np.float64]:
        shape, rate = _posterior(impressions, clicks, click_rate)
        # The digamma function of the shape, to 0.0006 for 2 and more.
        mean_log = np.log(shape) - 1 / (2 * shape) - 1 / (12 * shape**2)
        appeal: NDArray[np.float64] = self.evidence * (mean_log - np.log(rate))
        return appeal

    def deviations(self, clicks: NDArray[np.integer]) -> NDArray[np.float64] | None:
        shape = _PRIOR_CLICKS + clicks
        # The square root of the trigamma function, to 0.001.
        spread: NDArray[np.float64] = np.sqrt(1 / shape + 1 / (2 * shape**2) + 1 / (6 * shape**3))
        return self.evidence * spread


@dataclass(frozen=True, slots=True)
class EpsilonGreedy:
    """Draws all fresh items alike, whatever is known of them and of who asks."""

    score_weight: float = 0.0

    def appeal(
        self,
        impressions: NDArray[np.integer],
        clicks: NDArray[np.integer],
        interactions: NDArray[np.integer],
        click_rate: float,
    ) -> NDArray[np.float64]:
        return np.zeros(len(impressions))

    def deviations(self, clicks: NDArray[np.integer]) -> NDArray[np.float64] | None:
        return None


def _posterior(
    impressions: NDArray[np.integer], clicks: NDArray[np.integer], click_rate: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return shape and rate, (n,) each, of the gamma distribution of how many times as often as the
    average each item is clicked."""
    shape: NDArray[np.float64] = _PRIOR_CLICKS + clicks.astype(np.float64)
    rate: NDArray[np.float64] = _PRIOR_CLICKS + click_rate * np.maximum(impressions, clicks)
    return shape, rate


def draw_policies(config: ServingConfig) -> dict[ExplorationPolicy, DrawPolicy]:
    """Return the policies that draw, by name, with the settings of a server."""
    mixture = SlotMixture(
        temperature=config.exploration_temperature,
        evidence=config.exploration_evidence,
        bonus=config.exploration_bonus,
    )
    sampling = ThompsonSampling(config.exploration_temperature, config.exploration_evidence)
    return {
        SLOT_MIXTURE: mixture,
        THOMPSON_SAMPLING: sampling,
        EPSILON_GREEDY: EpsilonGreedy(),
    }
