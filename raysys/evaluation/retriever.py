"""Embedding models behind the door that baselines share, without knowing what encodes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.exclusion import Exclusions, ItemLists
from raysys.evaluation.topk import TopK, exact_top_k


class EmbeddingRetriever:
    """Ranks candidates by their dot product with the encoded history.

    Args:
        encode: returns (B, D) float32 query vectors for B histories.
        candidates: (N, D) float32.
        candidate_nums: (N,) their item numbers, ascending.
        for_strangers: what they get whose query is zeros, since nothing is known of them: what
            serving gives them, the popular list. None: the items in the order of their numbers, all
            of which tie, so that evaluation finds nothing for them.
    """

    def __init__(
        self,
        encode: Callable[[Histories], NDArray[np.float32]],
        candidates: NDArray[np.float32],
        candidate_nums: NDArray[np.int32],
        for_strangers: FixedRanking | None = None,
    ) -> None:
        self._encode = encode
        self._candidates = candidates
        self._candidate_nums = candidate_nums
        self._for_strangers = for_strangers

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        """Return the k best items for each history, but for its row of `excluded`."""
        queries = self._encode(histories)
        top = exact_top_k(queries, self._candidates, self._candidate_nums, k, excluded)
        strangers = np.flatnonzero(~queries.any(axis=1))
        if self._for_strangers is not None and len(strangers):
            banned = None if excluded is None else Exclusions.of_rows(excluded, strangers)
            popular = self._for_strangers.first(len(strangers), k, banned)
            top.item_nums[strangers], top.scores[strangers] = popular.item_nums, popular.scores
        return top
