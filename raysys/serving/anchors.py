"""What to search with for items like another one.

A model of item pairs has vectors of items that are asked about, apart from those of items that may
be shown: the query encoder gives the one, and shards rank the others by score, as evaluation does
for somebody whose only item it is. Of other models, and of an item that is known from a put alone
of which such a model reads nothing, the item's own vector is asked with, and shards rank by cosine.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.features import Properties
from raysys.index.home import keys_of_items
from raysys.index.put_items import PutItems
from raysys.serving.exchange import EncodeRequest
from raysys.serving.item_vectors import ItemVectors
from raysys.serving.parts import Parts
from raysys.serving.release_parts import ReleaseParts

_MAX_CACHED = 16_384


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """An item that is asked about.

    Args:
        key: of the item; known or not.
        vector: (D,) what to search with; None: there is nothing to search with.
        by_cosine: rank by angle instead of by score.
        away: why there is nothing, where a part did not answer; else nothing is known of the item.
    """

    key: int
    vector: NDArray[np.float32] | None = None
    by_cosine: bool = False
    away: str | None = None


class Anchors:
    """Those of one release; the latest that the encoder gave are kept, about 1 KB each."""

    def __init__(self, release: ReleaseParts, parts: Parts, item_vectors: ItemVectors) -> None:
        self._release = release
        self._parts = parts
        self._item_vectors = item_vectors
        self._cached: dict[int, NDArray[np.float32]] = {}

    async def of(self, item_ids: Iterable[str], put: PutItems) -> dict[str, Anchor]:
        """Return the anchor of each item.

        Args:
            put: what was put since the release.
        """
        ids = [*dict.fromkeys(item_ids)]
        if not ids:
            return {}
        keys: list[int] = keys_of_items(ids, self._release.items).tolist()
        found = {item_id: Anchor(key) for item_id, key in zip(ids, keys, strict=True)}
        known = {
            item_id: anchor.key
            for item_id, anchor in found.items()
            if anchor.key > 0 or anchor.key in put.new
        }
        if known and self._release.asks_by_item:
            found |= await self._encoded(known, put)
            known = {
                item_id: key
                for item_id, key in known.items()
                if self._release.goes_by_put(key, put)
                and found[item_id].vector is None
                and found[item_id].away is None
            }
        if known:
            found |= await self._by_cosine(known)
        return found

    async def _by_cosine(self, known: Mapping[str, int]) -> dict[str, Anchor]:
        vectors = await self._item_vectors.of(known)
        return {
            item_id: Anchor(key, vectors[key], by_cosine=True)
            if key in vectors
            else Anchor(key, away="index-unavailable")
            for item_id, key in known.items()
        }

    async def _encoded(self, known: Mapping[str, int], put: PutItems) -> dict[str, Anchor]:
        moved = {key for key in known.values() if self._release.goes_by_put(key, put)}
        missing = [key for key in known.values() if key in moved or key not in self._cached]
        new: dict[int, NDArray[np.float32]] = {}
        if missing:
            said = {
                row: item.properties
                for row, key in enumerate(missing)
                if key in moved and (item := put.of(key)) is not None
            }
            vectors = await self._parts.encode(_about(self._release.name, missing, said))
            if vectors is not None:
                new = dict(zip(missing, vectors, strict=True))
                if len(self._cached) + len(new) > _MAX_CACHED:
                    self._cached = {}
                self._cached |= {key: vector for key, vector in new.items() if key not in moved}
        anchors = {}
        for item_id, key in known.items():
            vector = new.get(key, self._cached.get(key))
            if vector is None:
                anchors[item_id] = Anchor(key, away="encoder-unavailable")
            else:
                anchors[item_id] = Anchor(key, vector if vector.any() else None)
        return anchors


def _about(release: str, keys: Sequence[int], said: Mapping[int, Properties]) -> EncodeRequest:
    """Return what asks for the queries of nobody in particular, who took one item each."""
    number = len(keys)
    return EncodeRequest(
        release,
        user_ids=[""] * number,
        offsets=np.arange(number + 1, dtype=np.int64),
        item_nums=np.maximum(keys, 0).astype(np.int32),
        occurred_at_us=np.zeros(number, np.int64),
        event_types=np.zeros(number, np.int16),
        contexts=np.zeros(number, np.int64),
        items_said=said,
    )
