"""What is known of items makes new ones better and does no harm to others: a planted truth.

In a world of the simulator the true chance that a user takes an item is known, also of items that
the model has never met: a tenth of them, which are left out of the log and its vocabulary.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pytest
import torch

from raysys.config import PipelineConfig, TrainingConfig, TwoTowerConfig
from raysys.dataset.feature_table import FeatureTable, FeatureTables
from raysys.dataset.features import fit_features
from raysys.dataset.histories import Histories
from raysys.index.cold_start import fit_cold_start
from raysys.index.new_items import ItemTower
from raysys.logs.schema import Field, ValueType
from raysys.logs.simulator import Simulator
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.training.loop import fit

NUM_USERS, NUM_ITEMS, NUM_NEW, K = 400, 300, 30, 5
FIELDS = tuple(
    Field(name, ValueType.STRING, is_nullable=True, is_categorical=True)
    for name in ("GENRES", "STUDIO")
)
CONFIG = PipelineConfig(
    model=TwoTowerConfig(),
    training=TrainingConfig(learning_rate=1e-2, weight_decay=1.0, batch_size=256, max_epochs=6),
)
USER_NUMS = np.arange(1, NUM_USERS + 1)


class Quality(NamedTuple):
    """Of the new items: the share of each user's 5 truly best that are among the 5 ranked highest.
    Of the others: the mean of 1 / rank of each user's newest item, which was kept from training.
    """

    of_new: float
    of_known: float


def quality(seed: int, *, reads_features: bool) -> Quality:
    world = Simulator(
        "demo",
        seed=seed,
        num_users=NUM_USERS,
        num_items=NUM_ITEMS,
        mean_history=40,
        taste_period_days=3650.0,
    )
    items = pa.concat_tables(world.items())
    table = items.rename_columns([name.lower() for name in items.column_names])
    table = table.select(["item_id", "genres", "studio"])
    is_new = np.zeros(NUM_ITEMS, bool)
    is_new[np.random.default_rng(seed + 1).permutation(NUM_ITEMS)[:NUM_NEW]] = True
    train, newest = histories_of(pa.concat_tables(world.interactions()), is_new).split_off_last(1)
    known, new = table.filter(pa.array(~is_new)), table.filter(pa.array(is_new)).to_pylist()

    encoder = fit_features([known], FIELDS)
    features = FeatureTables(FeatureTable.of(known, encoder)) if reads_features else None
    torch.manual_seed(seed)
    model = build_model(CONFIG.model, num_items=len(known), num_users=NUM_USERS, features=features)
    fit(model, train, config=CONFIG, user_nums=USER_NUMS)
    vectors = encode_catalogue(model)
    if reads_features:
        of_new = ItemTower(encoder, model.item_tower.projection.as_arrays()).vectors(new)
    else:
        counts = np.bincount(train.item_nums, minlength=len(known) + 1)[1:]
        of_new = fit_cold_start(vectors, known, counts).vectors(new)

    queries = encode_histories(model, train, user_nums=USER_NUMS)
    every_user, every_item = (
        np.repeat(USER_NUMS, NUM_NEW),
        np.tile(np.flatnonzero(is_new) + 1, NUM_USERS),
    )
    truth = world.attraction(every_user, every_item, world.end_s).reshape(NUM_USERS, NUM_NEW)
    return Quality(
        overlap(queries @ of_new.T, truth), reciprocal_rank(queries @ vectors.T, train, newest)
    )


def histories_of(log: pa.Table, is_new: np.ndarray) -> Histories:
    """Return what users u1, u2 and so on did with items that are not new, numbered among these."""
    users, items = (
        np.array([int(each[1:]) for each in log[name].to_pylist()])
        for name in ("USER_ID", "ITEM_ID")
    )
    times = log["TIMESTAMP"].to_numpy()
    order = np.lexsort((times, users))
    begins = np.searchsorted(users[order], np.arange(1, NUM_USERS + 2))
    nums = np.where(is_new, 0, np.cumsum(~is_new))[items[order] - 1].astype(np.int32)
    names = pa.array([f"u{number}" for number in USER_NUMS])
    everything = Histories(names, begins, nums, times[order] * 1_000_000)
    return everything.where(nums > 0)


def overlap(scores, truth) -> float:
    best, truly_best = (np.argsort(-each, axis=1)[:, :K] for each in (scores, truth))
    shared = [len({*row} & {*true_row}) for row, true_row in zip(best, truly_best, strict=True)]
    return float(np.mean(shared)) / K


def reciprocal_rank(scores, train: Histories, newest: Histories) -> float:
    found = []
    for row in np.flatnonzero(newest.lengths):
        own = scores[row].copy()
        own[train.of(row)[0] - 1] = -np.inf
        answer = own[newest.of(row)[0][0] - 1]
        found.append(1 / (1 + (own > answer).sum()))
    return float(np.mean(found))


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_known_of_items_makes_new_ones_better_and_others_too(seed):
    ids, features = (quality(seed, reads_features=reads) for reads in (False, True))
    assert features.of_new > K / NUM_NEW + 0.2  # who knows nothing of them ranks them by chance
    assert features.of_new > ids.of_new - 0.02  # the regression of `index.cold_start`
    assert features.of_known > ids.of_known + 0.02
