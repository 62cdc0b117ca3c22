"""A slate: one list as it was shown, with the chance that each position had of being so."""

from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import Any

import msgspec

_STRINGS = msgspec.json.Decoder(tuple[str, ...])
_CHANCES = msgspec.json.Decoder(tuple[float, ...])
_POSITIONS = msgspec.json.Decoder(tuple[int, ...])


@dataclass(frozen=True, slots=True)
class Slate:
    """One answer, as it is remembered.

    Args:
        user_id: None where similar items were asked for.
        item_id: the item that similar ones were asked for, else None.
        shown_at_us: microseconds since 1970 UTC.
        release: the release's name.
        delta_version: the `Changes.version` that the answer knew.
        source: where the relevant items come from: the model, the popular list, similar items.
        policy: how relevance became what was shown, "none" where it was shown as it is.
        item_ids: what was shown, from the top.
        propensities: one for each position, P(this item here | the items above).
        explored: the positions whose coin chose to explore; 0 is the top.
        fresh_item_ids: those of `item_ids` that were eligible for exploration, wherever they came
            from. Their impressions are counted.
        is_degraded: a part of the system was away, so the list is not what it would have been.
        also_relevant: those of `explored` whose item would have come to its place without, below
            the same items. None: a raysys stored the slate that did not know.
        nothing_relevant: those of `explored` that had to draw, since nothing relevant was left.
            None as of `also_relevant`.
        num_fresh: how many items the top place could have drawn. None: it could not draw, or as of
            `also_relevant`.
    """

    recommendation_id: str
    user_id: str | None
    item_id: str | None
    shown_at_us: int
    release: str
    delta_version: int
    source: str
    policy: str
    exploration_weight: float
    seed: int
    item_ids: tuple[str, ...]
    propensities: tuple[float, ...]
    explored: tuple[int, ...]
    fresh_item_ids: tuple[str, ...]
    is_degraded: bool
    also_relevant: tuple[int, ...] | None = None
    nothing_relevant: tuple[int, ...] | None = None
    num_fresh: int | None = None

    def to_row(self) -> dict[str, Any]:
        """Return the columns of the table of slates, lists as JSON text."""
        row = dict(zip(self.__slots__, _VALUES_OF(self), strict=True))
        for name in _DECODERS:
            if row[name] is not None:
                row[name] = str(_ENCODE(row[name]), "utf-8")
        return row

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Slate":
        """Return the slate whose `to_row` this is, every float the same to the last bit."""
        lists = {
            name: decoder.decode(row[name])
            for name, decoder in _DECODERS.items()
            if row[name] is not None
        }
        return cls(**{**row, **lists})

    def came_as(self) -> list[str | None]:
        """Return what brought the item to each place, from the top: a value of `CameAs`.

        None where that is not known: of a place that explored, in a slate of an older raysys.
        """
        ways: list[str | None] = [CameAs.RELEVANT] * len(self.item_ids)
        for place in self.explored:
            ways[place] = CameAs.EXPLORED if self.also_relevant is not None else None
        for place in self.also_relevant or ():
            ways[place] = CameAs.BOTH
        for place in self.nothing_relevant or ():
            ways[place] = CameAs.REST
        return ways


class CameAs(StrEnum):
    """What brought an item to its place."""

    RELEVANT = "relevant"
    """It was next in the order of relevance, or promoted: without exploring it stands here too."""
    EXPLORED = "explored"
    """It was drawn; without exploring another item would stand here."""
    BOTH = "both"
    """It was drawn, and next in the order of relevance."""
    REST = "rest"
    """It was drawn since nothing relevant was left."""


_VALUES_OF = attrgetter(*Slate.__slots__)
_ENCODE = msgspec.json.Encoder().encode
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "item_ids": _STRINGS,
    "propensities": _CHANCES,
    "explored": _POSITIONS,
    "fresh_item_ids": _STRINGS,
    "also_relevant": _POSITIONS,
    "nothing_relevant": _POSITIONS,
}
