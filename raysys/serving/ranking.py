"""From the shards' results to lists: pure, on arrays.

Letters for shapes:
    B  queries    K  results of a query    D  width of an embedding    S  shards that answered
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import offsets_of
from raysys.evaluation.topk import TopK, merge_top_k
from raysys.serving.exchange import Exploration, Filtering, SearchRequest, SearchResult


@dataclass(slots=True)
class Ranked:
    """One list: keys of items, best first, and their scores where the source has some."""

    keys: NDArray[np.integer]
    scores: list[float] | None = None


def search_request(
    release: str,
    vectors: Sequence[NDArray[np.float32]],
    *,
    ks: Sequence[int],
    by_cosine: Sequence[bool],
    banned: Sequence[NDArray[np.int32]],
    banned_keys: Sequence[NDArray[np.int64]],
    exploration: Exploration | None = None,
    filtering: Filtering | None = None,
) -> SearchRequest:
    """Lay what B queries ask end to end."""
    return SearchRequest(
        release,
        np.stack(vectors),
        np.array(ks, dtype=np.int32),
        np.array(by_cosine, dtype=bool),
        offsets_of([len(nums) for nums in banned]),
        np.concatenate(banned).astype(np.int32, copy=False),
        offsets_of([len(keys) for keys in banned_keys]),
        np.concatenate(banned_keys),
        exploration,
        filtering,
    )


def merged_results(results: Sequence[SearchResult], request: SearchRequest) -> Iterator[Ranked]:
    """Give the best of all shards for each query, by (score descending, key ascending).

    Scores become probabilities: the softmax over the catalogue of the shards that answered where
    the index is exact, otherwise over the merged list. A query by cosine keeps its cosines.
    """
    width = max(1, int(request.ks.max()))
    top = merge_top_k([TopK(result.keys, result.scores) for result in results], width)
    totals = _log_totals(results, top)
    counts = np.minimum((top.item_nums != 0).sum(axis=1), request.ks)
    probabilities = np.exp(top.scores - totals[:, None])
    shown = np.where(request.by_cosine[:, None], top.scores, probabilities)
    for row, count in enumerate(counts.tolist()):
        yield Ranked(top.item_nums[row, :count], shown[row, :count].tolist())


def popular_without(
    popular: NDArray[np.integer], banned: NDArray[np.integer], k: int
) -> NDArray[np.integer]:
    """Return the first k of the popular items that are not banned."""
    first = popular[: k + len(banned)]  # enough, even if all that is banned stands at the top
    return first[~np.isin(first, banned)][:k]


def _log_totals(results: Sequence[SearchResult], top: TopK) -> NDArray[np.float64]:
    """Return for each query, (B,), the log of the sum that its softmax divides by."""
    parts = [result.log_sum_exp for result in results if result.log_sum_exp is not None]
    if len(parts) < len(results):
        parts = list(top.scores.T)
    totals: NDArray[np.float64] = np.logaddexp.reduce(parts, axis=0)
    return np.where(np.isfinite(totals), totals, 0.0)
