"""One search request over an index or a delta: queries that can be searched for together are.

Letters for shapes: as in `exchange`.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.exclusion import Exclusions
from raysys.evaluation.topk import TopK, merge_top_k
from raysys.filters.masks import EVERYTHING
from raysys.index.delta import Delta
from raysys.index.filtered import RowFilters
from raysys.index.shard import Shard
from raysys.serving.exchange import Filtering, SearchRequest

_K_BUCKETS = (32, 128, 512)
_KINDS = 2 * (len(_K_BUCKETS) + 1)
"""Of searches: by score and by cosine, for about as many results."""
_NO_SEARCH = -1
NO_RULE = -1
"""The place of no rule, see `Filtering.rule_of`."""


Searched: TypeAlias = Shard | Delta
"""An index, or the delta beside it: both are searched alike."""


def search_in_groups(searched: Searched, filters: RowFilters, request: SearchRequest) -> TopK:
    """Search for queries that want about as many results together, by score or by cosine.

    Those of one filter are searched for together too.
    """
    width = max(1, int(request.ks.max()))
    buckets = np.searchsorted(_K_BUCKETS, request.ks)
    kinds = buckets * 2 + request.by_cosine
    if request.filtering is not None:
        kinds += _KINDS * (1 + request.filtering.rule_of)
    groups = np.where(request.ks > 0, kinds, _NO_SEARCH)
    if groups[0] != _NO_SEARCH and (groups == groups[0]).all():  # nearly always
        top = _search(searched, filters, request, slice(None), width)
    else:
        top = _searched_in_groups(searched, filters, request, groups, width)
    if request.filtering is not None and len(request.filtering.included_nums):
        top = _with_included(searched, filters, request, request.filtering, top)
    return top


def _searched_in_groups(
    searched: Searched,
    filters: RowFilters,
    request: SearchRequest,
    groups: NDArray[np.integer],
    width: int,
) -> TopK:
    count = len(request.ks)
    whole = TopK(np.zeros((count, width), np.int32), np.full((count, width), -np.inf))
    for group in np.unique(groups[groups != _NO_SEARCH]):
        rows = np.flatnonzero(groups == group)
        top = _search(searched, filters, request, rows, int(request.ks[rows].max()))
        found = top.item_nums.shape[1]
        whole.item_nums[rows, :found] = top.item_nums
        whole.scores[rows, :found] = top.scores
    return whole


def _search(
    searched: Searched,
    filters: RowFilters,
    request: SearchRequest,
    rows: slice | NDArray[np.int64],
    k: int,
) -> TopK:
    """Search for some queries, all of them by score or all by cosine, and all of one filter."""
    excluded = request if isinstance(rows, slice) else Exclusions.of_rows(request, rows)
    rule = EVERYTHING
    if request.filtering is not None and request.filtering.rule_of[rows][0] != NO_RULE:
        rule = request.filtering.rules[request.filtering.rule_of[rows][0]]
    allowed = None
    if filters.hides or rule != EVERYTHING:
        allowed = filters.candidates(rule, len(request.ks[rows]))
    by_cosine = bool(request.by_cosine[rows][0])
    return searched.search(request.queries[rows], k, excluded, allowed, by_cosine=by_cosine)


def _with_included(
    searched: Searched,
    filters: RowFilters,
    request: SearchRequest,
    filtering: Filtering,
    top: TopK,
) -> TopK:
    """Return the lists with the items of users' pasts that an INCLUDE names among them."""
    lists = []
    for row, number in enumerate(filtering.rule_of.tolist()):
        nums = filtering.included_nums[span_of(filtering.included_offsets, row)]
        if len(nums) and request.ks[row]:
            rule = filtering.rules[number]
            is_new = filters.lets(rule.without_includes(), nums) & ~filters.lets(rule, nums)
            is_new &= ~np.isin(nums, request.item_nums[span_of(request.offsets, row)])
            nums = nums[is_new]
        lists.append(nums if request.ks[row] else nums[:0])
    included = Exclusions.from_lists(lists)
    width = top.item_nums.shape[1]
    for by_cosine in np.unique(request.by_cosine).tolist():
        rows = np.flatnonzero(request.by_cosine == by_cosine)
        some = Exclusions.of_rows(included, rows)
        more = searched.rank(request.queries[rows], width, some, by_cosine=by_cosine)
        both = merge_top_k([TopK(top.item_nums[rows], top.scores[rows]), more], width)
        top.item_nums[rows], top.scores[rows] = both.item_nums, both.scores
    return top


def span_of(offsets: NDArray[np.int64], place: int) -> slice:
    """Return where the values of a query lie."""
    return slice(int(offsets[place]), int(offsets[place + 1]))
