"""An index shard's work: one search request in; the best of its partitions and of what was put, and
fresh items, out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from raysys.config import ExplorationPolicy, ServingConfig
from raysys.dataset.histories import offsets_of, rows_of_offsets
from raysys.evaluation.topk import TopK, merge_top_k
from raysys.index.delta import Delta
from raysys.index.filtered import FiltersNow, FilterWork, ShardFilters
from raysys.index.fresh import FreshDraws, FreshPool
from raysys.index.shard import Shard, open_shard
from raysys.policy.candidates import FreshBatch, FreshCandidates
from raysys.policy.policies import DrawPolicy, draw_policies
from raysys.release import Release
from raysys.serving.exchange import (
    Exploration,
    FreshStatus,
    SearchRequest,
    SearchResult,
)
from raysys.serving.pool_follower import PoolFollower
from raysys.serving.searching import NO_RULE, search_in_groups, span_of
from raysys.state.store import StateStore

Policies = Mapping[ExplorationPolicy, DrawPolicy]


class ReleaseShard:
    """One shard of a release's index, with its fresh items. `search` takes one thread at a time."""

    def __init__(
        self, index: Shard, filters: ShardFilters, fresh: PoolFollower, policies: Policies
    ) -> None:
        self._index = index
        self._filters = filters
        self._fresh = fresh
        self._policies = policies

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
        policies = draw_policies(config)
        return cls(index, filters, fresh, policies)

    def search(self, request: SearchRequest) -> SearchResult:
        return answer_search(self._index, self._filters, self._fresh.pool, self._policies, request)

    def take_filter_work(self) -> FilterWork:
        """Return what filters did since this was asked last; for the thread that searches."""
        return self._filters.take_work()

    def vectors_of(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        return answer_vectors(self._index, self._fresh.pool, keys)

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
    policies: Policies,
    request: SearchRequest,
) -> SearchResult:
    """Search the index and the pool's delta for each query; draw from the pool for some."""
    delta = pool.delta
    masks = filters.at(delta)
    top = search_in_groups(shard, masks.released, request)
    keys, scores = top.item_nums, top.scores
    totals = shard.log_sum_exp(request.queries)
    if len(delta):
        # In score and order as if the delta were one more partition of the index.
        put = search_in_groups(delta, masks.put, _of_delta(request, delta))
        both = merge_top_k(
            [top, TopK(delta.keys_at(put.item_nums), put.scores)], top.scores.shape[1]
        )
        keys, scores = both.item_nums, both.scores
        if totals is not None:
            totals = delta.totals_with(totals, request.queries)
    fresh = None
    if request.exploration is not None:
        fresh = _drawn(pool, masks, policies, request, request.exploration, keys)
    return SearchResult(keys, scores, totals, pool.version, delta.put.ids_of(keys), fresh)


