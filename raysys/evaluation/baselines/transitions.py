"""What people did right after the item that a history ends with.

Letters for shapes:
    N  items, with numbers 1 to N
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from raysys.dataset.histories import Histories, offsets_of, rows_of_offsets
from raysys.dataset.popularity import popularity_counts
from raysys.errors import ConfigError
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.baselines.history_items import (
    check_decay,
    known_items,
    weighted_items,
)
from raysys.evaluation.baselines.over_ranking import (
    NeighborLists,
    popularity_shares,
    top_k_over_ranking,
)
from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.topk import TopK

TRANSITIONS_MAX = 200_000_000
"""Beyond it the pairs, 8 bytes each and sorted in memory, take more than 5 GB."""


class Transitions:
    """Ranks by what followed the newest items of the history: a Markov chain, and a little more.

    score(j) = chance(j) + prior * share(j), where share(j) is item j's part of all interactions and
    chance(j) the mean over the history's different items i of count(i, j) / count(i, anything),
    each counting decay^age; the newest has age 0. With a decay of 0 it is a Markov chain of the
    first order. Items that are not known are passed over, so what stands around them counts as one
    transition. A history without a known item is answered by popularity.

    Args:
        train: the users that it learns from, some at a time; they are read once.
        num_items: N.
        prior: what popularity counts, above 0; 3 was the best of 0.3 to 30 on the validation part
            of MovieLens-100K.
        decay: in [0, 1].

    Raises:
        ConfigError: the prior or the decay is out of range, or there are too many interactions.
    """

    def __init__(
        self,
        train: Iterable[Histories],
        num_items: int,
        *,
        prior: float = 3.0,
        decay: float = 0.0,
    ) -> None:
        if not prior > 0:
            raise ConfigError(f"prior of transitions must be above 0, but got {prior:g}.")
        check_decay(decay)
        self._decay = decay
        self._num_items = num_items
        popularity = np.zeros(num_items + 1, dtype=np.int64)
        pairs, num_pairs = [np.zeros(0, np.int64)], 0
        for block in train:
            popularity += popularity_counts([block], num_items)
            pairs.append(_pairs_of(block, num_items))
            num_pairs += len(pairs[-1])
            if num_pairs > TRANSITIONS_MAX:
                raise ConfigError(
                    f"Transitions stop at {TRANSITIONS_MAX:,} pairs of interactions, which must "
                    f"fit in memory together, but the log has more. Compare with popularity."
                )
        self._base = prior * popularity_shares(popularity)
        self._ranking = FixedRanking(self._base)
        keys, counts = np.unique(np.concatenate(pairs), return_counts=True)
        num_following = np.bincount(keys >> 32, counts, num_items + 1)
        self._lists = NeighborLists(
            offsets_of(np.bincount(keys >> 32, minlength=num_items + 1)),
            (keys & 0xFFFF_FFFF).astype(np.int32),
            counts / num_following[keys >> 32],
        )

    def top_k(self, histories: Histories, k: int, *, excluded: ItemLists | None) -> TopK:
        """Return the k best items for each history, but for its row of `excluded`."""
        read, weights = weighted_items(histories, self._num_items, self._decay)
        rows = rows_of_offsets(read.offsets)
        keys, sums = self._lists.sums(read, weights / np.bincount(rows, weights)[rows])
        scores = sums + self._base[keys & 0xFFFF_FFFF]
        return top_k_over_ranking(self._ranking, keys, scores, len(histories), k, excluded)


def _pairs_of(block: Histories, num_items: int) -> NDArray[np.int64]:
    """Return item << 32 | next item for each known item that a known target comes right after."""
    known = known_items(block.inputs(), num_items)
    follows = (known.places[1:] > 0) & known.is_target[1:]
    items = known.item_nums.astype(np.int64)
    pairs: NDArray[np.int64] = (items[:-1][follows] << 32) | items[1:][follows]
    return pairs
