"""A user's newest interactions, packed into one value of one row. No SQL here."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

import msgspec

_at = attrgetter("occurred_at_us")


class Interaction(msgspec.Struct, frozen=True, array_like=True):
    """What one event said of one item."""

    item_id: str
    occurred_at_us: int
    """Microseconds since 1970 UTC."""
    event_type: str
    event_value: float | None = None


_PACKER = msgspec.msgpack.Encoder()
_UNPACKER = msgspec.msgpack.Decoder(tuple[Interaction, ...])


@dataclass(frozen=True, slots=True)
class UserState:
    """What the database holds of one user.

    Args:
        version: grows whenever the interactions may have changed; equal versions mean equal ones.
        interactions: what the user's events named, repeats kept, times never falling.
    """

    version: int
    interactions: tuple[Interaction, ...] = ()

    def pack(self) -> bytes:
        """Return the interactions as `unpack` reads them; the version has its own column."""
        return _PACKER.encode(self.interactions)

    @classmethod
    def unpack(cls, version: int, packed: bytes) -> "UserState":
        return cls(version, _UNPACKER.decode(packed))

    def extended(self, new: Iterable[Interaction], max_interactions: int) -> "UserState":
        """Return the next version, with new ones put in by time and the newest ones kept.

        Those of one time stay in the order in which they came, those of earlier calls first.
        """
        interactions = list(self.interactions)
        for interaction in new:
            place = bisect_right(interactions, _at(interaction), key=_at)
            interactions.insert(place, interaction)
        return UserState(self.version + 1, tuple(interactions[-max_interactions:]))


NO_STATE = UserState(0)
"""The state of a user of whom the database holds nothing."""
