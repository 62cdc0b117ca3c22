import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys import tables
from raysys.dataset.histories import SEEN_ONLY, Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DatasetError

# ann: 4 interactions, bob: none, cat: 1
ANN_BOB_CAT = Histories.from_lists(
    ["ann", "bob", "cat"], [[7, 8, 7, 9], [], [5]], [[1, 2, 2, 4], [], [3]], vocabulary_hash="v"
)

item_lists = st.lists(st.lists(st.integers(0, 5), max_size=8), max_size=6)


def of_items(lists: list[list[int]]) -> Histories:
    users = [f"user {row}" for row in range(len(lists))]
    return Histories.from_lists(users, lists, [range(len(items)) for items in lists])


def items_of(histories: Histories) -> list[list[int]]:
    return [histories.of(row)[0].tolist() for row in range(len(histories))]


def assert_same(one: Histories, other: Histories) -> None:
    assert one.user_ids.equals(other.user_ids)
    assert one.offsets.tolist() == other.offsets.tolist()
    assert one.item_nums.tolist() == other.item_nums.tolist()
    assert one.occurred_at_us.tolist() == other.occurred_at_us.tolist()
    assert one.vocabulary_hash == other.vocabulary_hash


def test_each_user_has_their_own_items_and_times():
    items, times = ANN_BOB_CAT.of(0)
    assert items.tolist() == [7, 8, 7, 9]
    assert times.tolist() == [1, 2, 2, 4]
    assert ANN_BOB_CAT.of(1)[0].tolist() == []
    assert ANN_BOB_CAT.of(2)[0].tolist() == [5]
    assert ANN_BOB_CAT.lengths.tolist() == [4, 0, 1]
    assert len(ANN_BOB_CAT) == 3
    assert ANN_BOB_CAT.num_interactions == 5


def test_rows_are_found_by_user_id():
    assert ANN_BOB_CAT.rows_of(["cat", "dan", "ann"]).tolist() == [2, -1, 0]
    assert ANN_BOB_CAT.rows_of(pa.array(["bob", None])).tolist() == [1, -1]


def test_taken_rows_come_in_the_order_asked_for():
    taken = ANN_BOB_CAT.take([2, 1, 0])
    assert taken.user_ids.to_pylist() == ["cat", "bob", "ann"]
    assert items_of(taken) == [[5], [], [7, 8, 7, 9]]
    assert taken.of(2)[1].tolist() == [1, 2, 2, 4]
    assert taken.rows_of(["ann"]).tolist() == [2]
    assert taken.vocabulary_hash == "v"


def test_the_newest_interactions_are_the_last():
    assert items_of(ANN_BOB_CAT.last(2)) == [[7, 9], [], [5]]
    assert items_of(ANN_BOB_CAT.last(0)) == [[], [], []]
    earlier, last = ANN_BOB_CAT.split_off_last(1)
    assert items_of(earlier) == [[7, 8, 7], [], []]
    assert items_of(last) == [[9], [], [5]]
    assert last.occurred_at_us.tolist() == [4, 3]


def test_the_newest_of_two_interactions_with_one_item_is_the_one_that_was_seen():
    seen = ANN_BOB_CAT.newest_distinct(2)
    assert items_of(seen) == [[7, 9], [], [5]]
    assert seen.of(0)[1].tolist() == [2, 4]
    assert items_of(ANN_BOB_CAT.newest_distinct(3)) == [[8, 7, 9], [], [5]]


@given(item_lists, st.integers(0, 6))
def test_the_newest_distinct_items_are_those_met_first_when_reading_backwards(lists, n):
    expected = []
    for items in lists:
        met: list[int] = []
        for item in reversed(items):
            if item and item not in met:
                met.append(item)
        expected.append(met[:n][::-1])
    assert items_of(of_items(lists).newest_distinct(n)) == expected


