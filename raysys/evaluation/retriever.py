"""Embedding models behind the door that baselines share, without knowing what encodes."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories
from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.topk import TopK, exact_top_k


class EmbeddingRetriever:
    """Ranks candidates by their dot product with the encoded history.

    Args:
        encode: returns (B, D) float32 query vectors for B histories.
        candidates: (N, D) float32.
        candidate_nums: (N,) their item numbers, ascending.
    """

    def __init__(
        self,
        encode: Callable[[Histories], NDArray[np.float32]],
        candidates: NDArray[np.float32],
        candidate_nums: NDArray[np.int32],
    ) -> None:
        self._encode = encode
        self._candidates = candidates
        self._candidate_nums = candidate_nums

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        """Return the k best items for each history, but for its row of `excluded`."""
        queries = self._encode(histories)
        return exact_top_k(queries, self._candidates, self._candidate_nums, k, excluded)
