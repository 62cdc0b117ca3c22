"""Times as Python has them, and as tables have them: microseconds since the start of 1970 UTC."""

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def time_at(microseconds: int) -> datetime:
    """Return the time that lies so many microseconds after the start of 1970 UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


def microseconds_of(time: datetime) -> int:
    """Return how many microseconds after the start of 1970 UTC a time with a zone lies."""
    return (time - _EPOCH) // timedelta(microseconds=1)
