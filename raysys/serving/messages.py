"""What is asked of the engine and what it answers, whatever carried the request there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from raysys.config import ExplorationPolicy
from raysys.state.events import Event
from raysys.state.items import Item
from raysys.state.users import User

Source = Literal["model", "popular", "trending", "similar-items"]
"""What chose the items: the model for this user, the list of what is popular or trending, which is
the same for everybody, or likeness to an item."""


EXPLORATION, PROMOTED = "Exploration", "Promoted item"
"""What Amazon Personalize calls the reasons of items that were not ranked by the model alone."""


@dataclass(frozen=True, slots=True)
class Promotion:
    """A share of a list for items that pass a filter of their own.

    Args:
        percent: of the list, 1 to 100.
        filter_name, filter_values: as in a `Query`; no filter: any items may be promoted.
    """

    name: str
    percent: int
    filter_name: str | None = None
    filter_values: Mapping[str, str] = field(default_factory=dict)

    def num_promoted(self, num_results: int) -> int:
        """Return how many items of a list are promoted, if there are so many: one at least."""
        return max(1, (self.percent * num_results + 50) // 100)


@dataclass(slots=True)
class Query:
    """One request for recommendations, checked but for what depends on the release.

    Args:
        user_id, item_id: not empty; both None asks for the list that everybody gets.
        num_results: the most items to answer with, 1 to 500.
        context: names and values that describe the moment, such as the device.
        exploration_weight: chance of each place to explore, 0 to 1; None for the server's own.
        exploration_policy: what a place that explores draws; None for the server's own.
        filter_name: of the filter that items have to pass; None: they have to pass none.
        filter_values: of its parameters.
        metadata_columns: what the answer is to say of each item, see `ItemMetadata`.
        campaign: that is asked; None: the only one that there is, or the one named "default".
        promotion: for which some places of the list are kept; the filter is that of the others.
        seed: of the draws, 0 to 2**63 - 1: asked again with the same one, nothing having changed,
            the same list comes back. None for one by chance.
    """

    user_id: str | None
    item_id: str | None
    num_results: int
    context: dict[str, str] = field(default_factory=dict)
    exploration_weight: float | None = None
    seed: int | None = None
    filter_name: str | None = None
    filter_values: Mapping[str, str] = field(default_factory=dict)
    metadata_columns: Sequence[str] = ()
    promotion: Promotion | None = None
    campaign: str | None = None
    exploration_policy: ExplorationPolicy | None = None


@dataclass(slots=True)
class RankQuery:
    """One request to put a list into the order that a user would like, checked.

    Args:
        item_ids: 1 to 500; of equal ones the first counts.
        context, filter_name, filter_values, metadata_columns, campaign: as in a `Query`.
    """

    user_id: str
    item_ids: list[str]
    context: dict[str, str] = field(default_factory=dict)
    filter_name: str | None = None
    filter_values: Mapping[str, str] = field(default_factory=dict)
    metadata_columns: Sequence[str] = ()
    campaign: str | None = None


@dataclass(slots=True)
class Answer:
    """Items for one query, in the order in which to show them, all from one release.

    Args:
        scores: one per item, finite, falling but for explored items; None for an item that was
            drawn instead of ranked, and for the whole list where its source has no scores.
        recommendation_id: at most 40 characters, since events send it back and may not send more.
        release: name of the release that chose the items.
        campaign: whose release that is.
        reason: why the source is not the one that was asked for, such as "unknown-user".
        degraded: a part was away, so the list may lack items that it would otherwise hold.
        item_reasons: one per item, "Exploration" where its place explored, "Promoted item" where it
            was promoted; None when none was either.
        promotion_names: one per item, that of its promotion; None when none was promoted.
        item_metadata: one per item, texts by column; None where none was asked for.
        seed: of the draws; None when there was nothing to be drawn.
        delta_version: how much of the items put since the release the shards knew: the smallest
            version among them. None when the list could not explore and nothing was put.
    """

    item_ids: list[str]
    scores: Sequence[float | None] | None
    recommendation_id: str
    release: str
    source: Source
    reason: str | None = None
    degraded: bool = False
    item_reasons: list[str | None] | None = None
    item_metadata: list[dict[str, str]] | None = None
    promotion_names: list[str | None] | None = None
    seed: int | None = None
    delta_version: int | None = None
    campaign: str = ""


class Recommender(Protocol):
    """What a request needs of the engine; the wire knows no more of it than this.

    Each method may raise a RequestError, which reaches the client as it is, or a
    StateUnavailableError, which is told as one; anything else is a bug of the server.
    """

    async def recommend(self, query: Query) -> Answer: ...

    async def rank(self, query: RankQuery) -> Answer:
        """Return a list's items that its filter lets through, those without a score at its end."""

    def serialised(self, answer: Answer, seconds: float) -> None:
        """Is told how long it took to put an answer into bytes."""

    def refused(self, code: str) -> None:
        """Is told that a request of any kind was answered with an error, by the name of that."""

    async def put_events(self, events: Sequence[Event]) -> None:
        """Return when the events are committed, and seen by the next answer."""

    async def put_items(self, items: Sequence[Item]) -> None:
        """Return when the items are committed; every shard hears of them soon after."""

    async def put_users(self, users: Sequence[User]) -> None:
        """Return when the users are committed, and known to the next answer."""

    async def ready(self) -> Mapping[str, Any]:
        """Return what is served, of which strangers are told `campaigns` (each with its version and
        its releases) and no more; ServingError or RequestError if nothing is."""
