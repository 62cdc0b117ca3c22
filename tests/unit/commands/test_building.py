"""What a release holds beside its model and its index, and what another index leaves as it is."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raysys import tables
from raysys.commands.building import reindexed
from raysys.config import GruConfig, IndexConfig, PipelineConfig
from raysys.index.cold_start import ColdStart, fit_cold_start
from raysys.index.fresh import DAY_US, FreshPool
from raysys.index.shard import open_shard
from raysys.models.encode import encode_catalogue
from raysys.models.weights import load_model
from raysys.release import MODEL_DIRECTORY, Release
from tests.unit.commands.builders import release_untrained
from tests.unit.dataset.builders import Row, write_dataset

USERS, ITEMS = ("kim", "lea", "max"), "abcdefghij"
ROWS: list[Row] = [
    (user, item, (10 * place + number) * DAY_US)
    for number, user in enumerate(USERS)
    for place, item in enumerate(ITEMS)
]
"""Item n, from 0, is first seen on day 10 n; the newest interaction is on day 92."""
GENRES = ["war" if item in "abcde" else "love" for item in ITEMS]
CONFIG = PipelineConfig(
    model=GruConfig(hidden_dimension=16, history_length=4), index=IndexConfig(num_partitions=4)
)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    directory = tmp_path_factory.mktemp("building")
    columns = {
        "item_id": [*ITEMS],
        "title": [None] * len(ITEMS),
        "genres": GENRES,
        # Of the first item and of the last one: days 91 and 1.
        "creation_timestamp": [str(91 * 86_400), *[None] * 8, str(86_400)],
    }
    more = [pa.field(name, pa.string()) for name in ("genres", "creation_timestamp")]
    table = pa.table(columns, schema=pa.schema([*tables.ITEMS, *more]))
    dataset = write_dataset(directory / "dataset", [ROWS], table)
    return release_untrained(dataset, directory / "releases", CONFIG)


def young_items(release: Release, num_shards: int) -> set[str]:
    """Return the items that all shards together would explore at a cut-off of 30 days."""
    found: list[str] = []
    for shard in range(num_shards):
        pool = FreshPool.of_release(
            release,
            open_shard(release, shard, num_shards),
            shard=shard,
            num_shards=num_shards,
            age_cut_off_days=30,
        )
        found += pool.home.vocabulary.ids_of(pool.items.keys)
    assert len(found) == len({*found})
    return {*found}


def test_items_are_young_by_the_item_table_or_else_by_their_first_interaction(
    release: Release,
) -> None:
    # Younger than 30 days on day 92: first seen on days 70, 80 and (but for the table) 90.
    assert young_items(release, 2) == {"h", "i", "a"}


def test_new_items_are_placed_by_what_was_learnt_of_their_kind(release: Release) -> None:
    vocabulary = release.manifest.vocabulary
    vectors = encode_catalogue(load_model(release.path / MODEL_DIRECTORY, vocabulary=vocabulary))
    table = pa.table({"item_id": [*ITEMS], "title": pa.nulls(10, pa.string()), "genres": GENRES})
    expected = fit_cold_start(vectors, table, np.full(10, len(USERS)))
    asked = [{"genres": "war"}, {"genres": "love"}, {}]
    assert ColdStart.open(release).vectors(asked).tolist() == expected.vectors(asked).tolist()


def test_another_index_leaves_fresh_items_and_their_vectors_as_they_are(
    release: Release, tmp_path: Path
) -> None:
    other = reindexed(release, tmp_path, IndexConfig(num_partitions=3))
    other.verify()
    assert young_items(other, 3) == young_items(release, 1) == {"h", "i", "a"}
    asked = [{"genres": "war"}]
    found = ColdStart.open(other).vectors(asked)
    assert found.tolist() == ColdStart.open(release).vectors(asked).tolist()
