"""What FAISS finds for a batch of queries, less what each of them must not get.

Letters for shapes:
    B  queries    D  width of an embedding    n  rows of a partition    M  rows found per query
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raysys.evaluation.exclusion import ItemLists, candidate_pairs
from raysys.index import kinds

# Where FAISS cannot leave rows out: how many more than on average are fetched.
_MARGIN = 1.5
_LITTLE = 1.5  # an effort was tuned for lists of one length; up to this much longer ones it serves


class Banned:
    """Rows of a partition that queries must not get, each once, ascending."""

    def __init__(
        self,
        nums: NDArray[np.int32],
        excluded: ItemLists,
        num_queries: int,
        allowed: NDArray[np.bool_] | None,
    ) -> None:
        """Take those of the (n,) item numbers that are excluded and would else be allowed."""
        rows, columns = candidate_pairs(nums, excluded, slice(0, num_queries))
        if allowed is not None:
            rows, columns = rows[allowed[columns]], columns[allowed[columns]]
        self._num_rows = len(nums)
        self._keys = np.unique(rows * self._num_rows + columns)
        self.counts = np.bincount(self._keys // max(1, self._num_rows), minlength=num_queries)

    def contain(self, queries: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Say of each row, (B, M), that was found for some queries whether it is banned."""
        if not len(self._keys):
            return np.zeros(rows.shape, np.bool_)
        keys = queries[:, None] * self._num_rows + rows
        places = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        is_banned: NDArray[np.bool_] = (rows >= 0) & (self._keys[places] == keys)
        return is_banned


class Finder:
    """One batch's search of one partition."""

    def __init__(
        self,
        searchable: Any,
        banned: Banned,
        allowed: NDArray[np.bool_] | None,
        *,
        obeys_selectors: bool,
    ) -> None:
        self._searchable = searchable
        self._banned = banned
        self._allowed = allowed
        self._share = 1.0 if allowed is None else float(allowed.mean())
        self._among = None
        if allowed is not None and obeys_selectors:
            self._among = kinds.selector_of(allowed)

    def rows(
        self, queries: NDArray[np.float32], size: int, is_asked: NDArray[np.bool_]
    ) -> NDArray[np.int64]:
        """Return (B, M) rows that queries may have, best first as FAISS sees it; -1 for none.

        The batch is searched at once, with room for some of what is banned; whoever has too few
        left after it is dropped is searched again, with room for all of it.

        Args:
            queries: (B, D).
            size: M; less where the partition has fewer rows.
            is_asked: (B,) queries to search for.
        """
        num_rows = self._searchable.ntotal
        found = np.full((len(queries), min(size, num_rows)), -1, dtype=np.int64)
        counts = self._banned.counts
        with kinds.one_thread():
            room = min(size // 2, int(counts[is_asked].max(initial=0)))
            self._search(queries, np.flatnonzero(is_asked), size + room, found)
            is_short = is_asked & (found[:, -1] < 0) & (counts > room)
            for row in np.flatnonzero(is_short).tolist():
                self._search(queries, np.array([row]), size + int(counts[row]), found)
        return found

    def _search(
        self,
        queries: NDArray[np.float32],
        asked: NDArray[np.int64],
        width: int,
        found: NDArray[np.int64],
    ) -> None:
        """Put what some queries may have of `width` rows that FAISS finds into `found`, (B, M).

        FAISS is as thorough as if it had to find all rows that are better than the last of them,
        those that nobody may have included.
        """
        if not len(asked):
            return
        reach = width / self._share
        if self._allowed is not None and self._among is None:
            width = math.ceil(_MARGIN * reach)
        thoroughness = reach / found.shape[1]
        rows = kinds.search(
            self._searchable,
            queries[asked],
            min(width, self._searchable.ntotal),
            among=self._among,
            thoroughness=thoroughness if thoroughness > _LITTLE else 1.0,
        )
        is_out = self._banned.contain(asked, rows)
        if self._allowed is not None:
            is_out |= ~self._allowed[rows]
        rows[is_out] = -1
        # What remains moves to the left, in its order.
        order = np.argsort(rows < 0, axis=1, kind="stable")[:, : found.shape[1]]
        found[asked, : order.shape[1]] = np.take_along_axis(rows, order, axis=1)
