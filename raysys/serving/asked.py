"""One query of a micro-batch, on its way to an answer, and what is shown in the end."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raysys.config import ExplorationPolicy
from raysys.policy.policies import NO_POLICY
from raysys.serving.catalogue_now import Demand
from raysys.serving.filtering import Applied
from raysys.serving.messages import Query, Source
from raysys.serving.ranking import Ranked
from raysys.serving.visitors import NO_ITEMS, NO_KEYS


@dataclass(frozen=True, slots=True)
class Mixture:
    """How each item of a list that explored came to its place. Places count from 0, the top.

    Args:
        propensities: one per place, the chance of the item there, given those above.
        explored: the places that drew a fresh item.
        fresh: the places of items that might have been drawn, whatever brought them there.
        also_relevant: those of `explored` whose item was the next relevant one.
        nothing_relevant: those of `explored` for which nothing relevant was left.
    """

    propensities: list[float]
    explored: tuple[int, ...]
    fresh: tuple[int, ...]
    also_relevant: tuple[int, ...]
    nothing_relevant: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A list as it is shown.

    Args:
        keys: (k,) item numbers from the top; below 0 for items that were put since the release.
        scores: (k,) where the source has some; None for an item that was drawn.
        mixture: None for a list that could not explore: it had to be this one.
        is_promoted: one per item; None where the list has no promotion.
    """

    keys: NDArray[np.int64]
    scores: Sequence[float | None] | None
    mixture: Mixture | None = None
    is_promoted: list[bool] | None = None

    @classmethod
    def as_ranked(cls, ranked: Ranked) -> "Shown":
        """Show the relevance order as it is."""
        return cls(ranked.keys.astype(np.int64), ranked.scores)


@dataclass(slots=True, eq=False)
class Asked:
    """What is known of one query so far: it gets the popular list, until more is known.

    Args:
        applied: the filter that the query names.
        demand: what it demands; None where it names none.
        promoted: what asks for the promoted items of the list; None where it has no promotion.
        policy: what decides what a place that explores draws.
        weight: chance of each place to explore; 0 gives the relevance order.
        num_fresh: how many items a place that explores could draw from, at the top of the list;
            None where some of the fresh ones were left out.
        seed: of the draws, where there are some.
        banned: item numbers that the query must not get.
        banned_keys: the same, of items that the release does not know.
        history: item numbers of the user's interactions that a model reads, oldest first.
        ranked: the relevant items.
        because_of: by key of a shown item, the item number of the past one that is most like it.
        delta_version: how much of what was put since the release all shards knew; None where they
            were not asked.
    """

    query: Query
    applied: Applied | None = None
    demand: Demand | None = None
    promoted: "Asked | None" = None
    policy: ExplorationPolicy = NO_POLICY
    weight: float = 0.0
    num_fresh: int | None = 0
    seed: int = 0
    vector: NDArray[np.float32] | None = None
    """(D,) what to search with."""
    by_cosine: bool = False
    """Rank by the angle to it instead of by score."""
    history: NDArray[np.int32] = field(default_factory=lambda: NO_ITEMS)
    banned: NDArray[np.int32] = field(default_factory=lambda: NO_ITEMS)
    banned_keys: NDArray[np.int64] = field(default_factory=lambda: NO_KEYS)
    source: Source = "popular"
    reason: str | None = None
    is_degraded: bool = False
    ranked: Ranked | None = None
    shown: Shown | None = None
    because_of: dict[int, int] = field(default_factory=dict)
    delta_version: int | None = None

    @property
    def to_show(self) -> Shown:
        """What is shown, as far as it is known by now."""
        return self.shown or Shown.as_ranked(self.ranked or Ranked(NO_ITEMS))

    @property
    def has_scores(self) -> bool:
        """Whether answers say the scores that a search ranked by: lists about an item have cosines
        or, as those of Amazon Personalize, none."""
        return self.source != "similar-items" or self.by_cosine

    def obey(self, demand: Demand) -> None:
        """Take what a filter demands: what it includes of the past may be shown though it was seen.

        To be called once `banned` says what the user has seen.
        """
        self.demand = demand
        if not demand.has_past:
            return
        banned = np.setdiff1d(self.banned, demand.included_nums)
        self.banned = np.union1d(banned, demand.excluded_nums)
        banned_keys = np.setdiff1d(self.banned_keys, demand.included_keys)
        self.banned_keys = np.union1d(banned_keys, demand.excluded_keys)

    def search_with(self, vector: NDArray[np.float32], source: Source) -> None:
        self.vector, self.source = vector, source

    def go_without(self, reason: str) -> None:
        """A part is away: give the popular list, and say so."""
        self.source, self.reason, self.is_degraded = "popular", reason, True
