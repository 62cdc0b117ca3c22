"""Histories that were merged through files are those that one memory would have made."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysys.dataset import dataset as dataset_module
from raysys.dataset.dataset import open_dataset, shard_histories
from raysys.dataset.histories import Histories
from raysys.dataset.merging import merged
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DatasetError
from tests.unit.dataset.builders import Row, concatenated, interactions, numbered, write_dataset


def block(users: list[str], is_weighed: bool = False) -> Histories:
    """Return histories whose items and times, and weights and types, tell whose they are."""
    nums = [[sum(map(ord, user)) + n for n in range(len(user))] for user in users]
    times = [[1000 * num for num in each] for each in nums]
    if not is_weighed:
        return Histories.from_lists(users, nums, times, vocabulary_hash="v")
    weights = [[num / 2 for num in each] for each in nums]
    histories = Histories.from_lists(
        users, nums, times, weights=weights, event_types=nums, vocabulary_hash="v"
    )
    return replace(histories, contexts=histories.item_nums.astype(np.int64) << 40)


def equal(one: Histories, other: Histories) -> bool:
    return one.to_table().equals(other.to_table()) and one.vocabulary_hash == other.vocabulary_hash


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sets(st.text("abcd", min_size=1, max_size=4), min_size=1),
    st.booleans(),
    st.integers(1, 4),
    st.integers(1, 40),
)
def test_blocks_of_any_cut_come_together_in_the_order_of_the_vocabulary(
    tmp_path_factory: pytest.TempPathFactory, users, is_weighed, num_blocks, interactions_per_range
) -> None:
    ordered = sorted(users)
    blocks = [block(ordered[start::num_blocks], is_weighed) for start in range(num_blocks)]
    found = merged(
        iter(blocks),
        Vocabulary.from_ids(users),
        tmp_path_factory.mktemp("merging"),
        interactions_per_range=interactions_per_range,
    )
    assert equal(found, concatenated(blocks))


def test_users_who_were_added_later_stand_behind(tmp_path: Path) -> None:
    users = numbered(["m", "x", "a", "c"])
    found = merged([block(["a", "m"]), block(["c", "x"])], users, tmp_path)
    assert equal(found, block(["m", "x", "a", "c"]))
    assert found.rows_of(["c", "x", "?"]).tolist() == [3, 1, -1]


def test_blocks_with_weights_and_without_are_not_joined(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="with different columns"):
        merged([block(["a"]), block(["b"], True)], Vocabulary.from_ids("ab"), tmp_path)


def test_a_user_whom_the_vocabulary_lacks_is_not_dropped_in_silence(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="the user 'b', whom the dataset's vocabulary"):
        merged([block(["a", "b"])], Vocabulary.from_ids("ac"), tmp_path)


def test_a_user_without_interactions_has_an_empty_history(tmp_path: Path) -> None:
    found = merged([block(["b"])], Vocabulary.from_ids("abc"), tmp_path)
    assert found.lengths.tolist() == [0, 1, 0]


def test_of_nobody_there_are_no_histories(tmp_path: Path) -> None:
    assert len(merged([], Vocabulary.from_ids([]), tmp_path)) == 0


def test_merged_histories_are_saved_byte_for_byte_as_those_of_one_memory(tmp_path: Path) -> None:
    users = [f"user-{n:03}" for n in range(300)]
    blocks = [block(users[0::2]), block(users[1::2])]
    (tmp_path / "work").mkdir()
    vocabulary = Vocabulary.from_ids(users)
    merged(blocks, vocabulary, tmp_path / "work", interactions_per_range=99).save(tmp_path / "1")
    concatenated(blocks).save(tmp_path / "2")
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


SHARDS: list[list[Row]] = [
    [(f"u{user:02}", f"i{n * user % 7}", n) for user in users for n in range(1 + user % 5)]
    for users in (range(0, 40, 3), [], range(1, 40, 3))
]


@pytest.mark.parametrize("block_size", [1, 7, 1 << 20])
def test_a_dataset_is_read_in_blocks_that_divide_no_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block_size: int
) -> None:
    monkeypatch.setattr(dataset_module, "BLOCK_INTERACTIONS", block_size)
    dataset = open_dataset(write_dataset(tmp_path / "data", SHARDS))
    for path in dataset.shard_paths():  # small row groups, as of a large shard
        table = pq.read_table(path)
        pq.write_table(table, path, row_group_size=3)
    items = dataset.item_vocabulary()
    blocks = list(dataset.blocks(items))
    if block_size == 7:
        assert len(blocks) > 5
    expected = concatenated([shard_histories(interactions(rows), items) for rows in SHARDS])
    assert equal(concatenated(blocks), expected)
    assert equal(dataset.histories(items), expected)


def test_a_user_who_stands_twice_in_a_shard_is_refused_wherever_it_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [("ann", "x", 1), ("bob", "x", 2), ("cat", "x", 3), ("ann", "x", 4)]
    for block_size in (1, 2, 3, 100):
        monkeypatch.setattr(dataset_module, "BLOCK_INTERACTIONS", block_size)
        dataset = open_dataset(write_dataset(tmp_path / str(block_size), [rows]))
        pq.write_table(interactions(rows), dataset.shard_paths()[0], row_group_size=1)
        with pytest.raises(DatasetError, match="not ordered by user and time"):
            list(dataset.blocks(dataset.item_vocabulary()))


def test_slices_and_blocks_are_views_of_the_same_interactions() -> None:
    whole = block(["a", "ab", "abc", "b", "bcd"], is_weighed=True)
    part = whole.slice(1, 4)
    assert equal(part, whole.take([1, 2, 3]))
    assert np.shares_memory(part.item_nums, whole.item_nums)
    assert equal(whole.slice(2, 2), whole.take([]))
    for size in (1, 2, 4, 100):
        blocks = whole.blocks(size)
        assert [user for each in blocks for user in each.user_ids.to_pylist()] == [
            "a",
            "ab",
            "abc",
            "b",
            "bcd",
        ]
        assert all(each.num_interactions <= size + 2 for each in blocks)
    assert len(block([]).blocks()) == 0
