"""What the tests of the state room share."""

from pathlib import Path
from typing import Any

from raysys.state.events import Event
from raysys.state.slates import Slate
from raysys.state.user_state import Interaction, UserState


def sqlite_url(directory: Path) -> str:
    return f"sqlite:///{directory / 'state.db'}"


def event(
    item_id: str | None = "matrix",
    at_us: int = 1,
    *,
    user_id: str = "ann",
    session_id: str = "session",
    event_id: str | None = None,
    event_type: str = "click",
    event_value: float | None = None,
    properties: str | None = None,
    recommendation_id: str | None = None,
    impression: tuple[str, ...] | None = None,
) -> Event:
    return Event(
        user_id=user_id,
        session_id=session_id,
        item_id=item_id,
        event_type=event_type,
        occurred_at_us=at_us,
        event_id=event_id,
        event_value=event_value,
        properties=properties,
        recommendation_id=recommendation_id,
        impression=impression,
    )


def visit(item_id: str | None, at_us: int, session_id: str = "session", **members: Any) -> Event:
    """Return an event of a visitor who has not logged in."""
    return event(item_id, at_us, user_id=session_id, session_id=session_id, **members)


def clicked(version: int, *items: tuple[str, int]) -> UserState:
    """Return the state of a user who clicked on these items (id, time)."""
    return UserState(version, tuple(Interaction(item, at_us, "click") for item, at_us in items))


def item_ids_of(state: UserState) -> tuple[str, ...]:
    return tuple(interaction.item_id for interaction in state.interactions)


def times_of(state: UserState) -> list[int]:
    return [interaction.occurred_at_us for interaction in state.interactions]


def slate(recommendation_id: str = "RID-1", **members: Any) -> Slate:
    """Return a slate of "a" and "b" for ann, "b" explored; `members` say what is different."""
    usual: dict[str, Any] = {
        "user_id": "ann",
        "item_id": None,
        "shown_at_us": 1_700_000_000_000_000,
        "release": "r-1",
        "delta_version": 0,
        "source": "model",
        "policy": "slot-mixture",
        "exploration_weight": 0.25,
        "seed": 2**63 - 1,
        "item_ids": ("a", "b"),
        "propensities": (0.75, 0.1),
        "explored": (1,),
        "fresh_item_ids": ("b",),
        "is_degraded": False,
    }
    return Slate(recommendation_id=recommendation_id, **{**usual, **members})
