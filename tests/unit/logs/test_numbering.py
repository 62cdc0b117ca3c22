"""Vocabularies written from many shards are those that one machine with all ids would write."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raysys import arrow_file, lookup
from raysys.dataset.vocabulary import Vocabulary
from raysys.logs.call import Call, run_here
from raysys.logs.distinct import DistinctIds, distinct_ids, distinct_ids_of
from raysys.logs.numbering import Wanted, write_vocabularies, write_without
from tests.unit.dataset.builders import extended, numbered

ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)
shards = st.lists(st.lists(ids, max_size=8), max_size=4)  # each of them is a file


@pytest.fixture(autouse=True)
def _many_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raysys.logs.distinct._SAMPLE_EVERY", 2)


def shard(directory: Path, number: int, texts: Sequence[str], **options: Any) -> DistinctIds:
    path = directory / f"{number}.parquet"
    pq.write_table(pa.table({"id": pa.array(texts, pa.string())}), path, **options)
    return distinct_ids(path, "id", directory / f"{number}.ids")


def written(
    work: Path, shards: Sequence[Sequence[str]], known: Path | None = None, **options: Any
) -> Path:
    work.mkdir(parents=True, exist_ok=True)
    distinct = [shard(work, number, texts) for number, texts in enumerate(shards)]
    return write_vocabularies({"items": Wanted(distinct, known)}, work, **options)["items"]


def test_the_distinct_ids_of_a_shard_ascend_and_are_told_once(tmp_path: Path) -> None:
    texts = [f"{n % 700:03}" for n in range(5_000)]
    found = shard(tmp_path, 0, texts, row_group_size=100)
    assert found.count == 700
    assert found.sample == tuple(f"{n:03}" for n in range(0, 700, 2))


def test_a_shard_whose_ids_are_mostly_different_reads_alike(tmp_path: Path) -> None:
    texts = [f"{n:05}" for n in range(5_000)]  # no dictionary is worth its place
    found = shard(tmp_path, 0, texts[::-1], row_group_size=512, dictionary_pagesize_limit=1_000)
    assert (found.count, found.sample[:2]) == (5_000, ("00000", "00002"))


@pytest.mark.parametrize("ids_per_range", [1 << 20, 40, 7])
def test_a_file_depends_on_the_ids_alone_byte_for_byte(tmp_path: Path, ids_per_range: int) -> None:
    texts = [f"item {n * 37 % 100}" for n in range(100)]
    Vocabulary.from_ids(texts).save(tmp_path / "expected.arrow")
    expected = (tmp_path / "expected.arrow").read_bytes()
    for number, shards in enumerate(([texts], [texts[:50], texts[40:]], [[], texts[::-1], texts])):
        path = written(tmp_path / str(number), shards, ids_per_range=ids_per_range)
        assert path.read_bytes() == expected


@pytest.mark.parametrize("ids_per_range", [1 << 20, 3])
def test_known_ids_keep_their_numbers_and_new_ones_follow(
    tmp_path: Path, ids_per_range: int
) -> None:
    first = written(tmp_path / "1", [["m", "b"], ["b", "x"]], ids_per_range=ids_per_range)
    second = written(
        tmp_path / "2", [["z", "a", "x"], ["c", "m"]], first, ids_per_range=ids_per_range
    )
    vocabulary = Vocabulary.open(second)
    assert vocabulary.ids.to_pylist() == ["b", "m", "x", "a", "c", "z"]
    assert vocabulary.numbers(["x", "z", "b", "?"]).tolist() == [3, 6, 1, 0]


def test_what_is_imported_again_changes_no_byte(tmp_path: Path) -> None:
    first = written(tmp_path / "1", [["m", "b"]])
    assert written(tmp_path / "2", [["b"], ["m"]], first).read_bytes() == first.read_bytes()


@settings(
    deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(shards, shards, st.integers(1, 9))
def test_ids_of_all_kinds_are_numbered_as_in_one_memory(
    tmp_path_factory: pytest.TempPathFactory, old, new, ids_per_range
) -> None:
    work = tmp_path_factory.mktemp("ids")
    first = written(work / "1", old, ids_per_range=ids_per_range)
    expected = Vocabulary.from_ids(text for texts in old for text in texts)
    assert Vocabulary.open(first).ids.to_pylist() == expected.ids.to_pylist()
    second = written(work / "2", new, first, ids_per_range=ids_per_range)
    extended(expected, (text for texts in new for text in texts)).save(work / "expected.arrow")
    assert second.read_bytes() == (work / "expected.arrow").read_bytes()


def test_ids_whose_hashes_collide_keep_their_own_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = lookup.stable_hashes
    monkeypatch.setattr(lookup, "stable_hashes", lambda texts: full(texts) >> 61 << 61)
    texts = [f"{n:02}" for n in range(60)]
    first = written(tmp_path / "1", [texts[:30]], ids_per_range=7)
    vocabulary = Vocabulary.open(written(tmp_path / "2", [texts], first, ids_per_range=7))
    assert vocabulary.numbers(texts).tolist() == list(range(1, 61))


def test_small_vocabularies_take_one_task_each_and_large_ones_several(tmp_path: Path) -> None:
    tasks: list[list[str]] = []

    def run(calls: Sequence[Call]) -> Any:
        tasks.append([type(call).__name__ for call in calls])
        return run_here(calls)

    few, many = (shard(tmp_path, n, [str(m) for m in range(n)]) for n in (3, 50))
    wanted = {"items": Wanted([few]), "users": Wanted([many])}
    found = write_vocabularies(wanted, tmp_path, run=run, ids_per_range=20)
    assert {kind: len(Vocabulary.open(path)) for kind, path in found.items()} == {
        "items": 3,
        "users": 50,
    }
    assert tasks == [["_CollectRange"] * 3, ["_MergeLookups"] * 3, ["_Assemble"], ["_WriteWhole"]]


def test_the_ids_of_one_vocabulary_follow_those_of_another(tmp_path: Path) -> None:
    Vocabulary.from_ids("bd").save(tmp_path / "known.arrow")
    numbered("dzac").save(tmp_path / "more.arrow")
    more = distinct_ids_of(tmp_path / "more.arrow", tmp_path, ids_per_file=3)
    wanted = {"items": Wanted(more, tmp_path / "known.arrow")}
    path = write_vocabularies(wanted, tmp_path, ids_per_range=1)["items"]
    assert Vocabulary.open(path).ids.to_pylist() == [*"bdacz"]


def test_of_a_vocabulary_only_some_ids_may_be_numbered(tmp_path: Path) -> None:
    numbered("bdac").save(tmp_path / "all.arrow")
    keep = np.array([True, False, True, True])
    for ids_per_file in (1, 3, 100):
        some = distinct_ids_of(
            tmp_path / "all.arrow", tmp_path, keep=keep, ids_per_file=ids_per_file
        )
        path = write_vocabularies({"users": Wanted(some)}, tmp_path)["users"]
        assert Vocabulary.open(path).ids.to_pylist() == [*"abc"]


def test_without_some_ids_the_others_move_up_in_their_order(tmp_path: Path) -> None:
    numbered("bdacz").save(tmp_path / "all.arrow")
    vocabulary = Vocabulary.open(write_without(tmp_path / "all.arrow", ["d", "z", "?"], tmp_path))
    assert vocabulary.ids.to_pylist() == [*"bac"]
    assert vocabulary.numbers([*"bdacz"]).tolist() == [1, 0, 2, 3, 0]


def test_texts_beyond_the_width_of_a_string_array_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrow_file, "LARGEST_STRING_BYTES", 100)
    texts = [f"item {n:03}" for n in range(50)]
    path = written(tmp_path, [texts[::2], texts], ids_per_range=20)
    vocabulary = Vocabulary.open(path)
    assert vocabulary.ids.type == pa.large_string()
    assert vocabulary.numbers(texts).tolist() == list(range(1, 51))
    assert vocabulary.ids_of([50, 1]) == ["item 049", "item 000"]
    more = Vocabulary.open(written(tmp_path / "2", [["a"]], path, ids_per_range=20))
    assert more.numbers(["item 000", "a"]).tolist() == [1, 51]
