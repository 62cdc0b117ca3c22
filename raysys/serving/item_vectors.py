"""The vectors of single items, which the gateway has from the shards and keeps."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from raysys.serving.parts import Parts

VectorsOf: TypeAlias = Callable[[Mapping[str, int]], Awaitable[Mapping[int, NDArray[np.float32]]]]
"""From the numbers of items by their ids to the vectors, (D,), of those whose shard answers."""

_MAX_CACHED = 16_384


class ItemVectors:
    """Those of one release; the latest are kept, about 1 KB each at width 160."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._cached: dict[int, NDArray[np.float32]] = {}

    async def of(self, nums: Mapping[str, int]) -> dict[int, NDArray[np.float32]]:
        """Return the vectors, (D,), of items by number, of those whose shard answers."""
        found = {num: self._cached.get(num) for num in nums.values()}
        missing = {item_id: num for item_id, num in nums.items() if found[num] is None}
        if missing:
            fetched = await self._parts.item_vectors(missing)
            if len(self._cached) + len(fetched) > _MAX_CACHED:
                self._cached = {}
            self._cached |= fetched
            found |= fetched
        return {num: vector for num, vector in found.items() if vector is not None}
