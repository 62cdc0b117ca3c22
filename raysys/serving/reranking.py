"""Lists that clients bring, put into the order in which one user would like them.

The scores are the softmax over the list of what /recommendations ranks by, so the order is the one
in which these items stand there. What cannot be scored follows: by popularity what the release
knows, then, as they came, the items that it does not know. What a filter does not let through is
left out, and with it what it cannot judge: items that the release does not know.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.topk import rescore
from raysys.filters.masks import EVERYTHING
from raysys.index.home import keys_of_new_items
from raysys.serving.asked import Asked, Shown
from raysys.serving.filtering import Demand, GatewayFilters
from raysys.serving.item_vectors import VectorsOf
from raysys.serving.messages import Query, RankQuery
from raysys.serving.ranking import Ranked
from raysys.serving.release_parts import ReleaseParts
from raysys.serving.visitors import NO_ITEMS


def asked_of(query: RankQuery) -> Asked:
    """Return who asks, as one who asks for recommendations."""
    return Asked(
        Query(
            query.user_id,
            None,
            len(query.item_ids),
            query.context,
            filter_name=query.filter_name,
            filter_values=query.filter_values,
            metadata_columns=query.metadata_columns,
        )
    )


async def show_reranked(
    batch: Sequence[tuple[Asked, RankQuery]],
    release: ReleaseParts,
    filters: GatewayFilters,
    vectors_of: VectorsOf,
) -> dict[int, str]:
    """Decide what is shown to each query, once it is known who asks.

    Returns the ids of the listed items that the release does not know, by key.
    """
    ids = list(dict.fromkeys(item_id for _, query in batch for item_id in query.item_ids))
    nums_by_id = dict(zip(ids, release.items.numbers(ids).tolist(), strict=True))
    new_ids = [item_id for item_id, num in nums_by_id.items() if not num]
    key_by_id = nums_by_id | dict(zip(new_ids, keys_of_new_items(new_ids).tolist(), strict=True))
    wanted = {
        item_id: nums_by_id[item_id]
        for asked, query in batch
        if asked.vector is not None
        for item_id in query.item_ids
        if nums_by_id[item_id]
    }
    vectors = await vectors_of(wanted) if wanted else {}
    for asked, query in batch:
        keys = np.array([key_by_id[item_id] for item_id in dict.fromkeys(query.item_ids)], np.int64)
        if asked.demand is not None:
            keys = await _let_through(keys, asked.demand, filters)
        ranked = _scored(asked.vector, keys[keys > 0], vectors)
        num_known = int((keys > 0).sum())
        if asked.vector is not None:
            asked.is_degraded |= len(ranked.item_nums) < num_known
            if not num_known and len(keys):
                asked.reason = "unknown-items"
            elif num_known and not len(ranked.item_nums):
                asked.go_without("index-unavailable")
        is_left = (keys > 0) & ~np.isin(keys, ranked.item_nums)
        by_popularity = sorted(keys[is_left].tolist(), key=release.popularity_rank)
        # As integers throughout: a float would not hold the keys of new items.
        left = np.array(by_popularity, dtype=np.int64)
        shown = np.concatenate([ranked.item_nums.astype(np.int64), left, keys[keys < 0]])
        scores: list[float | None] | None = None
        if ranked.scores is not None:
            scores = [*ranked.scores, *[None] * (len(shown) - len(ranked.scores))]
        asked.shown = Shown(shown, scores)
    return {key_by_id[item_id]: item_id for item_id in new_ids}


async def _let_through(
    keys: NDArray[np.int64], demand: Demand, filters: GatewayFilters
) -> NDArray[np.int64]:
    is_let = (keys < 0) & (demand.rule == EVERYTHING) & ~np.isin(keys, demand.excluded_keys)
    is_let[keys > 0] = await filters.allows(demand, keys[keys > 0])
    return keys[is_let]


def _scored(
    query: NDArray[np.float32] | None,
    item_nums: NDArray[np.int64],
    vectors: Mapping[int, NDArray[np.float32]],
) -> Ranked:
    """Rank the items whose vectors are known; without any, or without a query, none."""
    nums = np.array([num for num in item_nums.tolist() if num in vectors], dtype=np.int32)
    if query is None or not len(nums):
        return Ranked(NO_ITEMS)
    candidates = np.stack([vectors[num] for num in nums.tolist()])
    top = rescore(query[None], candidates, nums, np.arange(len(nums))[None], len(nums))
    scores = top.scores[0]
    return Ranked(top.item_nums[0], np.exp(scores - np.logaddexp.reduce(scores)).tolist())
