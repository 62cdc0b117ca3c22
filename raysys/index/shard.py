"""One shard: some partitions of one release's index, searched together.

Exact kinds are not searched by FAISS but by matrix products over its memory-mapped vectors
(`evaluation.topk.exact_top_k`). 64 queries with 150 seen items each, k 25, width 160, one core:

    rows     64 FAISS searches with own selectors    one matrix product, masked and rescored
      841                                  6.2 ms                                     1.8 ms
    1,682                                  7.2 ms                                     2.4 ms
    5,000                                 17.7 ms                                     4.6 ms

Letters for shapes:
    B  queries    D  width of an embedding    N  items of the shard    K  results of a query
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from raysys.errors import DamagedReleaseError, ServingError
from raysys.evaluation.exclusion import Exclusions, ItemLists
from raysys.evaluation.topk import TopK, catalogue_log_sum_exp
from raysys.index.files import (
    DIRECTORY,
    NOTE_NAME,
    IndexNote,
    partition_names,
    partitions_of_shard,
)
from raysys.index.partition import Partition, merged, of_length_one
from raysys.release import Release

if TYPE_CHECKING:
    from raysys.index.device import DeviceVectors

# Exact partitions up to this size together are copied into one block when they are opened, since a
# search costs about 2.5 ms per block and 64 queries before it has looked at a single vector.
_LARGEST_COPY_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Shard:
    """What `open_shard` returns. Searching changes nothing, so threads may share a shard."""

    note: IndexNote
    partitions: list[Partition]
    on_gpu: "list[DeviceVectors]" = field(default_factory=list)
    """The partitions once more, where the shard owns a GPU: then all kinds are searched exactly."""

    @property
    def nums(self) -> NDArray[np.int32]:
        """The item number of each row of the shard, (N,), partition after partition."""
        return np.concatenate([part.nums for part in self.partitions])

    def search(
        self,
        queries: NDArray[np.float32],
        k: int,
        excluded: ItemLists | None = None,
        allowed: NDArray[np.bool_] | None = None,
        *,
        by_cosine: bool = False,
    ) -> TopK:
        """Return the k best items of this shard for each query, but for its row of `excluded`.

        Lists are full wherever enough items are left, whatever the kind of the index.

        Args:
            queries: (B, D) float32.
            allowed: (N,) the rows, as `nums` has them, that may be found. None: all.
            by_cosine: rank by angle instead of by score: always exactly, whatever the kind, since
                an index for inner products cannot order by angle.
        """
        masks = self._by_partition(allowed)
        if by_cosine:
            directions = of_length_one(queries)
            parts = [
                part.search_by_cosine(directions, k, excluded, mask)
                for part, mask in zip(self.partitions, masks, strict=True)
            ]
        elif self.on_gpu:
            parts = [
                part.top_k(queries, k, excluded, mask)
                for part, mask in zip(self.on_gpu, masks, strict=True)
            ]
        elif self.note.is_exact:
            parts = [
                part.search_exactly(queries, k, excluded, mask)
                for part, mask in zip(self.partitions, masks, strict=True)
            ]
        else:
            lists = excluded or Exclusions.from_lists([[]] * len(queries))
            return self._search_approximately(queries, k, lists, masks)
        return merged(parts, k)

    def _search_approximately(
        self,
        queries: NDArray[np.float32],
        k: int,
        excluded: ItemLists,
        masks: Sequence[NDArray[np.bool_] | None],
    ) -> TopK:
        """Ask each partition for its share of a list, and for all of it where that falls short."""

        def of_each(asked: NDArray[np.float32], size: int, lists: ItemLists) -> TopK:
            parts = zip(self.partitions, masks, strict=True)
            found = [part.search_approximately(asked, size, lists, mask) for part, mask in parts]
            return merged(found, k)

        share = share_of_partition(k, len(self.partitions))
        top = of_each(queries, share, excluded)
        short = np.flatnonzero(np.count_nonzero(top.item_nums, axis=1) < k)
        if share < k and len(short):
            some = of_each(queries[short], k, Exclusions.of_rows(excluded, short))
            top.item_nums[short], top.scores[short] = some.item_nums, some.scores
        return top

    def rank(
        self, queries: NDArray[np.float32], k: int, items: ItemLists, *, by_cosine: bool
    ) -> TopK:
        """Return the k best of the items, distinct, that each query names, of those held here.

        Args:
            by_cosine: rank by angle instead of by score.
        """
        if by_cosine:
            queries = of_length_one(queries)
        parts = [part.rank(queries, k, items, by_cosine=by_cosine) for part in self.partitions]
        return merged(parts, k)

    def log_sum_exp(self, queries: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """Return log(sum(exp(score))) over all items of the shard, (B,); None unless exact."""
        if self.on_gpu:
            totals = [part.log_sum_exp(queries) for part in self.on_gpu]
        elif self.note.is_exact:
            totals = [catalogue_log_sum_exp(queries, part.vectors) for part in self.partitions]
        else:
            return None
        joined: NDArray[np.float64] = np.logaddexp.reduce(totals, axis=0)
        return joined

    def _by_partition(self, allowed: NDArray[np.bool_] | None) -> list[NDArray[np.bool_] | None]:
        if allowed is None:
            return [None] * len(self.partitions)
        ends = np.cumsum([len(part.nums) for part in self.partitions])
        return [*np.split(allowed, ends[:-1])]

    def vectors_of(
        self, item_nums: Sequence[int] | NDArray[np.integer]
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return those of the numbers that this shard holds, (M,), and their vectors, (M, D)."""
        asked = np.asarray(item_nums, dtype=np.int32)
        nums, vectors = [asked[:0]], [np.zeros((0, self.note.embedding_dim), np.float32)]
        for part in self.partitions:
            _, here, rows = np.intersect1d(asked, part.nums, return_indices=True)
            nums.append(asked[here])
            vectors.append(part.vectors[rows])
        return np.concatenate(nums), np.concatenate(vectors)


