"""How well an approximate index finds, and the effort at which it finds well enough.

The true lists come from exact search over the whole catalogue. An item that was found counts if its
score is at least that of the last of the true list, so that items of equal score are as good as
each other. Half of the queries choose the effort, the other half say what it reaches: a recall
that was picked for being high would flatter.

Letters for shapes:
    B  queries    D  width of an embedding    N  items    K  length of a list
"""

import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.topk import TopK, exact_top_k
from raysys.index.effort import Effort, Knobs, cheapest
from raysys.index.shard import Shard

KS = (10, 100)
_MOST_QUERIES = 512
_BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """Queries with their true lists."""

    queries: NDArray[np.float32]
    """(B, D)"""
    scores: NDArray[np.float64]
    """(B, 100) of the best items, best first; -inf where there are fewer."""

    @classmethod
    def of(cls, queries: NDArray[np.float32], embeddings: NDArray[np.float32]) -> "Truth":
        """Search (N, D) vectors exactly, for at most 512 of the queries, evenly picked."""
        step = -(-len(queries) // _MOST_QUERIES) or 1
        asked = np.ascontiguousarray(queries[::step], dtype=np.float32)
        nums = np.arange(1, len(embeddings) + 1, dtype=np.int32)
        return cls(asked, exact_top_k(asked, embeddings, nums, max(KS)).scores)

    def half(self, which: int) -> "Truth":
        """Return every other query, from the first (0) or the second (1); of one query, that."""
        rows = slice(which if len(self.queries) > 1 else 0, None, 2)
        return Truth(self.queries[rows], self.scores[rows])

    def recalls(self, shard: Shard) -> dict[int, NDArray[np.float64]]:
        """Return the share of the true k best that a shard of all partitions finds, (B,), by k."""
        return {k: self._shares(shard.search(self.queries, k), k) for k in KS}

    def _shares(self, top: TopK, k: int) -> NDArray[np.float64]:
        true = self.scores[:, :k]
        sizes = np.isfinite(true).sum(axis=1)
        if not len(true) or not true.shape[1]:
            return np.ones(len(true))
        lowest = np.take_along_axis(true, np.maximum(sizes - 1, 0)[:, None], axis=1)
        hits = np.count_nonzero((top.scores >= lowest) & (top.item_nums > 0), axis=1)
        shares: NDArray[np.float64] = np.minimum(hits, sizes) / np.maximum(sizes, 1)
        return shares


@dataclass(frozen=True, slots=True)
class Tuned:
    """The effort that was chosen, and what it reaches on queries that did not choose it."""

    effort: Effort
    recall_at_10: float
    recall_at_100: float
    num_queries: int
    is_enough: bool


def tuned(shard: Shard, knobs: Knobs, truth: Truth, min_recall: float) -> Tuned:
    """Return the cheapest effort whose mean recall reaches `min_recall`, @10 and @100.

    Where the other half of the queries disagrees, the next dearer effort is tried. If none is
    enough, the most thorough one is returned with what it reached.

    Args:
        shard: of all partitions; its own effort is overwritten.
    """
    choosing, judging = truth.half(0), truth.half(1)

    def is_enough(effort: Effort) -> bool:
        return _lowest(choosing.recalls(with_effort(shard, effort))) >= min_recall

    largest = max(len(part.nums) for part in shard.partitions)
    enough = cheapest(knobs, is_enough, num_rows=largest, k=max(KS))
    for effort in enough or [knobs.most()]:
        recalls = judging.recalls(with_effort(shard, effort))
        if _lowest(recalls) >= min_recall:
            break
    means = [float(recalls[k].mean()) if len(recalls[k]) else 1.0 for k in KS]
    return Tuned(effort, means[0], means[1], len(judging.queries), min(means) >= min_recall)


def with_effort(shard: Shard, effort: Effort) -> Shard:
    """Return the shard searched with another effort; the old one must not be used any more."""
    return replace(shard, partitions=[part.with_effort(effort) for part in shard.partitions])


def queries_per_s(shard: Shard, queries: NDArray[np.float32]) -> float:
    """Return how many queries for 100 items one core answers per second, in batches of 64.

    The processor's time is counted, so that other work on the machine matters little.
    """
    batch = np.resize(queries, (_BATCH, queries.shape[1]))  # few are asked again and again
    if not len(queries):
        return 0.0
    shard.search(batch, max(KS))  # maps what it needs
    started = time.thread_time()
    shard.search(batch, max(KS))
    return _BATCH / max(time.thread_time() - started, 1e-9)


def _lowest(recalls: dict[int, NDArray[np.float64]]) -> float:
    return min((float(shares.mean()) for shares in recalls.values() if len(shares)), default=1.0)
