"""One partition of the index: the vectors that FAISS searches at once, mapped from its files.

Letters for shapes:
    B  queries    D  width of an embedding    n  rows of this partition    M  rows found per query
"""

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from raysys.errors import DamagedReleaseError
from raysys.evaluation.exclusion import Exclusions, ItemLists
from raysys.evaluation.scoring import longest_of
from raysys.evaluation.topk import TopK, exact_top_k, merge_top_k, rescore
from raysys.index import kinds
from raysys.index.approximate import Banned, Finder
from raysys.index.effort import Effort
from raysys.index.files import IndexNote, nums_name, searchable_name, vectors_name

# With this share of the rows left to choose from, or less, scoring them all is at once exact and
# cheaper than a search that has to skip the rest (HNSW32 filled 27 of 100 places at 1 %).
_SELECTIVE_SHARE = 0.1
# The same of filters. Their rows are those of all queries, so that one product scores them. Of
# 20,000 vectors HNSW32 found 0.92 of the 25 best of 64 queries under a filter that kept a tenth and
# 0.99 of a fifth, in 29 ms; exactly they cost 3 and 4 ms, and half of all vectors 7 ms.
_SELECTIVE_SHARE_OF_FILTERS = 0.2
_ALWAYS_EXACT_ROWS = 1 << 14
# Rows that are allowed are copied before they are scored, so many at a time.
_BLOCK_ROWS = 1 << 15
_MISPLACED = 8  # more than asked for: rounding may misplace some about the border of a list


@dataclass(frozen=True, eq=False)
class Partition:
    """Rows in ascending order of item number. Arrays are views of memory-mapped files."""

    nums: NDArray[np.int32]
    """(n,)"""
    vectors: NDArray[np.float32]
    """(n, D), exactly what evaluation scores."""
    searchable: Any
    """The FAISS index over the same rows; also keeps the memory of an exact one's vectors."""
    obeys_selectors: bool
    k_factor: int = 1
    """How many times as many items as are wanted FAISS is asked for: see `Effort`."""

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
            if note.keeps_vectors:
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
        opened = cls(nums, vectors, searchable, note.supports_selectors)
        return opened.with_effort(note.effort)

    def with_effort(self, effort: Effort) -> "Partition":
        """Return the partition searched with another effort; the old one must not be used then."""
        kinds.set_effort(self.searchable, effort)
        return replace(self, k_factor=effort.k_factor)

    def search_exactly(
        self,
        queries: NDArray[np.float32],
        k: int,
        excluded: ItemLists | None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k best items for each query, but for its row of `excluded`.

        Args:
            allowed: (n,) the rows that may be found. None: all.
        """
        if allowed is None:
            return exact_top_k(queries, self.vectors, self.nums, k, excluded, longest=self._longest)
        tops = [
            exact_top_k(queries, self.vectors[rows], self.nums[rows], k, excluded)
            for rows in blocks_of_rows(allowed)
        ]
        return merged(tops, k)

    def search_by_cosine(
        self,
        directions: NDArray[np.float32],
        k: int,
        excluded: ItemLists | None,
        allowed: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return the k items whose vectors point most nearly where each query points, exactly.

        Args:
            directions: (B, D), each of length 1 or 0.
            allowed: (n,) the rows that may be found. None: all.
        """
        tops = []
        for rows in self._all_rows() if allowed is None else blocks_of_rows(allowed):
            vectors = of_length_one(self.vectors[rows])
            tops.append(exact_top_k(directions, vectors, self.nums[rows], k, excluded))
        return merged(tops, k)

    def _all_rows(self) -> list[slice]:
        starts = range(0, max(1, len(self.nums)), _BLOCK_ROWS)
        return [slice(start, start + _BLOCK_ROWS) for start in starts]

    def search_approximately(
        self,
        queries: NDArray[np.float32],
        k: int,
        excluded: ItemLists,
        allowed: NDArray[np.bool_] | None = None,
    ) -> TopK:
        """Return up to k items of high score for each query, but for its row of `excluded`.

        FAISS finds, the product's own scores and tie rule rank. What FAISS returns is checked
        against the exclusions and `allowed`. A query to which FAISS gives fewer than k of the items
        that it may have, or to which few are left, is answered exactly instead.

        Args:
            allowed: (n,) the rows that may be found. None: all.
        """
        num_rows = num_allowed = len(self.nums)
        if allowed is not None:
            num_allowed = int(np.count_nonzero(allowed))
            few = max(k, _ALWAYS_EXACT_ROWS, _SELECTIVE_SHARE_OF_FILTERS * num_rows)
            if num_allowed <= few:
                return self.search_exactly(queries, k, excluded, allowed)
        banned = Banned(self.nums, excluded, len(queries), allowed)
        num_left = num_allowed - banned.counts
        finder = Finder(self.searchable, banned, allowed, obeys_selectors=self.obeys_selectors)
        is_asked = num_left > np.maximum(k, _SELECTIVE_SHARE * num_rows)
        found = finder.rows(queries, k * self.k_factor + _MISPLACED, is_asked)
        exactly = np.flatnonzero(np.count_nonzero(found >= 0, axis=1) < np.minimum(k, num_left))
        found[exactly] = -1
        top = rescore(queries, self.vectors, self.nums, found, k)
        if len(exactly):
            lists = Exclusions.of_rows(excluded, exactly)
            some = self.search_exactly(queries[exactly], k, lists, allowed)
            top.item_nums[exactly], top.scores[exactly] = some.item_nums, some.scores
        return top

    def rank(
        self, queries: NDArray[np.float32], k: int, items: ItemLists, *, by_cosine: bool
    ) -> TopK:
        """Return the k best of the items, distinct, that each query names, of those that lie here.

        Args:
            by_cosine: rank by angle instead of by score; then queries have length 1.
        """
        rows = [
            self._rows_of(items.item_nums[slice(*items.offsets[row : row + 2])])
            for row in range(len(queries))
        ]
        columns = np.full((len(queries), max(map(len, rows))), -1, dtype=np.int64)
        for row, found in enumerate(rows):
            columns[row, : len(found)] = found
        named = np.unique(np.concatenate(rows))
        columns = np.where(columns >= 0, np.searchsorted(named, columns), -1)
        vectors = self.vectors[named]
        if by_cosine:
            vectors = of_length_one(vectors)
        return rescore(queries, vectors, self.nums[named], columns, k)

    @cached_property
    def _longest(self) -> NDArray[np.float32]:
        return longest_of(self.vectors)

    def _rows_of(self, nums: NDArray[np.int32]) -> NDArray[np.int64]:
        """Return the rows, distinct and ascending, of those item numbers that lie here."""
        rows = np.searchsorted(self.nums, nums)
        inside = rows < len(self.nums)
        rows = rows[inside][self.nums[rows[inside]] == nums[inside]]
        return np.unique(rows).astype(np.int64)


def blocks_of_rows(allowed: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return the rows that are marked, ascending, at least one block of them."""
    rows = np.flatnonzero(allowed)
    starts = range(0, max(1, len(rows)), _BLOCK_ROWS)
    return [rows[start : start + _BLOCK_ROWS] for start in starts]


def of_length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the vectors scaled to length 1; those of length 0 as they are."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    lengths[lengths == 0] = 1
    scaled: NDArray[np.float32] = (vectors / lengths[:, None]).astype(np.float32)
    return scaled


def merged(tops: list[TopK], k: int) -> TopK:
    """Return the k best of what disjoint partitions found."""
    return tops[0] if len(tops) == 1 else merge_top_k(tops, k)
