"""What off-policy evaluation keeps of a log: totals by group of users and place.

Users are dealt to 1,024 groups by a hash. A group holds whole users, so that its totals are
independent of those of the others, and memory does not grow with the log.

Letters for shapes:
    L  answers    K  places    G  groups of users
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.off_policy_log import LoggedAnswers, Way
from raysys.evaluation.off_policy_weights import is_known, is_supported, reweighed

NUM_GROUPS = 1024

_CARRIED = {"weights", "squared_weights"}
"""A list weighs at all places below its end what it weighs there."""

_Floats = NDArray[np.float64]


@dataclass(slots=True)
class WeightTotals:
    """The totals of one other weight: all that its estimates need.

    Args:
        draws_alike: by epsilon-greedy, else each answer by its own policy.
        unsupported: answers left out, see `off_policy_weights.is_supported`.
        unknown: answers left out, see `off_policy_weights.is_known`.
        answers: (G,) all others.
        num_places: of the longest list.
        by_place: (G, K) each, see `_by_place`.
    """

    weight: float
    draws_alike: bool = False
    unsupported: int = 0
    unknown: int = 0
    answers: _Floats = field(default_factory=lambda: np.zeros(NUM_GROUPS))
    num_places: int = 0
    by_place: dict[str, _Floats] = field(default_factory=dict)

    def add(self, answers: LoggedAnswers) -> None:
        """Take a block of the log into account."""
        supported = is_supported(answers, self.weight)
        self.unsupported += int(np.count_nonzero(~supported))
        answers = answers.take(supported)
        known = is_known(answers, draws_alike=self.draws_alike)
        self.unknown += int(np.count_nonzero(~known))
        answers = answers.take(known)
        if not len(answers):
            return
        groups = (answers.user_hashes % np.uint64(NUM_GROUPS)).astype(np.int64)
        order = np.argsort(groups, kind="stable")
        present, starts = np.unique(groups[order], return_index=True)
        self.answers[present] += np.diff(starts, append=len(order))
        self.num_places = max(self.num_places, answers.ways.shape[1])
        for name, values in _by_place(answers, self.weight, self.draws_alike).items():
            total = self.by_place.get(name, np.zeros((NUM_GROUPS, 1)))
            total = self._to_all_places(name, total)
            total[present] += np.add.reduceat(self._to_all_places(name, values)[order], starts)
            self.by_place[name] = total

    def of_groups(self) -> "WeightTotals":
        """Return the same without groups of which nobody asked."""
        asked = self.answers > 0
        by_place = {name: total[asked] for name, total in self.by_place.items()}
        return WeightTotals(
            self.weight,
            self.draws_alike,
            self.unsupported,
            self.unknown,
            self.answers[asked],
            self.num_places,
            by_place,
        )

    def _to_all_places(self, name: str, values: _Floats) -> _Floats:
        missing = self.num_places - values.shape[1]
        return np.pad(
            values, ((0, 0), (0, missing)), mode="edge" if name in _CARRIED else "constant"
        )


def _by_place(answers: LoggedAnswers, weight: float, draws_alike: bool) -> dict[str, _Floats]:
    """Return what is summed up for each answer and place, (L, K) each.

    A choice is a place that could have shown one item or another. It explored, or it followed the
    order of relevance.
    """
    other = reweighed(answers, weight, draws_alike=draws_alike)
    clicks, counts = answers.clicked.astype(np.float64), other.counts
    explored = (answers.ways == Way.EXPLORED) | (answers.ways == Way.BOTH)
    explores, follows = other.is_choice & explored, other.is_choice & ~explored
    above = np.concatenate([np.ones((len(clicks), 1)), other.coin_weights[:, :-1]], axis=1)
    weighed = other.weights * clicks * counts
    return {
        "lists": (answers.ways != Way.NOTHING).astype(np.float64),
        "clicks": clicks,
        "weights": other.weights,
        "squared_weights": other.weights**2,
        "weighed_clicks": weighed,
        "squared_weighed_clicks": weighed**2,
        "coin_weighed_clicks": other.coin_weights * clicks * counts,
        "choices": above * other.is_choice,
        "explores": other.coin_weights * explores,
        "follows": other.coin_weights * follows,
        "times_explored": explores.astype(np.float64),
        "clicks_explored": explores * clicks,
        "times_followed": follows.astype(np.float64),
        "clicks_followed": follows * clicks,
    }
