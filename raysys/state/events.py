"""An event: something that a user did, as a client reported it."""

import hashlib
from dataclasses import dataclass

from raysys.state.user_state import Interaction


@dataclass(frozen=True, slots=True)
class Event:
    """One event, checked by whoever built it.

    Args:
        user_id: who did it. For an anonymous visitor the session's id stands here too.
        item_id: None for an event without an item, such as a search.
        occurred_at_us: microseconds since 1970 UTC, as the client says.
        event_id: the client's own id. The first event with an id is kept, later ones are not.
        properties: JSON text, as the client sent it.
        impression: ids of the items that were on show, if the client says so.
    """

    user_id: str
    session_id: str
    item_id: str | None
    event_type: str
    occurred_at_us: int
    event_id: str | None = None
    event_value: float | None = None
    properties: str | None = None
    recommendation_id: str | None = None
    impression: tuple[str, ...] | None = None

    def interaction(self) -> Interaction | None:
        """Return what it says of its item; None without one."""
        if self.item_id is None:
            return None
        return Interaction(self.item_id, self.occurred_at_us, self.event_type, self.event_value)

    def identity(self) -> str:
        """Return what makes this event the same as another: equal text, equal event.

        An event with an id is known by it alone. Without one it is known by user, item, time and
        type, since SDKs send a request again when its answer is lost; an event without an item
        then also by its properties, which are all that it is about.
        """
        if self.event_id is not None:
            return f"id:{self.event_id}"
        subject = ["item", self.item_id] if self.item_id is not None else ["", self.properties]
        parts = [self.user_id, *subject, str(self.occurred_at_us), self.event_type]
        digest = hashlib.blake2b(digest_size=16)
        for part in parts:
            content = (part or "").encode()
            digest.update(len(content).to_bytes(8, "little"))  # so that "a", "bc" is not "ab", "c"
            digest.update(content)
        return f"same:{digest.hexdigest()}"
