"""What travels between the gateway, the query encoder and the index shards.

Letters for shapes:
    B  queries of a micro-batch    D  width of an embedding    K  results of a query
    T  interactions of all histories    E  excluded items of all queries    M  items found
    X  those of the queries that explore
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raysys.config import ExplorationPolicy
from raysys.dataset.features import Properties
from raysys.filters.masks import Rule
from raysys.index.fresh import FreshDraws


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
    event_types: NDArray[np.int16]
    """(T,)"""
    contexts: NDArray[np.int64]
    """(B,) codes of the contexts that are asked in. A user may ask in several."""
    properties: Mapping[int, str] = field(default_factory=dict)
    """By row: what clients put of these users, JSON objects."""
    items_said: Mapping[int, Properties] = field(default_factory=dict)
    """By row: what clients put of the item that is asked about, where its vector goes by that."""


@dataclass(slots=True)
class Exploration:
    """What X of a request's queries need to explore. An item's key is its number, or below 0."""

    rows: NDArray[np.int64]
    """(X,) which of the B queries, ascending."""
    ks: NDArray[np.int64]
    """(X,) places of each list."""
    num_draws: NDArray[np.int64]
    """(X,) those of them that draw a fresh item where there is one."""
    seeds: NDArray[np.int64]
    """(X,)"""
    policies: list[ExplorationPolicy]
    """X of those that draw, see `policy.policies`."""
    now_us: int
    """Microseconds since 1970 UTC, by the gateway's clock: one time for all shards."""
    relevant_offsets: NDArray[np.int64]
    """(X + 1,) into `relevant_nums`."""
    relevant_nums: NDArray[np.integer]
    """Keys of what queries without a vector show by itself; nothing for those that search."""


@dataclass(slots=True)
class Filtering:
    """Which items a request's queries may be shown: what their rule lets through, and more."""

    rules: list[Rule]
    """Distinct ones."""
    rule_of: NDArray[np.int64]
    """(B,) places in `rules`; -1 for a query that may be shown everything."""
    included_offsets: NDArray[np.int64]
    """(B + 1,) into `included_nums`."""
    included_nums: NDArray[np.int32]
    """Items that a query may be shown though its rule does not include them, unless it excludes
    them: those of the user's past that an INCLUDE names."""
    included_key_offsets: NDArray[np.int64]
    """(B + 1,) into `included_keys`."""
    included_keys: NDArray[np.int64]
    """The same, of items that the release does not know."""


@dataclass(slots=True)
class SearchRequest:
    """B queries, and what each must not get: `evaluation.exclusion.ItemLists` by itself."""

    release: str
    queries: NDArray[np.float32]
    """(B, D)"""
    ks: NDArray[np.int32]
    """(B,) how many results each query wants; 0 for one that explores without a vector."""
    by_cosine: NDArray[np.bool_]
    """(B,) rank by angle instead of by score."""
    offsets: NDArray[np.int64]
    """(B + 1,) into `item_nums`."""
    item_nums: NDArray[np.int32]
    """(E,)"""
    key_offsets: NDArray[np.int64]
    """(B + 1,) into `keys`."""
    keys: NDArray[np.int64]
    """The same of items that the release does not know, all below 0."""
    exploration: Exploration | None = None
    filtering: Filtering | None = None
    """None where no query has a filter."""


@dataclass(slots=True)
class SearchResult:
    """The best of one shard for each of B queries, K the largest of `ks`."""

    keys: NDArray[np.integer]
    """(B, K), padded with 0: item numbers, or below 0 for items that were put since."""
    scores: NDArray[np.float64]
    """(B, K), padded with -inf."""
    log_sum_exp: NDArray[np.float64] | None
    """(B,) over all items of the shard; None where the index is approximate."""
    delta_version: int = 0
    """How much of what was put since the release the shard knows."""
    new_ids: dict[int, str] = field(default_factory=dict)
    """Ids of the items among `keys` that the release does not know, by key."""
    fresh: FreshDraws | None = None
    """What it has for the X queries that explore; None where none does."""


@dataclass(slots=True)
class FreshStatus:
    """How one replica of a shard stands."""

    replica: str
    num_items: int
    """Fresh items that may be explored now."""
    delta_version: int


class Encoder(Protocol):
    """The query encoder, wherever it runs. ReleaseMismatchError for a release that it lacks."""

    async def encode(self, request: EncodeRequest) -> NDArray[np.float32]:
        """Return (B, D); zeros in the row of a user of whom the model knows nothing."""

    async def check(self, release: str) -> None: ...


class IndexShard(Protocol):
    """One shard of the index, wherever it runs. ReleaseMismatchError for a release it lacks."""

    async def search(self, request: SearchRequest) -> SearchResult: ...

    async def vectors_of(
        self, release: str, keys: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return those of the keys that it holds, (M,), and their vectors, (M, D)."""

    async def fresh_status(self, release: str) -> FreshStatus: ...

    async def check(self, release: str) -> None: ...
