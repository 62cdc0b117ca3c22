"""An index shard's work: one search request in, the best of its partitions and fresh items out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.dataset.histories import offsets_of
from raysys.evaluation.exclusion import Exclusions, ItemLists
from raysys.evaluation.topk import TopK
from raysys.index.drawing import Settings
from raysys.index.fresh import FreshPool
from raysys.index.shard import Shard, open_shard
from raysys.release import Release
from raysys.serving.exchange import (
    Exploration,
    FreshResult,
    FreshStatus,
    SearchRequest,
    SearchResult,
)
from raysys.serving.pool_follower import PoolFollower
from raysys.state.store import StateStore

_K_BUCKETS = (32, 128, 512)
_NO_SEARCH = -1


class ReleaseShard:
    """One shard of a release's index, with its fresh items. `search` takes one thread at a time."""

    def __init__(self, index: Shard, fresh: PoolFollower, settings: Settings) -> None:
        self._index = index
        self._fresh = fresh
        self._settings = settings

    @classmethod
    def load(
        cls,
        config: ServingConfig,
        release: Release,
        shard: int,
        on_fresh_items: Callable[[int], None] | None = None,
    ) -> "ReleaseShard":
        """Check the hashes of the shard's files, map them into memory, and follow the database.

        Args:
            on_fresh_items: told now and then, by a thread, how many items may be explored.

        Raises:
            DamagedReleaseError, ReleaseMismatchError: the release cannot be used.
            StateError: the database can never be used.
        """
        wants_gpu = config.gpus_per_shard > 0
        index = open_shard(release, shard, config.num_shards, wants_gpu=wants_gpu)
        pool = FreshPool.of_release(
            release,
            index,
            shard=shard,
            num_shards=config.num_shards,
            age_cut_off_days=config.exploration_item_age_cut_off,
        )
        open_store = partial(StateStore, config.database, config.dataset_group)
        fresh = PoolFollower(pool, open_store, on_size=on_fresh_items)
        fresh.start()
        settings = Settings(config.exploration_temperature, config.exploration_bonus)
        return cls(index, fresh, settings)

    def search(self, request: SearchRequest) -> SearchResult:
        return answer_search(self._index, self._fresh.pool, self._settings, request)

    def vectors_of(
        self, item_nums: NDArray[np.int32]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        return self._index.vectors_of(item_nums)

    def fresh_status(self, replica: str) -> FreshStatus:
        pool = self._fresh.pool
        return FreshStatus(replica, pool.num_eligible(time.time_ns() // 1000), pool.version)

    def close(self) -> None:
        """Stop following the database."""
        self._fresh.close()


def answer_search(
    shard: Shard, pool: FreshPool, settings: Settings, request: SearchRequest
) -> SearchResult:
    """Search for queries that want about as many results together, by score or by cosine.

    For those queries that explore, draw from the pool as well.
    """
    width = max(1, int(request.ks.max()))
    buckets = np.searchsorted(_K_BUCKETS, request.ks)
    groups = np.where(request.ks > 0, buckets * 2 + request.by_cosine, _NO_SEARCH)
    if groups[0] != _NO_SEARCH and (groups == groups[0]).all():  # nearly always
        top = _search(shard, request.queries, width, request, by_cosine=bool(request.by_cosine[0]))
    else:
        top = _searched_in_groups(shard, request, groups, width)
    fresh = None
    if request.exploration is not None:
        fresh = _drawn(pool, settings, request, request.exploration, top)
    return SearchResult(top.item_nums, top.scores, shard.log_sum_exp(request.queries), fresh)


def _drawn(
    pool: FreshPool,
    settings: Settings,
    request: SearchRequest,
    exploration: Exploration,
    top: TopK,
) -> FreshResult:
    rows: list[int] = exploration.rows.tolist()
    banned = [
        np.concatenate(
            [
                request.item_nums[_span(request.offsets, row)],
                exploration.banned_keys[_span(exploration.banned_offsets, place)],
            ]
        )
        for place, row in enumerate(rows)
    ]
    relevant = [
        top.item_nums[row, : request.ks[row]]
        if request.ks[row]
        else exploration.relevant_nums[_span(exploration.relevant_offsets, place)]
        for place, row in enumerate(rows)
    ]
    draws = pool.draw(
        request.queries[exploration.rows],
        seeds=exploration.seeds,
        ks=exploration.ks,
        now_us=exploration.now_us,
        banned=_Keys.from_lists(banned),
        relevant=_Keys.from_lists(relevant),
        temperature=settings.temperature,
        bonus=settings.bonus,
    )
    return FreshResult(draws, pool.version)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keys per query, as `index.drawing.KeyLists`."""

    offsets: NDArray[np.int64]
    item_nums: NDArray[np.integer]

    @classmethod
    def from_lists(cls, lists: Sequence[NDArray[np.integer]]) -> "_Keys":
        return cls(offsets_of([len(keys) for keys in lists]), np.concatenate(lists))


def _span(offsets: NDArray[np.int64], place: int) -> slice:
    return slice(int(offsets[place]), int(offsets[place + 1]))


def _searched_in_groups(
    shard: Shard, request: SearchRequest, groups: NDArray[np.integer], width: int
) -> TopK:
    count = len(request.ks)
    whole = TopK(np.zeros((count, width), np.int32), np.full((count, width), -np.inf))
    for group in np.unique(groups[groups != _NO_SEARCH]):
        rows = np.flatnonzero(groups == group)
        top = _search(
            shard,
            request.queries[rows],
            int(request.ks[rows].max()),
            Exclusions.of_rows(request, rows),
            by_cosine=bool(group % 2),
        )
        found = top.item_nums.shape[1]
        whole.item_nums[rows, :found] = top.item_nums
        whole.scores[rows, :found] = top.scores
    return whole


def _search(
    shard: Shard, queries: NDArray[np.float32], k: int, excluded: ItemLists, *, by_cosine: bool
) -> TopK:
    search = shard.search_by_cosine if by_cosine else shard.search
    return search(queries, k, excluded)
