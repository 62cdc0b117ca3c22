"""The item table of a release: every item once, in the order of the numbers."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raysys.dataset import item_table
from raysys.dataset.item_table import open_item_table, write_item_table
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DatasetError


@pytest.fixture(params=[1 << 16, 3])
def _batch_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_table, "ROWS_PER_BATCH", request.param)


def written(directory: Path, given: pa.Table | None, *ids: str) -> pa.Table:
    path = None
    if given is not None:
        path = directory / "given.parquet"
        pq.write_table(given, path, row_group_size=4)
    write_item_table(path, Vocabulary.from_ids(ids), directory / "items", directory)
    return open_item_table(directory / "items")


@pytest.mark.usefixtures("_batch_size")
def test_rows_stand_in_the_order_of_the_numbers_and_are_null_where_nothing_is_known(
    tmp_path: Path,
) -> None:
    given = pa.table(
        {
            "item_id": ["d", "never seen", "a", "e", "b"],
            "title": ["D", "?", "A", None, "B"],
            "year": [4, 0, 1, 5, 2],
        }
    )
    assert written(tmp_path, given, *"abcde").to_pydict() == {
        "item_id": ["a", "b", "c", "d", "e"],
        "title": ["A", "B", None, "D", None],
        "year": [1, 2, None, 4, 5],
    }


@pytest.mark.usefixtures("_batch_size")
def test_of_an_item_that_comes_twice_the_first_row_counts_and_no_other_item_is_moved(
    tmp_path: Path,
) -> None:
    given = pa.table({"item_id": [*"baacbbc"], "title": ["B1", "A1", "A2", "C1", "B2", "B3", "C2"]})
    found = written(tmp_path, given, *"abc")
    assert found.to_pydict() == {"item_id": ["a", "b", "c"], "title": ["A1", "B1", "C1"]}


def test_without_a_table_nothing_but_the_ids_is_known(tmp_path: Path) -> None:
    found = written(tmp_path, None, "b", "a")
    assert found.to_pydict() == {"item_id": ["a", "b"], "title": [None, None]}
    assert found.schema.types == [pa.string(), pa.string()]


def test_items_of_a_large_catalogue_come_in_several_batches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(item_table, "ROWS_PER_BATCH", 100)
    ids = [f"{n:04}" for n in range(1000)]
    given = pa.table({"item_id": ids[::-1], "year": range(1000)})
    found = written(tmp_path, given, *ids)
    assert found["year"].to_pylist() == [*range(999, -1, -1)]
    assert found["year"].num_chunks == 10


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    (tmp_path / "given.parquet").write_bytes(b"x" * 99)
    with pytest.raises(DatasetError, match=r"given\.parquet cannot be read"):
        write_item_table(
            tmp_path / "given.parquet", Vocabulary.from_ids("a"), tmp_path / "items", tmp_path
        )