def answer_vectors(
    shard: Shard, pool: FreshPool, keys: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return those of the keys that index and delta hold, (M,), and their vectors, (M, D)."""
    put, put_vectors = pool.delta.vectors_of(keys)
    nums, vectors = shard.vectors_of(keys[(keys > 0) & ~np.isin(keys, put)])
    return np.concatenate([nums.astype(np.int64), put]), np.concatenate([vectors, put_vectors])


def _of_delta(request: SearchRequest, delta: Delta) -> SearchRequest:
    """Return the request as the delta wants it: places in it are its item numbers."""
    filtering = request.filtering
    if filtering is not None:
        offsets, places = _places(
            delta,
            (filtering.included_key_offsets, filtering.included_keys),
            (filtering.included_offsets, filtering.included_nums),
        )
        filtering = replace(filtering, included_offsets=offsets, included_nums=places)
    offsets, places = _places(
        delta, (request.key_offsets, request.keys), (request.offsets, request.item_nums)
    )
    return replace(request, offsets=offsets, item_nums=places, filtering=filtering)


_Lists = tuple[NDArray[np.int64], NDArray[np.integer]]
"""(B + 1,) offsets, and what they lead to."""


def _places(
    delta: Delta, keys: _Lists, nums: _Lists
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Return the places in the delta of what B queries name by key or by number, as such lists."""
    if not len(delta.replaced):  # nearly always; what is not here has place 0, which is no item's
        return keys[0], delta.places_of(keys[1])
    rows = np.concatenate([rows_of_offsets(keys[0]), rows_of_offsets(nums[0])])
    places = np.concatenate([delta.places_of(keys[1]), delta.places_of(nums[1])])
    order = np.argsort(rows, kind="stable")
    return keys[0] + nums[0], places[order]


def _drawn(
    pool: FreshPool,
    filters: FiltersNow,
    policies: Policies,
    request: SearchRequest,
    exploration: Exploration,
    found: NDArray[np.integer],
) -> FreshDraws:
    """Draw for the queries that explore.

    Args:
        found: (B, K) the keys of what was found for all queries.
    """
    rows: list[int] = exploration.rows.tolist()
    banned = [
        np.concatenate(
            [
                request.item_nums[span_of(request.offsets, row)],
                request.keys[span_of(request.key_offsets, row)],
            ]
        )
        for row in rows
    ]
    relevant = [
        found[row, : request.ks[row]]
        if request.ks[row]
        else exploration.relevant_nums[span_of(exploration.relevant_offsets, place)]
        for place, row in enumerate(rows)
    ]
    # With fewer relevant items than places, places draw whatever their coins say. Other shards can
    # only have more relevant ones.
    num_found = np.array([np.count_nonzero(keys) for keys in relevant])
    counts = np.maximum(exploration.num_draws, exploration.ks - num_found)

    def draw(places: Sequence[int], policy: ExplorationPolicy, number: int) -> FreshDraws:
        filtering = request.filtering
        rule = None if filtering is None or number == NO_RULE else filtering.rules[number]
        return pool.draw(
            request.queries[exploration.rows[places]],
            seeds=exploration.seeds[places],
            counts=counts[places],
            now_us=exploration.now_us,
            banned=_Keys.from_lists([banned[place] for place in places]),
            relevant=_Keys.from_lists([relevant[place] for place in places]),
            policy=policies[policy],
            allowed=None if rule is None else filters.fresh(rule, pool),
        )

    rule_of = np.full(len(rows), NO_RULE)
    if request.filtering is not None:
        rule_of = request.filtering.rule_of[rows]
    return _drawn_in_groups(draw, exploration.policies, rule_of.tolist())


def _drawn_in_groups(
    draw: Callable[[Sequence[int], ExplorationPolicy, int], FreshDraws],
    policies: Sequence[ExplorationPolicy],
    rule_of: Sequence[int],
) -> FreshDraws:
    """Draw for queries of one policy and filter together, and return all in their order."""
    groups: dict[tuple[ExplorationPolicy, int], list[int]] = {}
    for place, group in enumerate(zip(policies, rule_of, strict=True)):
        groups.setdefault(group, []).append(place)
    if len(groups) == 1:
        ((group, places),) = groups.items()
        return draw(places, *group)
    candidates: dict[int, FreshCandidates] = {}
    num_fresh = np.zeros(len(policies), np.int64)
    item_ids: dict[int, str] = {}
    for group, places in groups.items():
        draws = draw(places, *group)
        candidates |= {place: draws.candidates.of(row) for row, place in enumerate(places)}
        num_fresh[places] = draws.num_fresh
        item_ids |= draws.item_ids
    in_order = [candidates[place] for place in range(len(policies))]
    return FreshDraws(FreshBatch.of_queries(in_order), num_fresh, item_ids)


@dataclass(frozen=True, slots=True)
class _Keys:
    """Keys per query, as `index.drawing.KeyLists`."""

    offsets: NDArray[np.int64]
    item_nums: NDArray[np.integer]

    @classmethod
    def from_lists(cls, lists: Sequence[NDArray[np.integer]]) -> "_Keys":
        return cls(offsets_of([len(keys) for keys in lists]), np.concatenate(lists))
