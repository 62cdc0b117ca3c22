"""What is asked of the engine and what it answers, whatever carried the request there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from raysys.state.events import Event

Source = Literal["model", "popular", "similar-items"]
"""What chose the items: the model for this user, the popular list, or likeness to an item."""


@dataclass(slots=True)
class Query:
    """One request for recommendations, checked: `user_id` or `item_id` is set, both not empty.

    Args:
        num_results: the most items to answer with, 1 to 500.
        context: names and values that describe the moment, such as the device.
    """

    user_id: str | None
    item_id: str | None
    num_results: int
    context: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """Items for one query, best first, all from one release.

    Args:
        scores: one per item, falling, finite; None where the source has none.
        recommendation_id: at most 40 characters, since events send it back and may not send more.
        release: name of the release that chose the items.
        reason: why the source is not the one that was asked for, such as "unknown-user".
        degraded: a part was away, so the list may lack items that it would otherwise hold.
    """

    item_ids: list[str]
    scores: list[float] | None
    recommendation_id: str
    release: str
    source: Source
    reason: str | None = None
    degraded: bool = False


class Recommender(Protocol):
    """What a request needs of the engine; the wire knows no more of it than this.

    Each method may raise a RequestError, which reaches the client as it is, or a
    StateUnavailableError, which is told as one; anything else is a bug of the server.
    """

    async def recommend(self, query: Query) -> Answer: ...

    async def put_events(self, events: Sequence[Event]) -> None:
        """Return when the events are committed, and seen by the next answer."""

    async def ready(self) -> Mapping[str, str | int]:
        """Return what is served (`release` at least); ServingError or RequestError if none is."""
