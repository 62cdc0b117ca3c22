import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raysys import tables
from raysys.dataset.dataset import open_dataset, shard_histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import DatasetError
from tests.unit.dataset.builders import interactions, write_dataset

SHARDS = [
    [("bob", "x", 5), ("bob", "y", 5), ("dan", "x", 1)],
    [("ann", "a", 7)],
    [],
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    items = pa.table({"item_id": ["x", "y"], "title": ["X", None]}, schema=tables.ITEMS)
    return write_dataset(tmp_path / "dataset", SHARDS, items)


def change_manifest(path: Path, **fields: object) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, **fields}))


def test_histories_of_all_shards_are_ordered_by_user(path: Path):
    dataset = open_dataset(path)
    dataset.verify()
    vocabulary = dataset.item_vocabulary()
    histories = dataset.histories(vocabulary)
    assert histories.user_ids.to_pylist() == ["ann", "bob", "dan"]
    assert histories.offsets.tolist() == [0, 1, 3, 4]
    assert vocabulary.ids_of(histories.item_nums) == ["a", "x", "y", "x"]
    assert histories.occurred_at_us.tolist() == [7, 5, 5, 1]
    assert histories.vocabulary_hash == vocabulary.hash


def test_the_vocabularies_of_an_import_are_opened(path: Path):
    assert open_dataset(path).item_vocabulary().ids.to_pylist() == ["a", "x", "y"]
    assert open_dataset(path).user_vocabulary().ids.to_pylist() == ["ann", "bob", "dan"]


def test_a_dataset_without_vocabularies_is_of_an_earlier_version(path: Path):
    change_manifest(path, vocabulary={})
    with pytest.raises(DatasetError, match="no vocabulary of items.*Import the log again"):
        open_dataset(path).item_vocabulary()


def test_the_item_table_is_named_where_there_is_one(path: Path):
    assert open_dataset(path).items_path() == path / "import-1/items.parquet"
    change_manifest(path, items_file=None)
    assert open_dataset(path).items_path() is None


def test_items_that_the_vocabulary_lacks_keep_their_place_as_zero():
    vocabulary = Vocabulary.from_ids(["y"])
    assert shard_histories(interactions(SHARDS[0]), vocabulary).item_nums.tolist() == [0, 1, 0]


def test_an_empty_shard_has_no_histories():
    histories = shard_histories(interactions([]), Vocabulary.from_ids(["x"]))
    assert len(histories) == 0
    assert histories.offsets.tolist() == [0]


def test_a_shard_in_many_chunks_reads_like_one():
    rows = SHARDS[0]
    chunked = pa.concat_tables([interactions(rows[:1]), interactions([]), interactions(rows[1:])])
    histories = shard_histories(chunked, Vocabulary.from_ids(["x", "y"]))
    assert histories.user_ids.to_pylist() == ["bob", "dan"]
    assert histories.offsets.tolist() == [0, 2, 3]


@pytest.mark.parametrize(
    "rows",
    [
        [("bob", "x", 5), ("bob", "y", 4)],
        [("bob", "x", 5), ("ann", "x", 6)],
        [("ann", "x", 1), ("bob", "x", 2), ("ann", "x", 3)],
    ],
)
def test_a_shard_out_of_order_is_refused(rows: list[tuple[str, str, int]]):
    with pytest.raises(DatasetError, match="not ordered by user and time"):
        shard_histories(interactions(rows), Vocabulary.from_ids(["x"]))


def test_a_directory_without_a_manifest_is_no_dataset(tmp_path: Path):
    with pytest.raises(DatasetError, match="no dataset at .*raysys import"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format_version": 99}', "\xff"])
def test_a_damaged_manifest_is_refused(path: Path, text: str):
    (path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(DatasetError, match="Import the log again"):
        open_dataset(path)


def test_a_manifest_without_a_field_is_refused(path: Path):
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["rows_in"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="rows_in"):
        open_dataset(path)


def test_a_missing_shard_is_named(path: Path):
    (path / "import-1/interactions/shard-00001.parquet").unlink()
    with pytest.raises(DatasetError, match=r"shard-00001\.parquet is missing"):
        open_dataset(path)


def test_a_shard_that_was_cut_short_is_named(path: Path):
    shard = path / "import-1/interactions/shard-00000.parquet"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"shard-00000\.parquet has [\d,]+ bytes, but"):
        open_dataset(path)


def test_a_shard_that_was_altered_is_named(path: Path):
    shard = path / "import-1/interactions/shard-00000.parquet"
    altered = np.frombuffer(shard.read_bytes(), np.uint8).copy()
    altered[20] ^= 1
    shard.write_bytes(altered.tobytes())
    with pytest.raises(DatasetError, match=r"damaged: .*shard-00000\.parquet has SHA-256"):
        open_dataset(path).verify()


def test_a_shard_that_is_no_parquet_is_named(path: Path):
    shard = path / "import-1/interactions/shard-00000.parquet"
    shard.write_bytes(b"x" * shard.stat().st_size)
    with pytest.raises(DatasetError, match=r"shard-00000\.parquet cannot be read"):
        open_dataset(path).histories(Vocabulary.from_ids(["x"]))


def test_a_dataset_of_another_group_is_refused_and_an_old_manifest_is_of_the_default(path: Path):
    dataset = open_dataset(path)  # its manifest names no group
    dataset.check_dataset_group(None)
    dataset.check_dataset_group("default")
    with pytest.raises(DatasetError, match="dataset group 'default', but 'films'"):
        dataset.check_dataset_group("films")
    change_manifest(path, dataset_group="films")
    open_dataset(path).check_dataset_group("films")