def open_shard(release: Release, shard: int, num_shards: int, *, wants_gpu: bool = False) -> Shard:
    """Open the partitions p of a release with p mod num_shards = shard, once their hashes hold.

    Args:
        wants_gpu: search on the GPU that this process was given, and all the same on the CPU where
            torch can use none. Imports torch.

    Raises:
        DamagedReleaseError, ReleaseMismatchError: the release's index cannot be used.
        ServingError: there are fewer partitions than shards.
    """
    note = read_note(release)
    release.check_vocabulary("index", note.vocabulary)
    numbers = partitions_of_shard(shard, num_shards, note.num_partitions)
    if not numbers:
        raise ServingError(
            f"Release {release.name} has {note.num_partitions} partitions, so shard {shard} of "
            f"{num_shards} would hold nothing. Serve it with num_shards {note.num_partitions} or "
            f"less, or build the release with a larger index.num_partitions."
        )
    release.verify(
        *(
            f"{DIRECTORY}/{name}"
            for number in numbers
            for name in partition_names(number, keeps_vectors=note.keeps_vectors)
        )
    )
    opened = open_partitions(release.path / DIRECTORY, numbers, note)
    return _with_gpu(opened) if wants_gpu else opened


def _with_gpu(shard: Shard) -> Shard:
    from raysys.index.device import DeviceVectors
    from raysys.models.device import usable_gpu

    gpu = usable_gpu()
    if gpu is None:
        return shard
    copies = [DeviceVectors(part.vectors, part.nums, gpu) for part in shard.partitions]
    return Shard(shard.note, shard.partitions, copies)


def open_partitions(directory: Path, numbers: Sequence[int], note: IndexNote) -> Shard:
    """Open the given partitions of an `index` directory as one shard, trusting their bytes."""
    partitions = [Partition.open(directory, number, note) for number in numbers]
    num_bytes = sum(part.vectors.nbytes for part in partitions)
    if note.is_exact and len(partitions) > 1 and num_bytes <= _LARGEST_COPY_BYTES:
        partitions = [_joined(partitions)]
    return Shard(note, partitions)


def share_of_partition(k: int, num_partitions: int) -> int:
    """Return how many of the k best of several partitions at most are in one of them.

    Items lie in partitions by the hash of their id, so the number has the binomial distribution;
    this is its mean and four standard deviations. With one partition it is k.
    """
    mean = k / num_partitions
    return min(k, math.ceil(mean + 4 * math.sqrt(mean * (1 - 1 / num_partitions))))


def _joined(partitions: list[Partition]) -> Partition:
    nums = np.concatenate([part.nums for part in partitions])
    order = np.argsort(nums)
    vectors = np.concatenate([part.vectors for part in partitions])[order]
    return Partition(nums[order], vectors, None, obeys_selectors=False)


def read_note(release: Release) -> IndexNote:
    """Return what a release says of its index.

    Raises:
        DamagedReleaseError: it cannot be read.
    """
    try:
        return IndexNote.model_validate(release.read_json(f"{DIRECTORY}/{NOTE_NAME}"))
    except (OSError, ValidationError) as error:
        raise DamagedReleaseError(
            f"Release {release.name} is damaged: {DIRECTORY}/{NOTE_NAME} cannot be used ({error}). "
            f"Build the release again."
        ) from error
