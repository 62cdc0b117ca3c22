"""What an update refuses, what it finds new, and what it carries over. No training here."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raysys import tables
from raysys.commands.building import build_release
from raysys.commands.console import Console
from raysys.commands.going_on import Update, carried_over, open_update
from raysys.commands.update import update_and_report
from raysys.config import GruConfig, IndexConfig, PipelineConfig, RandomSplit, TwoTowerConfig
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import ConfigError, DatasetError
from raysys.index.cold_start import ColdStart
from raysys.models.encode import encode_catalogue
from raysys.models.weights import load_model
from raysys.release import (
    HISTORIES,
    ITEM_VOCABULARY,
    MODEL_DIRECTORY,
    USER_VOCABULARY,
    Release,
    open_release,
)
from tests.unit.commands.builders import release_untrained
from tests.unit.dataset.builders import Row, write_dataset

ITEMS = "bcdefgh"  # "a" and "z" come later, so that a fresh numbering would be another one
USERS = ("kim", "lea", "max", "nils")
OLD: list[Row] = [
    (user, ITEMS[(start + step) % len(ITEMS)], 1_000 * step + start)
    for start, user in enumerate(USERS)
    for step in range(6)
]
NEWEST = 5_003
CONFIG = PipelineConfig(
    model=GruConfig(hidden_dimension=16, history_length=4), index=IndexConfig(num_partitions=2)
)


def in_order(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row[0], row[2]))


def item_table(*item_ids: str) -> pa.Table:
    genres = ["war" if item_id in "abcd" else "love" for item_id in item_ids]
    table = pa.table({"item_id": item_ids, "title": [None] * len(item_ids), "genre": genres})
    return table.cast(pa.schema([*tables.ITEMS, pa.field("genre", pa.string())]))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return publish(tmp_path_factory.mktemp("update"), CONFIG)


def publish(directory: Path, config: PipelineConfig) -> Release:
    """Make a release of the old rows, with weights that nothing was learnt by."""
    dataset = write_dataset(directory / "old", [in_order(OLD)], item_table(*ITEMS))
    return release_untrained(dataset, directory / "releases", config)


def opened(release: Release, path: Path, *new: Row, old: list[Row] = OLD, **more: Any) -> Update:
    rows = in_order([*old, *new])
    items = item_table(*sorted({item for _, item, _ in rows}))
    return open_update(release, write_dataset(path / "new", [rows], items, **more))


def test_what_happened_at_the_watermark_is_not_new_and_a_microsecond_later_is(
    release: Release, tmp_path: Path
) -> None:
    late = ("kim", "b", NEWEST)
    assert opened(release, tmp_path / "1", late).num_active_users == 0
    assert opened(release, tmp_path / "2", ("kim", "b", NEWEST + 1)).num_active_users == 1


def test_known_ids_keep_their_numbers_and_new_ones_follow(release: Release, tmp_path: Path) -> None:
    update = opened(release, tmp_path, ("abe", "a", 9_000), ("kim", "z", 9_001))
    assert update.material.items.ids.to_pylist() == [*ITEMS, "a", "z"]
    assert update.material.users.ids.to_pylist() == [*USERS, "abe"]
    assert update.num_active_users == 2


def test_a_dataset_without_an_item_of_the_release_is_refused(
    release: Release, tmp_path: Path
) -> None:
    rest = [row for row in OLD if row[1] not in "cd"]
    with pytest.raises(DatasetError, match=r"no interaction with 2 of the 7 items .* such as 'c'"):
        opened(release, tmp_path, ("kim", "b", 9_000), old=rest)


def test_a_dataset_of_another_group_is_refused(release: Release, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="belongs to the dataset group 'films'"):
        opened(release, tmp_path, ("kim", "b", 9_000), dataset_group="films")


def test_a_release_that_was_split_at_random_is_refused(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"split": RandomSplit(test_share=0.2)})
    release = publish(tmp_path, config)
    with pytest.raises(ConfigError, match="would test what the model has learnt"):
        opened(release, tmp_path, ("kim", "b", 9_000))


def test_something_can_be_learnt_as_soon_as_two_items_of_an_active_user_are_not_held_back(
    release: Release, tmp_path: Path
) -> None:
    first = opened(release, tmp_path / "1", ("abe", "b", 9_000))
    assert (first.num_active_users, first.is_learnable) == (1, False)
    known = opened(release, tmp_path / "2", ("kim", "b", 9_000))
    assert known.is_learnable


def test_where_nothing_can_be_learnt_yet_the_weights_stay_and_the_data_is_new(
    release: Release, tmp_path: Path
) -> None:
    update = opened(release, tmp_path, ("abe", "a", 9_000))
    result = update_and_report(update, tmp_path / "releases", Console(as_json=True), epochs=3)
    made = open_release(tmp_path / "releases")
    made.verify()
    assert result["name"] == made.name
    counts = {"active_users": 1, "new_items": 1, "new_users": 1, "epochs": 0}
    assert counts.items() <= result.items()
    assert made.manifest.lineage["updated_from"] == release.name
    assert made.manifest.lineage["update"] == counts
    assert made.manifest.watermark.timestamp() == 9_000e-6

    items = Vocabulary.open(made.file(ITEM_VOCABULARY))
    model = load_model(made.path / MODEL_DIRECTORY, vocabulary=items.hash)
    before = load_model(release.path / MODEL_DIRECTORY, vocabulary=release.manifest.vocabulary)
    catalogue = encode_catalogue(model)
    np.testing.assert_array_equal(catalogue[:-1], encode_catalogue(before))
    placed = ColdStart.open(release).vectors([{"genre": "war"}])
    np.testing.assert_array_equal(catalogue[-1:], placed)
    assert placed.any()


def test_a_user_who_did_enough_leaves_their_bucket(tmp_path: Path) -> None:
    few: list[Row] = [("abe", "b", 1), ("abe", "c", 2), ("zoe", "b", 1)]
    config = CONFIG.model_copy(
        update={"model": TwoTowerConfig(embedding_dim=4, min_user_count=3, num_user_buckets=2)}
    )
    dataset = write_dataset(tmp_path / "old", [in_order([*OLD, *few])], item_table(*ITEMS))
    release = release_untrained(dataset, tmp_path / "releases", config)
    known = Vocabulary.open(release.file(USER_VOCABULARY))
    assert known.ids.to_pylist() == [*USERS]
    assert release.manifest.num_users == len(USERS)
    histories = Histories.open(release.file(HISTORIES))
    assert histories.rows_of(["abe", "zoe"]).min() >= 0  # everybody's is served

    update = opened(release, tmp_path, ("abe", "d", 9_000), old=[*OLD, *few])
    assert update.material.users.ids.to_pylist() == [*USERS, "abe"]
    made, _ = build_release(
        update.material,
        tmp_path / "releases",
        config,
        recipe="custom",
        write_model=carried_over(update),
        console=Console(as_json=True),
    )
    assert made.manifest.num_users == len(USERS) + 1
    table = load_model(made.path / MODEL_DIRECTORY, vocabulary=made.manifest.vocabulary)
    assert table.state_dict()["query_tower.ids.weight"].shape == (1 + 5 + 2, 4)
