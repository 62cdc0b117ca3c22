"""Whether a challenger may take the champion's place, by what both find for the same users.

The challenger has to be shown to be not much worse; that nothing speaks against it is not enough.
So the lower end of the paired 95 % interval decides, and few users keep the champion.
"""

from dataclasses import dataclass
from typing import Any

from raysys.evaluation.comparison import Estimate, paired_difference
from raysys.evaluation.evaluate import Evaluation

FEWEST_USERS = 30
"""The bootstrap of fewer users' differences is too narrow: that of a single one has no width."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Two means over the same users, and how far apart they may really be.

    Args:
        metric: such as `ndcg_at_10`; more is better.
        difference: of the challenger to the champion.
        margin: the share of the champion's mean that the challenger may lack.
        num_users: who had something to be found.
    """

    metric: str
    champion: float
    challenger: float
    difference: Estimate
    margin: float
    num_users: int

    @property
    def is_promoted(self) -> bool:
        """The whole interval lies above what may be lacking, and enough users say so."""
        is_close = self.difference.low >= -self.margin * self.champion
        return is_close and self.num_users >= FEWEST_USERS

    @property
    def reason(self) -> str:
        """Why, in one sentence for people."""
        apart = self.difference
        found = (
            f"the challenger's {self.metric} is {self.challenger:.4f} and the champion's "
            f"{self.champion:.4f}: {apart.mean:+.4f} (95 % interval {apart.low:+.4f} to "
            f"{apart.high:+.4f}) over {self.num_users:,} users"
        )
        if self.num_users < FEWEST_USERS:
            return f"{found}, and fewer than {FEWEST_USERS} users say too little"
        compared = "not below" if self.is_promoted else "below"
        return (
            f"{found}, whose lower end is {compared} {-self.margin * self.champion:+.4f}, "
            f"{self.margin:.0%} of the champion's"
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "metric": self.metric,
            "champion": self.champion,
            "challenger": self.challenger,
            "difference": self.difference.mean,
            "interval_95": [self.difference.low, self.difference.high],
            "margin": self.margin,
            "users": self.num_users,
            "promoted": self.is_promoted,
            "reason": self.reason,
        }


def judged(champion: Evaluation, challenger: Evaluation, metric: str, *, margin: float) -> Verdict:
    """Compare two models user by user.

    Args:
        champion, challenger: of the same users in the same order.
        margin: see `Verdict`; at least 0.

    Raises:
        ValueError: they were measured on different users.
    """
    if not champion.user_ids.equals(challenger.user_ids):
        raise ValueError("Champion and challenger were measured on different users.")
    one, other = champion.values[metric], challenger.values[metric]
    difference = paired_difference(other, one)
    return Verdict(
        metric, float(one.mean()), float(other.mean()), difference, margin, len(champion)
    )
