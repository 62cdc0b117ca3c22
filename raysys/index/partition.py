"""One partition of the index: the vectors that FAISS searches at once, mapped from its files.

Letters for shapes:
    B  queries    D  width of an embedding    n  rows of this partition    M  rows found per query
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from raysys.errors import DamagedReleaseError
from raysys.evaluation.exclusion import ItemLists
from raysys.evaluation.topk import TopK, exact_top_k, merge_top_k, rescore
from raysys.index import kinds
from raysys.index.files import IndexNote, nums_name, searchable_name, vectors_name

# With this share of the rows left to choose from, or less, scoring them all is at once exact and
# cheaper than a search that has to skip the rest (HNSW32 filled 27 of 100 places at 1 %).
_SELECTIVE_SHARE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Rows in ascending order of item number. Arrays are views of memory-mapped files."""

    nums: NDArray[np.int32]
    """(n,)"""
    vectors: NDArray[np.float32]
    """(n, D), exactly what evaluation scores."""
    searchable: Any
    """The FAISS index over the same rows; also keeps the memory of an exact one's vectors."""
    obeys_selectors: bool

    @classmethod
    def open(cls, directory: Path, number: int, note: IndexNote) -> "Partition":
        """Map one partition into memory.

        Raises:
            DamagedReleaseError: a file cannot be read, or the files do not fit together.
        """
        try:
            path = str(directory / searchable_name(number))
            searchable = faiss.read_index(path, faiss.IO_FLAG_MMAP_IFC)
            nums = np.load(directory / nums_name(number), mmap_mode="r", allow_pickle=False)
            if kinds.is_exact(searchable):
                vectors = kinds.flat_vectors(searchable)
            else:
                path = str(directory / vectors_name(number))
                vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, RuntimeError) as error:
            raise DamagedReleaseError(
                f"Partition {number} of the index in {directory} cannot be read: {error}. Copy the "
                f"release again, or build it again."
            ) from error
        shapes = (len(nums), note.embedding_dim)
        if vectors.shape != shapes or searchable.ntotal != len(nums) or nums.dtype != np.int32:
            raise DamagedReleaseError(
                f"Partition {number} of the index in {directory} does not fit together: "
                f"{len(nums)} item numbers of type {nums.dtype}, vectors {vectors.shape}, "
                f"{searchable.ntotal} searchable rows, width {note.embedding_dim} in its note. "
                f"Build the release again."
            )
        return cls(nums, vectors, searchable, note.supports_selectors)

    def search_approximately(
        self, queries: NDArray[np.float32], k: int, excluded: ItemLists
    ) -> TopK:
        """Return up to k items of high score for each query, but for its row of `excluded`.

        FAISS finds, the product's own scores and tie rule rank. What FAISS returns is checked
        against the exclusions once more. A query to which FAISS gives fewer than k of the items
        that it may have, or to which few are left, is answered exactly instead.
        """
        width = min(2 * k + 16, len(self.nums))  # room for what a compressed score misplaces
        found = np.full((len(queries), width), -1, dtype=np.int64)
        exactly = []
        with kinds.one_thread():
            for row, query in enumerate(queries):
                banned = self._rows_of(excluded.item_nums[slice(*excluded.offsets[row : row + 2])])
                num_left = len(self.nums) - len(banned)
                if num_left > max(k, _SELECTIVE_SHARE * len(self.nums)):
                    rows = self._find(query, width, banned)
                    found[row, : len(rows)] = rows
                if np.count_nonzero(found[row] >= 0) < min(k, num_left):
                    exactly.append(row)
                    found[row] = -1
        top = rescore(queries, self.vectors, self.nums, found, k)
        for row in exactly:
            lists = _RowOf(excluded, row)
            one = exact_top_k(queries[row : row + 1], self.vectors, self.nums, k, lists)
            top.item_nums[row], top.scores[row] = one.item_nums[0], one.scores[0]
        return top

    def _find(
        self, query: NDArray[np.float32], width: int, banned: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return at most `width` distinct rows, best first as FAISS sees it, none of `banned`."""
        if self.obeys_selectors:
            rows = kinds.search_without(self.searchable, query, width, banned)
        else:
            fetched = min(width + len(banned), len(self.nums))
            rows = self.searchable.search(query[None, :], fetched)[1][0]
        rows = rows[(rows >= 0) & ~np.isin(rows, banned)]
        return rows[:width]

    def _rows_of(self, nums: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the rows, distinct and ascending, of those item numbers that lie here."""
        rows = np.searchsorted(self.nums, nums)
        inside = rows < len(self.nums)
        rows = rows[inside][self.nums[rows[inside]] == nums[inside]]
        return np.unique(rows).astype(np.int64)


class _RowOf:
    """One row of some lists, as lists."""

    def __init__(self, lists: ItemLists, row: int) -> None:
        start, end = lists.offsets[row], lists.offsets[row + 1]
        self.item_nums: NDArray[np.int32] = lists.item_nums[start:end]
        self.offsets: NDArray[np.int64] = np.array([0, end - start], dtype=np.int64)


def merged(tops: list[TopK], k: int) -> TopK:
    """Return the k best of what disjoint partitions found."""
    return tops[0] if len(tops) == 1 else merge_top_k(tops, k)
