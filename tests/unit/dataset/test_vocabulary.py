from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raysys import lookup
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DatasetError, UnknownIdError
from tests.unit.dataset.builders import extended, numbered

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


def test_ids_are_numbered_from_one_in_sorted_order():
    vocabulary = Vocabulary.from_ids(["b", "a", "10", "9", "a"])
    assert vocabulary.ids.to_pylist() == ["10", "9", "a", "b"]
    assert vocabulary.numbers(["10", "9", "a", "b"]).tolist() == [1, 2, 3, 4]
    assert vocabulary.numbers(["10"]).dtype == np.int32
    assert len(vocabulary) == 4


def test_unknown_ids_and_nulls_have_number_zero():
    vocabulary = Vocabulary.from_ids(["a", "c"])
    assert vocabulary.numbers(["", "a", "b", "c", "d"]).tolist() == [0, 1, 0, 2, 0]
    column = pa.chunked_array([["c", None], ["b"], ["a", "c"]], pa.string())
    assert vocabulary.numbers(column).tolist() == [2, 0, 0, 1, 2]
    assert vocabulary.numbers(pa.array([None, "a"])).tolist() == [0, 1]


def test_an_empty_vocabulary_knows_nothing(tmp_path: Path):
    vocabulary = Vocabulary.from_ids([])
    assert vocabulary.numbers(["a"]).tolist() == [0]
    vocabulary.save(tmp_path / "v.arrow")
    assert Vocabulary.open(tmp_path / "v.arrow").numbers(["a"]).tolist() == [0]


def test_an_unknown_id_is_refused_by_name():
    with pytest.raises(UnknownIdError, match="'Brazil'.*2 ids"):
        Vocabulary.from_ids(["a", "b"]).number("Brazil")
    assert Vocabulary.from_ids(["a", "b"]).number("b") == 2


@pytest.mark.parametrize("num", [0, -1, 3])
def test_a_number_that_was_never_given_has_no_id(num: int):
    vocabulary = Vocabulary.from_ids(["a", "b"])
    assert vocabulary.ids_of([2, 1, 2]) == ["b", "a", "b"]
    with pytest.raises(UnknownIdError, match=f"Number {num} belongs to no id"):
        vocabulary.ids_of([1, num])


def test_a_null_id_is_not_numbered():
    with pytest.raises(DatasetError, match="null id"):
        Vocabulary.from_ids(pa.array(["a", None]))


def test_the_hash_changes_with_the_ids_and_their_order():
    hashes = {
        Vocabulary.from_ids(["a", "b"]).hash,
        Vocabulary.from_ids(["ab"]).hash,
        numbered(["b", "a"]).hash,
    }
    assert len(hashes) == 3


@pytest.mark.parametrize("as_column", [False, True])
def test_ids_whose_hashes_collide_are_told_apart(monkeypatch: pytest.MonkeyPatch, as_column: bool):
    # Two values for all ids, so that every lookup walks through others' ids, also at the very end.
    monkeypatch.setattr(
        lookup, "stable_hashes", lambda texts: np.array([len(t) % 2 for t in texts], np.uint64)
    )
    ids = ["a", "b", "c", "dd", "ee", "ff"]
    vocabulary = numbered([*ids, "g", "hh"])
    asked = ["ff", "a", "g", "zz", "z", "hh", "c"]
    asked = pa.array(asked) if as_column else asked
    assert vocabulary.numbers(asked).tolist() == [6, 1, 7, 0, 0, 8, 3]


@given(st.lists(texts), st.lists(texts), st.lists(texts))
def test_numbers_and_ids_are_each_others_inverse(known, later, asked):
    vocabulary = extended(Vocabulary.from_ids(known), later)
    ids = vocabulary.ids.to_pylist()
    assert ids[: len(set(known))] == sorted(set(known))
    expected = {id: row + 1 for row, id in enumerate(ids)}
    assert len(expected) == len(ids) == len(set(known) | set(later))
    assert vocabulary.numbers(asked).tolist() == [expected.get(id, 0) for id in asked]
    assert vocabulary.numbers(pa.array(asked, pa.string())).tolist() == [
        expected.get(id, 0) for id in asked
    ]
    assert vocabulary.ids_of(np.arange(1, len(ids) + 1)) == ids


def test_unknown_ids_share_the_last_rows_and_a_null_has_none():
    vocabulary = Vocabulary.from_ids(["a", "b"])
    unseen = [f"unseen {n}" for n in range(200)]
    numbers = vocabulary.numbers(["b", *unseen, "a"], num_buckets=5).tolist()
    assert (numbers[0], numbers[-1]) == (2, 1)
    assert set(numbers[1:-1]) == {3, 4, 5, 6, 7}  # the table has 1 + 2 + 5 rows
    assert vocabulary.numbers(unseen).tolist() == [0] * 200
    column = pa.array([*unseen, None], pa.string())
    assert vocabulary.numbers(column, num_buckets=5).tolist() == [*numbers[1:-1], 0]


def test_a_bucket_stays_at_its_place_from_the_end_however_many_ids_are_known():
    vocabulary = Vocabulary.from_ids(["a", "b"])
    larger = extended(vocabulary, ["c", "d", "e"])
    unseen = [f"unseen {n}" for n in range(50)]
    from_end = [
        1 + len(each) + 7 - each.numbers(unseen, num_buckets=7) for each in (vocabulary, larger)
    ]
    assert from_end[0].tolist() == from_end[1].tolist()
    assert 1 <= from_end[0].min() <= from_end[0].max() == 7


def test_a_saved_vocabulary_opens_as_it_was(tmp_path: Path):
    vocabulary = extended(Vocabulary.from_ids([f"item {i}" for i in range(1000)]), ["first"])
    vocabulary.save(tmp_path / "v.arrow")
    opened = Vocabulary.open(tmp_path / "v.arrow")
    assert opened.hash == vocabulary.hash
    assert opened.ids.equals(vocabulary.ids)
    assert opened.number("first") == 1001
    assert opened.numbers(vocabulary.ids).tolist() == list(range(1, 1002))


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(DatasetError, match=r"nowhere\.arrow cannot be opened as vocabulary"):
        Vocabulary.open(tmp_path / "nowhere.arrow")


@pytest.mark.parametrize("kept", [0, 10, 500])
def test_a_file_that_was_cut_short_is_refused(tmp_path: Path, kept: int):
    path = tmp_path / "v.arrow"
    Vocabulary.from_ids([str(i) for i in range(100)]).save(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(DatasetError, match="Copy or build it again"):
        Vocabulary.open(path)


def test_histories_are_not_taken_for_a_vocabulary(tmp_path: Path):
    Histories.from_lists(["u"], [[1]], [[1]]).save(tmp_path / "h.arrow")
    with pytest.raises(DatasetError, match="kind 'histories'"):
        Vocabulary.open(tmp_path / "h.arrow")
