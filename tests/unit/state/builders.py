"""What the tests of the state room share."""

from pathlib import Path

from raysys.state.events import Event


def sqlite_url(directory: Path) -> str:
    return f"sqlite:///{directory / 'state.db'}"


def event(
    item_id: str | None = "matrix",
    at_us: int = 1,
    *,
    user_id: str = "ann",
    event_id: str | None = None,
    event_type: str = "click",
    properties: str | None = None,
) -> Event:
    return Event(
        user_id=user_id,
        session_id="session",
        item_id=item_id,
        event_type=event_type,
        occurred_at_us=at_us,
        event_id=event_id,
        properties=properties,
    )
