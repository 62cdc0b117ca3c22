"""The vectors of single items, which the gateway has from the shards and keeps."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from raysys.serving.parts import Parts

VectorsOf: TypeAlias = Callable[[Mapping[str, int]], Awaitable[Mapping[int, NDArray[np.float32]]]]
"""From the keys of items by their ids to the vectors, (D,), of those whose shard answers."""

_MAX_CACHED = 16_384


class ItemVectors:
    """Those of one release; the latest are kept, about 1 KB each at width 160.

    Args:
        may_change: says of an item's key whether the next put may change its vector, so that it is
            not kept.
    """

    def __init__(self, parts: Parts, may_change: Callable[[int], bool]) -> None:
        self._parts = parts
        self._may_change = may_change
        self._cached: dict[int, NDArray[np.float32]] = {}

    async def of(self, keys: Mapping[str, int]) -> dict[int, NDArray[np.float32]]:
        """Return the vectors, (D,), of items by key, of those whose shard answers."""
        found = {
            key: None if self._may_change(key) else self._cached.get(key) for key in keys.values()
        }
        missing = {item_id: key for item_id, key in keys.items() if found[key] is None}
        if missing:
            fetched = await self._parts.item_vectors(missing)
            if len(self._cached) + len(fetched) > _MAX_CACHED:
                self._cached = {}
            self._cached |= {
                key: vector for key, vector in fetched.items() if not self._may_change(key)
            }
            found |= fetched
        return {key: vector for key, vector in found.items() if vector is not None}
