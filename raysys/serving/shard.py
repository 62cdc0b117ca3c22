"""An index shard's work: one search request in, the best of its partitions and fresh items out."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from raysys.config import ServingConfig
from raysys.dataset.histories import offsets_of
from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import TopK, merge_top_k
from raysys.filters.masks import Rule
from raysys.index.drawing import Settings
from raysys.index.filtered import ShardFilters
from raysys.index.fresh import FreshDraws, FreshPool
from raysys.index.shard import Shard, open_shard
from raysys.policy.candidates import FreshBatch, FreshCandidates
from raysys.release import Release
from raysys.serving.exchange import (
    Exploration,
    Filtering,
    FreshResult,
    FreshStatus,
    SearchRequest,
    SearchResult,
)
from raysys.serving.pool_follower import PoolFollower
from raysys.state.store import StateStore

_K_BUCKETS = (32, 128, 512)
_KINDS = 2 * (len(_K_BUCKETS) + 1)
"""Of searches: by score and by cosine, for about as many results."""
_NO_SEARCH = -1
_NO_RULE = -1


class ReleaseShard:
    """One shard of a release's index, with its fresh items. `search` takes one thread at a time."""

    def __init__(
        self, index: Shard, filters: ShardFilters, fresh: PoolFollower, settings: Settings
    ) -> None:
        self._index = index
        self._filters = filters
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
        filters = ShardFilters.of_release(release, index)
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
        return cls(index, filters, fresh, settings)

    def search(self, request: SearchRequest) -> SearchResult:
        return answer_search(self._index, self._filters, self._fresh.pool, self._settings, request)

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
    shard: Shard,
    filters: ShardFilters,
    pool: FreshPool,
    settings: Settings,
    request: SearchRequest,
) -> SearchResult:
    """Search for queries that want about as many results together, by score or by cosine.

    Those of one filter are searched for together too. For those queries that explore, draw from
    the pool as well.
    """
    width = max(1, int(request.ks.max()))
    buckets = np.searchsorted(_K_BUCKETS, request.ks)
    kinds = buckets * 2 + request.by_cosine
    if request.filtering is not None:
        kinds += _KINDS * (1 + request.filtering.rule_of)
    groups = np.where(request.ks > 0, kinds, _NO_SEARCH)
    if groups[0] != _NO_SEARCH and (groups == groups[0]).all():  # nearly always
        top = _search(shard, filters, request, slice(None), width)
    else:
        top = _searched_in_groups(shard, filters, request, groups, width)
    if request.filtering is not None and len(request.filtering.included_nums):
        top = _with_included(shard, filters, request, request.filtering, top)
    fresh = None
    if request.exploration is not None:
        fresh = _drawn(pool, filters, settings, request, request.exploration, top)
    return SearchResult(top.item_nums, top.scores, shard.log_sum_exp(request.queries), fresh)


def _drawn(
    pool: FreshPool,
    filters: ShardFilters,
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

    def draw(places: Sequence[int], rule: Rule | None) -> FreshDraws:
        return pool.draw(
            request.queries[exploration.rows[places]],
            seeds=exploration.seeds[places],
            ks=exploration.ks[places],
            now_us=exploration.now_us,
            banned=_Keys.from_lists([banned[place] for place in places]),
            relevant=_Keys.from_lists([relevant[place] for place in places]),
            temperature=settings.temperature,
            bonus=settings.bonus,
            allowed=None if rule is None else filters.fresh(rule, pool),
        )

    if request.filtering is None:
        return FreshResult(draw(range(len(rows)), None), pool.version)
    return FreshResult(_drawn_in_groups(draw, request.filtering, rows), pool.version)


def _drawn_in_groups(
    draw: Callable[[Sequence[int], Rule | None], FreshDraws], filtering: Filtering, rows: list[int]
) -> FreshDraws:
    """Draw for queries of one filter together, and return the draws in the order of the queries."""
    rule_of = filtering.rule_of[rows]
    candidates: dict[int, FreshCandidates] = {}
    item_ids: dict[int, str] = {}
    for number in np.unique(rule_of).tolist():
        places = np.flatnonzero(rule_of == number).tolist()
        draws = draw(places, None if number == _NO_RULE else filtering.rules[number])
        candidates |= {place: draws.candidates.of(row) for row, place in enumerate(places)}
        item_ids |= draws.item_ids
    in_order = [candidates[place] for place in range(len(rows))]
    return FreshDraws(FreshBatch.of_queries(in_order), item_ids)


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
    shard: Shard,
    filters: ShardFilters,
    request: SearchRequest,
    groups: NDArray[np.integer],
    width: int,
) -> TopK:
    count = len(request.ks)
    whole = TopK(np.zeros((count, width), np.int32), np.full((count, width), -np.inf))
    for group in np.unique(groups[groups != _NO_SEARCH]):
        rows = np.flatnonzero(groups == group)
        top = _search(shard, filters, request, rows, int(request.ks[rows].max()))
        found = top.item_nums.shape[1]
        whole.item_nums[rows, :found] = top.item_nums
        whole.scores[rows, :found] = top.scores
    return whole


def _search(
    shard: Shard,
    filters: ShardFilters,
    request: SearchRequest,
    rows: slice | NDArray[np.int64],
    k: int,
) -> TopK:
    """Search for some queries, all of them by score or all by cosine, and all of one filter."""
    search = shard.search_by_cosine if request.by_cosine[rows][0] else shard.search
    excluded = request if isinstance(rows, slice) else Exclusions.of_rows(request, rows)
    allowed = None
    if request.filtering is not None and request.filtering.rule_of[rows][0] != _NO_RULE:
        allowed = filters.rows(request.filtering.rules[request.filtering.rule_of[rows][0]])
        if allowed.all():
            allowed = None
    return search(request.queries[rows], k, excluded, allowed)


def _with_included(
    shard: Shard, filters: ShardFilters, request: SearchRequest, filtering: Filtering, top: TopK
) -> TopK:
    """Return the lists with the items of users' pasts that an INCLUDE names among them."""
    lists = []
    for row, number in enumerate(filtering.rule_of.tolist()):
        nums = filtering.included_nums[_span(filtering.included_offsets, row)]
        if len(nums) and request.ks[row]:
            rule = filtering.rules[number]
            is_new = filters.lets(rule.without_includes(), nums) & ~filters.lets(rule, nums)
            is_new &= ~np.isin(nums, request.item_nums[_span(request.offsets, row)])
            nums = nums[is_new]
        lists.append(nums if request.ks[row] else nums[:0])
    included = Exclusions.from_lists(lists)
    width = top.item_nums.shape[1]
    for by_cosine in np.unique(request.by_cosine).tolist():
        rows = np.flatnonzero(request.by_cosine == by_cosine)
        some = Exclusions.of_rows(included, rows)
        more = shard.rank(request.queries[rows], width, some, by_cosine=by_cosine)
        both = merge_top_k([TopK(top.item_nums[rows], top.scores[rows]), more], width)
        top.item_nums[rows], top.scores[rows] = both.item_nums, both.scores
    return top
