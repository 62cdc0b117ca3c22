"""A user's newest items, packed into one value of one row. No SQL here."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

_PACKER = msgspec.msgpack.Encoder()
_UNPACKER = msgspec.msgpack.Decoder(tuple[tuple[str, ...], tuple[int, ...]])


@dataclass(frozen=True, slots=True)
class UserState:
    """What the database holds of one user: items oldest first, each with its time.

    Args:
        version: grows whenever the items may have changed; equal versions mean equal items.
        item_ids: what the user's events named, repeats kept.
        occurred_at_us: one per item, microseconds since 1970 UTC, never falling.
    """

    version: int
    item_ids: tuple[str, ...]
    occurred_at_us: tuple[int, ...]

    def pack(self) -> bytes:
        """Return the items and times as `unpack` reads them; the version has its own column."""
        return _PACKER.encode((self.item_ids, self.occurred_at_us))

    @classmethod
    def unpack(cls, version: int, packed: bytes) -> "UserState":
        item_ids, occurred_at_us = _UNPACKER.decode(packed)
        return cls(version, item_ids, occurred_at_us)

    def with_items(self, items: Iterable[tuple[str, int]], max_items: int) -> "UserState":
        """Return the next version, `items` (id, time) put in by time, the newest `max_items` kept.

        Items of one time stay in the order in which they came, those of earlier calls first.
        """
        item_ids, occurred_at_us = list(self.item_ids), list(self.occurred_at_us)
        for item_id, at_us in items:
            place = bisect_right(occurred_at_us, at_us)
            item_ids.insert(place, item_id)
            occurred_at_us.insert(place, at_us)
        return UserState(
            self.version + 1, tuple(item_ids[-max_items:]), tuple(occurred_at_us[-max_items:])
        )


NO_STATE = UserState(0, (), ())
"""The state of a user of whom the database holds nothing."""
