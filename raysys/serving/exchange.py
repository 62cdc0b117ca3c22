"""What travels between the gateway, the query encoder and the index shards.

Letters for shapes:
    B  queries of a micro-batch    D  width of an embedding    K  results of a query
    T  interactions of all histories    E  excluded items of all queries    M  items found
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(slots=True)
class EncodeRequest:
    """Histories of B users, oldest first, laid end to end."""

    release: str
    user_ids: list[str]
    offsets: NDArray[np.int64]
    """(B + 1,)"""
    item_nums: NDArray[np.int32]
    """(T,)"""
    occurred_at_us: NDArray[np.int64]
    """(T,)"""


@dataclass(slots=True)
class SearchRequest:
    """B queries, and what each must not get: `evaluation.exclusion.ItemLists` by itself."""

    release: str
    queries: NDArray[np.float32]
    """(B, D)"""
    ks: NDArray[np.int32]
    """(B,) how many results each query wants."""
    by_cosine: NDArray[np.bool_]
    """(B,) rank by angle instead of by score."""
    offsets: NDArray[np.int64]
    """(B + 1,) into `item_nums`."""
    item_nums: NDArray[np.int32]
    """(E,)"""


@dataclass(slots=True)
class SearchResult:
    """The best of one shard for each of B queries, K the largest of `ks`."""

    item_nums: NDArray[np.int32]
    """(B, K), padded with 0."""
    scores: NDArray[np.float64]
    """(B, K), padded with -inf."""
    log_sum_exp: NDArray[np.float64] | None
    """(B,) over all items of the shard; None where the index is approximate."""


class Encoder(Protocol):
    """The query encoder, wherever it runs. ReleaseMismatchError for a release that it lacks."""

    async def encode(self, request: EncodeRequest) -> NDArray[np.float32]:
        """Return (B, D); zeros in the row of a user of whom the model knows nothing."""

    async def check(self, release: str) -> None: ...


class IndexShard(Protocol):
    """One shard of the index, wherever it runs. ReleaseMismatchError for a release it lacks."""

    async def search(self, request: SearchRequest) -> SearchResult: ...

    async def vectors_of(
        self, release: str, item_nums: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return those of the numbers that it holds, (M,), and their vectors, (M, D)."""

    async def check(self, release: str) -> None: ...
