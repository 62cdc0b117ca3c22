"""Which users each training worker learns from: no user is left out, none is read twice."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from raysys.config import FeedbackConfig
from raysys.dataset.context import ContextEncoder
from raysys.dataset.dataset import shard_blocks
from raysys.dataset.event_types import EventTypes
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Share:
    """Every `num_parts`-th user of one shard, from its `part`-th on."""

    shard: int
    part: int
    num_parts: int

    def of(self, blocks: Iterable[Histories]) -> Iterator[Histories]:
        """Yield the users of this share, out of all of the shard's in order."""
        num_before = 0
        for block in blocks:
            first = (self.part - num_before) % self.num_parts
            rows = np.arange(first, len(block), self.num_parts)
            num_before += len(block)
            yield block if self.num_parts == 1 else block.take(rows)


def shares_of(rank: int, num_workers: int, num_shards: int) -> list[Share]:
    """Return the shares of one worker. They depend on nothing else, so a run can be repeated.

    Whole shards are dealt out in turn. What cannot be dealt out evenly, all shards where there are
    fewer than workers, is cut by users.
    """
    whole = num_shards - num_shards % num_workers
    shares = [Share(shard, 0, 1) for shard in range(rank, whole, num_workers)]
    return shares + [Share(shard, rank, num_workers) for shard in range(whole, num_shards)]


@dataclass(frozen=True, slots=True)
class ReadShares:
    """From the places of shares to tables of `tables.HISTORIES`, some users in each."""

    shares: list[Share]
    shards: list[Path]
    items: Path
    feedback: FeedbackConfig
    event_types: EventTypes
    context: ContextEncoder

    def __call__(self, places: pa.Table) -> Iterator[pa.Table]:
        vocabulary = Vocabulary.open(self.items)
        for place in places.column("place").to_pylist():
            share = self.shares[place]
            shard = self.shards[share.shard]
            blocks = shard_blocks(shard, vocabulary, self.feedback, self.event_types, self.context)
            for block in share.of(blocks):
                yield block.to_table()
