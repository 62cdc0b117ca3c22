"""What a training begins with leaves nothing to chance of who and what is not learnt from."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from raysys.config import (
    ItemToItemConfig,
    LeaveLastOut,
    ModelConfig,
    PipelineConfig,
    TimeSplit,
    TwoTowerConfig,
)
from raysys.dataset.feature_table import FeatureTable, FeatureTables
from raysys.dataset.features import fit_features
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.logs.schema import Field, ValueType
from raysys.training.preparation import prepare

ITEMS = Vocabulary.from_ids("abcdef")


def log() -> Histories:
    """Return two users of old, whose third items are validation, and one who comes late."""
    items = [[1, 2, 3, 5], [2, 1, 4, 6], [5, 6]]
    times = [[1, 2, 3, 100], [1, 2, 3, 101], [102, 103]]
    return Histories.from_lists(["ann", "bob", "late"], items, times)


def config_of(model: ModelConfig) -> PipelineConfig:
    return PipelineConfig(model=model, split=TimeSplit(test_share=0.4, validation_share=0.1))


def genres(directory: Path) -> Path:
    """Save what is known of the items, so that it is the users whom chance tells apart."""
    rows = pa.table({"genres": ["War", "Drama"] * 3})
    field = Field("GENRES", ValueType.STRING, is_nullable=True, is_categorical=True)
    FeatureTables(FeatureTable.of(rows, fit_features([rows], [field], min_rows=1))).save(directory)
    return directory


def test_who_came_after_the_cutoff_begins_at_nothing(tmp_path: Path) -> None:
    users = Vocabulary.from_ids(["ann", "bob", "late"])
    config = config_of(TwoTowerConfig(embedding_dim=4))
    prepared = prepare(log(), config, ITEMS, users, features=genres(tmp_path / "features"))
    table = prepared.model.state_dict()["query_tower.ids.weight"].numpy()
    assert table.any(axis=1).tolist() == [False, True, True, False]


def test_what_came_after_the_cutoff_begins_at_nothing() -> None:
    users = Vocabulary.from_ids([])
    prepared = prepare(log(), config_of(ItemToItemConfig(item_id_hidden_dim=4)), ITEMS, users)
    weights = prepared.model.state_dict()
    for tower in ("anchor_tower", "candidate_tower"):
        is_there = weights[f"{tower}.ids.weight"].numpy().any(axis=1)
        assert is_there.tolist() == [False, True, True, False, False, False, False]


def test_what_another_worker_learns_from_is_there(tmp_path: Path) -> None:
    users = Vocabulary.from_ids(["ann", "bob", "late"])
    config = PipelineConfig(model=TwoTowerConfig(embedding_dim=4), split=LeaveLastOut())
    others = np.array([0, 0, 0, 7])
    prepared = prepare(
        log().take([0]),
        config,
        ITEMS,
        users,
        features=genres(tmp_path / "features"),
        total=lambda counts: counts + others if len(counts) == len(others) else counts,
    )
    table = prepared.model.state_dict()["query_tower.ids.weight"].numpy()
    assert table.any(axis=1).tolist() == [False, True, False, True]
