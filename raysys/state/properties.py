"""What clients say of items and users: the text of a JSON object."""

from typing import Any

import msgspec

_PROPERTIES = msgspec.json.Decoder(dict[str, Any])


def known_of(text: str | None) -> dict[str, Any]:
    """Return what a text says: nothing where it is none, or defeats the parser."""
    try:
        return _PROPERTIES.decode(text or "{}")
    except (msgspec.DecodeError, RecursionError):
        return {}
