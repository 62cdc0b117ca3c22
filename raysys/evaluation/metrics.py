"""Ranking metrics, of one list by definition and of many lists at once.

A rank is 1 at the top. A list has each item at most once; what lies beyond its end counts as not
found, so a list shorter than k is not forgiven. `metrics_of_lists` gives the same values as the
four definitions, for whole batches; a report's value is their sum over the users who have something
relevant, divided by the number of those users, found or not.

Letters for shapes:
    B  lists    K  items of a list
"""

import math
from collections.abc import Sequence
from collections.abc import Set as AbstractSet

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import rows_of_offsets
from raysys.evaluation.exclusion import ItemLists

METRICS = ("hit_rate", "recall", "ndcg", "mrr")


def hit_rate_at_k(recommended: Sequence[int], relevant: AbstractSet[int], k: int) -> float:
    """Return 1 if any relevant item is among the first k, else 0; nan when nothing is relevant.

    Nothing is divided: with several relevant items one is enough. With one per user, as after
    leave-last-out, it equals recall.
    """
    ranks = _ranks(recommended, relevant, k)
    return float(bool(ranks)) if relevant else math.nan


def recall_at_k(recommended: Sequence[int], relevant: AbstractSet[int], k: int) -> float:
    """Return |first k and relevant| / |relevant|, in [0, 1]; nan when nothing is relevant.

    The denominator is all that is relevant, the untruncated form: with more than k relevant items
    the best value is below 1. Libraries that divide by min(k, |relevant|) report higher numbers.
    """
    ranks = _ranks(recommended, relevant, k)
    return len(ranks) / len(relevant) if relevant else math.nan


def ndcg_at_k(recommended: Sequence[int], relevant: AbstractSet[int], k: int) -> float:
    """Return the discounted gain of the first k over the best possible one; nan without relevant.

    A relevant item at rank r gains 1 / log2(r + 1). The denominator is the gain of the best
    list there is, with min(k, |relevant|) relevant items at its top; for one relevant item it is 1.

    Source:
        Jarvelin and Kekalainen, Cumulated Gain-Based Evaluation of IR Techniques, TOIS 2002,
        doi:10.1145/582415.582418, with the discount that trec_eval uses.
    """
    ranks = _ranks(recommended, relevant, k)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, len(relevant)) + 1))
    return sum(1 / math.log2(rank + 1) for rank in ranks) / ideal if relevant else math.nan


def mrr_at_k(recommended: Sequence[int], relevant: AbstractSet[int], k: int) -> float:
    """Return 1 / rank of the first relevant item within k, 0 if there is none.

    The denominator is that rank alone, however many items are relevant; nan when nothing is.
    """
    ranks = _ranks(recommended, relevant, k)
    return (1 / ranks[0] if ranks else 0.0) if relevant else math.nan


def metrics_of_lists(
    recommended: NDArray[np.int32], relevant: ItemLists, ks: Sequence[int]
) -> dict[str, NDArray[np.float64]]:
    """Return every metric at every k for each list, under names such as `ndcg_at_10`.

    Args:
        recommended: (B, K) item numbers, best first; 0 is padding and never relevant.
        relevant: the relevant items of each list; one named twice counts once.
        ks: each at most K.

    Returns:
        (B,) per name; nan for a list that has no relevant item.

    Raises:
        ValueError: a k outside 1 to K, an item twice in a list, or unequal numbers of lists.
    """
    _check_lists(recommended, relevant, ks)
    is_hit, num_relevant = hits_of_lists(recommended, relevant)
    width = recommended.shape[1]
    discounts = 1 / np.log2(np.arange(2, width + 2))
    best = np.concatenate([[0.0], np.cumsum(discounts)])
    hits = np.cumsum(is_hit, axis=1)
    gains = np.cumsum(is_hit * discounts, axis=1)
    first_rank = np.where(is_hit.any(axis=1), is_hit.argmax(axis=1) + 1, np.inf)
    nothing = num_relevant == 0
    values: dict[str, NDArray[np.float64]] = {}
    for k in ks:
        ideal = best[np.minimum(k, num_relevant)]
        values[f"hit_rate_at_{k}"] = (hits[:, k - 1] > 0).astype(np.float64)
        values[f"recall_at_{k}"] = hits[:, k - 1] / np.where(nothing, 1, num_relevant)
        values[f"ndcg_at_{k}"] = gains[:, k - 1] / np.where(nothing, 1, ideal)
        values[f"mrr_at_{k}"] = np.where(first_rank <= k, 1 / first_rank, 0.0)
    for vector in values.values():
        vector[nothing] = np.nan
    return values


def _ranks(recommended: Sequence[int], relevant: AbstractSet[int], k: int) -> list[int]:
    if k < 1:
        raise ValueError(f"k must be at least 1, but got {k}.")
    if len(set(recommended)) != len(recommended):
        raise ValueError("An item is recommended twice in one list, which would count it twice.")
    return [rank for rank, item in enumerate(recommended[:k], start=1) if item in relevant]


def hits_of_lists(
    recommended: NDArray[np.integer], relevant: ItemLists
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return which recommended items are relevant, (B, K), and how many are relevant, (B,)."""
    num_lists = len(recommended)
    rows = rows_of_offsets(relevant.offsets)
    # One key per (list, item), so that all lists are compared at once.
    wanted = np.unique((rows << 32) | relevant.item_nums)
    given = (np.arange(num_lists)[:, None] << 32) | recommended
    is_hit = np.isin(given, wanted) & (recommended != 0)
    return is_hit, np.bincount(wanted >> 32, minlength=num_lists)


def _check_lists(recommended: NDArray[np.int32], relevant: ItemLists, ks: Sequence[int]) -> None:
    num_lists, width = recommended.shape
    if len(relevant.offsets) != num_lists + 1:
        raise ValueError(
            f"{num_lists} lists need as many sets of relevant items, but got "
            f"{len(relevant.offsets) - 1}."
        )
    outside = [k for k in ks if not 1 <= k <= width]
    if outside:
        raise ValueError(
            f"k must lie between 1 and the lists' length {width}, but got {outside[0]}."
        )
    items = np.sort(recommended, axis=1)
    if np.any((items[:, 1:] == items[:, :-1]) & (items[:, 1:] != 0)):
        raise ValueError("An item is recommended twice in one list, which would count it twice.")
