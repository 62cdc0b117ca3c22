import itertools

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from raysys.config import FeedbackConfig
from raysys.dataset.context import NO_CONTEXT
from raysys.dataset.event_types import EventTypes
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.training.shares import ReadShares, Share, shares_of
from tests.unit.dataset.builders import interactions


@given(st.integers(1, 12), st.integers(1, 30))
def test_every_user_of_every_shard_has_exactly_one_worker(num_workers, num_shards):
    users_of_shard = 7
    seen = np.zeros((num_shards, users_of_shard), dtype=int)
    for rank in range(num_workers):
        for share in shares_of(rank, num_workers, num_shards):
            seen[share.shard, share.part :: share.num_parts] += 1
    assert (seen == 1).all()


@given(st.integers(1, 12), st.integers(1, 30))
def test_no_worker_has_a_shard_more_than_another(num_workers, num_shards):
    sizes = [
        sum(1 / share.num_parts for share in shares_of(rank, num_workers, num_shards))
        for rank in range(num_workers)
    ]
    assert max(sizes) - min(sizes) < 1e-9


def test_a_worker_alone_reads_whole_shards():
    assert shares_of(0, 1, 2) == [Share(0, 0, 1), Share(1, 0, 1)]


def test_a_share_keeps_histories_whole(tmp_path):
    rows = [("a", "x"), ("a", "y"), ("b", "x"), ("c", "z"), ("c", "x")]
    kinds = ["view", "buy", "view", "buy", None]
    table = interactions(
        [(*row, time, kind) for time, (row, kind) in enumerate(zip(rows, kinds, strict=True))]
    )
    pq.write_table(table, tmp_path / "shard.parquet")
    Vocabulary.from_ids(["x", "y", "z"]).save(tmp_path / "items.arrow")
    files = [tmp_path / "shard.parquet"], tmp_path / "items.arrow"
    types = EventTypes(names=("buy", "view"))
    read = ReadShares([Share(0, 0, 2)], *files, FeedbackConfig(), types, NO_CONTEXT)

    (table,) = read(pa.table({"place": [0]}))
    histories = Histories.from_table(table)

    assert histories.user_ids.to_pylist() == ["a", "c"]
    assert [histories.of(row)[0].tolist() for row in (0, 1)] == [[1, 2], [3, 1]]
    assert histories.event_types.tolist() == [2, 1, 1, 0]


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(1, 4))
def test_shares_of_a_shard_that_comes_in_blocks_divide_its_users(sizes, num_parts):
    names = [f"user-{number}" for number in range(sum(sizes))]
    everybody = Histories.from_lists(names, [[1]] * len(names), [[1]] * len(names))
    ends = np.cumsum([0, *sizes])
    blocks = [everybody.slice(*pair) for pair in itertools.pairwise(ends.tolist())]
    for part in range(num_parts):
        share = Share(0, part, num_parts).of(blocks)
        found = [user for block in share for user in block.user_ids.to_pylist()]
        assert found == names[part::num_parts]