def test_saved_histories_open_as_they_were(tmp_path: Path):
    ANN_BOB_CAT.save(tmp_path / "h.arrow")
    opened = Histories.open(tmp_path / "h.arrow")
    assert_same(opened, ANN_BOB_CAT)
    assert opened.rows_of(["cat", "dan", "ann"]).tolist() == [2, -1, 0]
    assert not opened.item_nums.flags.owndata  # mapped, not read


@pytest.mark.parametrize("has_weights", [False, True])
def test_event_types_stay_with_their_interactions(tmp_path: Path, has_weights: bool):
    typed = replace(ANN_BOB_CAT, event_types=np.array([1, 2, 3, 4, 5], np.int16))
    if has_weights:
        typed = replace(typed, weights=np.array([1, 0, 1, 0.5, 1], np.float32))
    assert typed.take([2, 0]).event_types.tolist() == [5, 1, 2, 3, 4]
    assert typed.slice(1, 3).event_types.tolist() == [5]
    assert typed.last(2).event_types.tolist() == [3, 4, 5]
    assert Histories.from_table(typed.to_table()).event_types.tolist() == [1, 2, 3, 4, 5]
    typed.save(tmp_path / "h.arrow")
    opened = Histories.open(tmp_path / "h.arrow")
    assert opened.event_types.tolist() == [1, 2, 3, 4, 5]
    assert opened.event_types.dtype == np.int16
    assert (opened.weights is None) != has_weights


def test_contexts_stay_with_interactions_and_with_who_asks(tmp_path: Path):
    codes, asked = np.array([1, 2, 3, 4, 1 << 60]), np.array([7, 8, 9])
    known = replace(ANN_BOB_CAT, contexts=codes, asked_in=asked)
    assert known.take([2, 0]).contexts.tolist() == [1 << 60, 1, 2, 3, 4]
    assert known.take([2, 0]).asked_in.tolist() == [9, 7]
    assert known.slice(1, 3).asked_in.tolist() == [8, 9]
    assert known.last(1).contexts.tolist() == [4, 1 << 60]
    assert known.last(1).asked_in.tolist() == [7, 8, 9]
    known.save(tmp_path / "h.arrow")
    opened = Histories.open(tmp_path / "h.arrow")
    assert opened.contexts.tolist() == codes.tolist()
    assert opened.asked_in is None


def test_no_histories_are_saved_and_opened(tmp_path: Path):
    none = Histories.from_lists([], [], [])
    none.save(tmp_path / "h.arrow")
    opened = Histories.open(tmp_path / "h.arrow")
    assert_same(opened, none)
    assert opened.rows_of(["ann"]).tolist() == [-1]
    assert not len(opened.take([]))


def test_a_vocabulary_is_not_taken_for_histories(tmp_path: Path):
    Vocabulary.from_ids(["a"]).save(tmp_path / "v.arrow")
    with pytest.raises(DatasetError, match="kind 'vocabulary'"):
        Histories.open(tmp_path / "v.arrow")


def test_a_table_of_histories_goes_there_and_back():
    table = ANN_BOB_CAT.to_table()
    assert table.schema.equals(tables.HISTORIES)
    assert table.column("item_nums").to_pylist() == [[7, 8, 7, 9], [], [5]]
    assert_same(Histories.from_table(table, vocabulary_hash="v"), ANN_BOB_CAT)


def test_a_slice_of_a_table_holds_its_own_rows_only():
    table = pa.concat_tables([ANN_BOB_CAT.to_table(), ANN_BOB_CAT.take([1, 0]).to_table()])
    assert items_of(Histories.from_table(table.slice(1, 2))) == [[], [5]]
    assert items_of(Histories.from_table(table.slice(2, 3))) == [[5], [], [7, 8, 7, 9]]
    assert items_of(Histories.from_table(table.slice(0, 0))) == []


