"""What the database holds of a user: newest interactions, packed into one value, and properties.

No SQL here.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import NamedTuple

import msgspec

_at = attrgetter("occurred_at_us")


class Interaction(msgspec.Struct, frozen=True, array_like=True):
    """What one event said of one item."""

    item_id: str
    occurred_at_us: int
    """Microseconds since 1970 UTC."""
    event_type: str
    event_value: float | None = None


Weigh = Callable[[Sequence[Interaction]], Iterable[float]]
"""Returns what each interaction weighs. Above 0: it is a click; 0: it is read, and no click; below
0: its item counts as seen, and that is all."""


def all_clicks(interactions: Sequence[Interaction]) -> list[float]:
    """Be the `Weigh` of a store whose events are all alike."""
    return [1.0] * len(interactions)


_PACKER = msgspec.msgpack.Encoder()
_UNPACKER = msgspec.msgpack.Decoder(tuple[Interaction, ...])


class Membership(NamedTuple):
    """What an id stands for that has a state.

    None and None: for a visitor, of whom it is not known yet whether they are a user.

    Args:
        joined_to: the user whose session it is; the id itself where it is that of a user.
        shared_at_us: since when the session is nobody's, in microseconds since 1970 UTC: another
            user showed up in it.
    """

    joined_to: str | None = None
    shared_at_us: int | None = None


UNKNOWN = Membership()


@dataclass(frozen=True, slots=True)
class UserState:
    """What the database holds of one user.

    Args:
        version: grows whenever anything else here may have changed; equal versions mean equal ones.
        interactions: what the user's events named, repeats kept, times never falling.
        properties: the text of a JSON object, as a client put the user; None: nobody did.
        membership: what the id stands for. Known of states that are locked to be changed.
    """

    version: int
    interactions: tuple[Interaction, ...] = ()
    properties: str | None = None
    membership: Membership = UNKNOWN

    @property
    def says_something(self) -> bool:
        """Whether the database holds more of the user than that there is one."""
        return bool(self.interactions) or self.properties is not None

    def pack(self) -> bytes:
        """Return the interactions as `unpack` reads them; the others have columns of their own."""
        return _PACKER.encode(self.interactions)

    @classmethod
    def unpack(
        cls,
        version: int,
        packed: bytes,
        properties: str | None = None,
        joined_to: str | None = None,
        shared_at_us: int | None = None,
    ) -> "UserState":
        membership = UNKNOWN if joined_to is None else Membership(joined_to, shared_at_us)
        return cls(version, _UNPACKER.decode(packed), properties, membership)

    def described(self, properties: str, membership: Membership) -> "UserState":
        """Return the next version, with other properties."""
        return UserState(self.version + 1, self.interactions, properties, membership)

    def extended(
        self, new: Iterable[Interaction], max_interactions: int, weigh: Weigh = all_clicks
    ) -> "UserState":
        """Return the next version, with new ones put in by time and the newest ones kept.

        Those of one time stay in the order in which they came, those of earlier calls first. Of
        more than `max_interactions` as many are kept as are read, and beside them the newest of
        each of as many items that are only seen: the one kind never takes the place of the other.
        """
        interactions = list(self.interactions)
        for interaction in new:
            place = bisect_right(interactions, _at(interaction), key=_at)
            interactions.insert(place, interaction)
        if len(interactions) > max_interactions:
            interactions = _newest(interactions, weigh(interactions), max_interactions)
        return replace(self, version=self.version + 1, interactions=tuple(interactions))


NO_STATE = UserState(0)
"""The state of a user of whom the database holds nothing."""


def _newest(
    interactions: Sequence[Interaction], weights: Iterable[float], n: int
) -> list[Interaction]:
    """Return the newest `n` that are read and, of the others, the newest `n` different items."""
    kept: list[Interaction] = []
    num_read, only_seen = 0, set[str]()
    for interaction, weight in zip(reversed(interactions), reversed([*weights]), strict=True):
        if weight >= 0:
            num_read += 1
            is_kept = num_read <= n
        else:
            is_kept = interaction.item_id not in only_seen and len(only_seen) < n
            only_seen.add(interaction.item_id)
        if is_kept:
            kept.append(interaction)
    return kept[::-1]
