"""An index shard's work: one search request in, the best of its partitions out."""

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.exclusion import Exclusions, ItemLists
from raysys.evaluation.topk import TopK
from raysys.index.shard import Shard
from raysys.serving.exchange import SearchRequest, SearchResult

_K_BUCKETS = (32, 128, 512)
_NO_SEARCH = -1


def answer_search(shard: Shard, request: SearchRequest) -> SearchResult:
    """Search for queries that want about as many results together, by score or by cosine."""
    width = max(1, int(request.ks.max()))
    buckets = np.searchsorted(_K_BUCKETS, request.ks)
    groups = np.where(request.ks > 0, buckets * 2 + request.by_cosine, _NO_SEARCH)
    if groups[0] != _NO_SEARCH and (groups == groups[0]).all():  # nearly always
        top = _search(shard, request.queries, width, request, by_cosine=bool(request.by_cosine[0]))
    else:
        top = _searched_in_groups(shard, request, groups, width)
    return SearchResult(top.item_nums, top.scores, shard.log_sum_exp(request.queries))


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
            _lists_of(request, rows),
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


def _lists_of(lists: ItemLists, rows: NDArray[np.integer]) -> Exclusions:
    return Exclusions.from_lists(
        [lists.item_nums[lists.offsets[row] : lists.offsets[row + 1]] for row in rows]
    )
