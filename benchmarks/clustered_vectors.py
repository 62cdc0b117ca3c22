"""Vectors as trained models make them, to any number: the generator of `make bench-index`.

    cluster    one of 1,000, the c-th with a share like 1 / sqrt(c)
    place      the cluster's middle, N(0, I) in 16 dimensions, plus 0.5 x N(0, I)
    vector     the place, turned into the full width by a random orthonormal basis, plus
               0.05 x N(0, I) in all of it, so that the intrinsic dimension is about 16; then
               scaled to length 1
    norm       exp(0.2 x N(0, 1)): the spread that a GRU's item vectors have on MovieLens-100K
               (standard deviation of the logarithm 0.21 and 0.19 in two releases)

Queries are drawn as items are, with length 1: the length of a query changes no list.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NUM_CLUSTERS = 1_000
INTRINSIC_DIMENSION = 16
WITHIN_CLUSTER = 0.5
OUTSIDE = 0.05
NORM_SPREAD = 0.2
_BLOCK_ROWS = 1 << 18


@dataclass(frozen=True, slots=True)
class ClusteredVectors:
    """The world that items and queries are drawn from; the same seed gives the same vectors."""

    width: int = 64
    seed: int = 0

    def items(self, count: int) -> NDArray[np.float32]:
        """Return (count, width) item vectors."""
        rng = np.random.default_rng([self.seed, 1])
        norms = np.exp(NORM_SPREAD * rng.standard_normal((count, 1), dtype=np.float32))
        vectors = self._directions(rng, count)
        vectors *= norms
        return vectors

    def queries(self, count: int) -> NDArray[np.float32]:
        """Return (count, width) query vectors, which depend on no item."""
        return self._directions(np.random.default_rng([self.seed, 2]), count)

    def _directions(self, rng: np.random.Generator, count: int) -> NDArray[np.float32]:
        world = np.random.default_rng([self.seed, 0])
        normal = world.standard_normal((self.width, INTRINSIC_DIMENSION))
        basis = np.linalg.qr(normal)[0].T.astype(np.float32)
        middles = world.standard_normal((NUM_CLUSTERS, INTRINSIC_DIMENSION), dtype=np.float32)
        shares = 1 / np.sqrt(np.arange(1, NUM_CLUSTERS + 1))
        vectors = np.empty((count, self.width), np.float32)
        for start in range(0, count, _BLOCK_ROWS):
            block = vectors[start : start + _BLOCK_ROWS]
            clusters = rng.choice(NUM_CLUSTERS, len(block), p=shares / shares.sum())
            size = (len(block), INTRINSIC_DIMENSION)
            places = middles[clusters] + WITHIN_CLUSTER * rng.standard_normal(size, np.float32)
            block[:] = places @ basis
            block += OUTSIDE * rng.standard_normal(block.shape, np.float32)
            block /= np.linalg.norm(block, axis=1, keepdims=True)
        return vectors