def test_a_table_with_small_lists_is_read_too():
    table = pa.table(
        {
            "user_id": ["ann"],
            "item_nums": pa.array([[7, 8]], pa.list_(pa.int32())),
            "occurred_at": pa.array([[1, 2]], pa.list_(tables.TIMESTAMP)),
        }
    )
    assert items_of(Histories.from_table(table)) == [[7, 8]]


def test_histories_survive_pickling():
    assert_same(pickle.loads(pickle.dumps(ANN_BOB_CAT)), ANN_BOB_CAT)


def test_arrays_that_do_not_fit_together_are_refused():
    with pytest.raises(ValueError, match="2 offsets"):
        Histories(
            pa.array(["ann"]),
            np.array([0, 2]),
            np.array([1], dtype=np.int32),
            np.array([1], dtype=np.int64),
        )


WEIGHTED = Histories.from_lists(
    ["ann", "bob", "cat"],
    [[7, 8, 7, 9], [], [5, 6]],
    [[1, 2, 2, 4], [], [3, 4]],
    weights=[np.array(each, np.float32) for each in ([1, 0, 0.5, SEEN_ONLY], [], [SEEN_ONLY, 0])],
    vocabulary_hash="v",
)


def weights_of(histories: Histories) -> list[float]:
    assert histories.weights is not None
    return histories.weights.tolist()


def test_models_read_all_but_what_counts_only_as_seen_and_find_what_weighs_something():
    assert items_of(WEIGHTED.inputs()) == [[7, 8, 7], [], [6]]
    assert weights_of(WEIGHTED.inputs()) == [1, 0, 0.5, 0]
    assert items_of(WEIGHTED.targets()) == [[7, 7], [], []]
    assert WEIGHTED.num_targets().tolist() == [2, 0, 0]
    assert WEIGHTED.targets_to_come().tolist() == [2, 1, 1, 0, 0, 0]
    assert WEIGHTED.newest_distinct(9).item_nums.tolist() == [8, 7, 9, 5, 6]


def test_without_weights_everything_is_read_and_found():
    assert ANN_BOB_CAT.inputs() is ANN_BOB_CAT.targets() is ANN_BOB_CAT
    assert ANN_BOB_CAT.is_target.all()
    assert ANN_BOB_CAT.num_targets().tolist() == [4, 0, 1]
    assert ANN_BOB_CAT.places.tolist() == [0, 1, 2, 3, 0]


def test_weights_go_where_their_interactions_go(tmp_path: Path):
    assert weights_of(WEIGHTED.take([2, 0])) == [-1, 0, 1, 0, 0.5, -1]
    assert weights_of(WEIGHTED.last(1)) == [-1, 0]
    assert weights_of(Histories.from_table(WEIGHTED.to_table())) == weights_of(WEIGHTED)
    WEIGHTED.save(tmp_path / "histories.arrow")
    opened = Histories.open(tmp_path / "histories.arrow")
    assert_same(opened, WEIGHTED)
    assert weights_of(opened) == weights_of(WEIGHTED)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="2 items, 2 times, 1 weights"):
        Histories.from_lists(["a"], [[1, 2]], [[1, 2]], weights=[np.ones(1, np.float32)])


def test_labels_go_where_their_interactions_go_but_not_into_files(tmp_path: Path):
    labels = np.array([1, 2, 3, 4, 5], np.float32)
    rated = replace(ANN_BOB_CAT, labels=labels)
    assert rated.take([2, 0]).labels.tolist() == [5, 1, 2, 3, 4]
    assert rated.slice(1, 3).labels.tolist() == [5]
    assert rated.last(1).labels.tolist() == [4, 5]
    assert Histories.from_table(rated.to_table()).labels.tolist() == labels.tolist()
    assert Histories.from_table(ANN_BOB_CAT.to_table()).labels is None
    rated.save(tmp_path / "histories.arrow")
    assert Histories.open(tmp_path / "histories.arrow").labels is None
    with pytest.raises(ValueError, match="5 items, 5 times, 4 labels"):
        replace(ANN_BOB_CAT, labels=labels[:4])
