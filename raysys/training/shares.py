"""Which users each training worker learns from: no user is left out, none is read twice."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raysys.config import FeedbackConfig
from raysys.dataset.dataset import HISTORY_COLUMNS, shard_histories
from raysys.dataset.histories import Histories, concatenated
from raysys.dataset.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Share:
    """Every `num_parts`-th user of one shard, from its `part`-th on."""

    shard: int
    part: int
    num_parts: int

    def of(self, shard: Histories) -> Histories:
        """Return the users of this share."""
        if self.num_parts == 1:
            return shard
        return shard.take(np.arange(self.part, len(shard), self.num_parts))


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
    """From the places of shares to a table of `tables.HISTORIES`: one row per user."""

    shares: list[Share]
    shards: list[Path]
    items: Path
    feedback: FeedbackConfig

    def __call__(self, places: pa.Table) -> pa.Table:
        vocabulary = Vocabulary.open(self.items)
        parts = []
        for place in places.column("place").to_pylist():
            share = self.shares[place]
            table = pq.read_table(
                self.shards[share.shard], columns=HISTORY_COLUMNS, partitioning=None
            )
            parts.append(share.of(shard_histories(table, vocabulary, self.feedback)))
        return concatenated(parts).to_table()
