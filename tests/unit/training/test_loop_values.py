"""Training on explicit feedback, alone and jointly with finding items."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from raysys.config import (
    FeedbackConfig,
    PipelineConfig,
    TrainingConfig,
    TwoTowerConfig,
)
from raysys.dataset.histories import Histories
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.training.loop import fit
from tests.unit.training.worlds import (
    model_for,
    two_tower_config,
    worlds_of_genres,
)


def test_two_towers_learn_the_values_of_explicit_feedback() -> None:
    # Even users value items 1 to 4 at 5 and the others at 1, odd users the other way round; nobody
    # has valued item 1 + (user mod 8), which is ranked by what others say of it.
    values = np.array([[5.0] * 4 + [1.0] * 4, [1.0] * 4 + [5.0] * 4], np.float32)
    rows = [[item for item in range(1, 9) if item != 1 + user % 8] for user in range(24)]
    histories = Histories.from_lists(
        [f"user-{user:02}" for user in range(24)], rows, [range(7)] * 24
    )
    labels = [values[user % 2][item - 1] for user, items in enumerate(rows) for item in items]
    histories = replace(histories, labels=np.array(labels, np.float32))
    config = two_tower_config(max_epochs=60, batch_size=16)
    config = config.model_copy(update={"feedback": FeedbackConfig(kind="explicit")})
    user_nums = np.arange(1, 25)
    model = model_for(config)
    results = fit(model, histories, config=config, user_nums=user_nums)
    assert results[-1].loss < 0.1 < results[0].loss
    scores = encode_histories(model, histories, user_nums=user_nums) @ encode_catalogue(model).T
    for user in range(24):
        likes_first = user % 2 == 0
        low_half, high_half = scores[user, :4], scores[user, 4:8]
        assert (low_half.min() > high_half.max()) == likes_first


def test_a_joint_loss_is_the_weighted_sum_of_finding_items_and_of_predicting_values():
    lists, labels = [[1, 2], [3]], [5.0, 1.0, 3.0]
    train = replace(
        Histories.from_lists(["a", "b"], lists, [range(2), range(1)]),
        labels=np.array(labels, np.float32),
    )
    settings = TwoTowerConfig(embedding_dim=2, retrieval_weight=2.0, rating_weight=0.5)
    training = TrainingConfig(batch_size=3, max_epochs=1, learning_rate=1e-9)
    feedback = FeedbackConfig(kind="explicit")
    config = PipelineConfig(model=settings, training=training, feedback=feedback)
    model = model_for(config, num_users=2)
    with torch.no_grad():
        for weight in (model.query_tower.ids.weight, model.candidate_tower.ids.weight):
            weight.zero_()
    # All scores are equal: finding one of 12 items costs log 12. All predictions are the mean, 3:
    # (5 - 3)^2 + (1 - 3)^2 + 0.
    expected = (2.0 * 3 * math.log(12) + 0.5 * 8) / 3
    results = fit(model, train, config=config, user_nums=np.array([1, 2]))
    assert results[0].loss == pytest.approx(expected)


def test_a_joint_model_ranks_what_is_taken_and_predicts_what_it_is_worth():
    # Everybody takes items of their genre and values the first half of them 5, the others 1.
    train, _ = worlds_of_genres()
    values = np.where((train.item_nums - 1) % 6 < 3, 5.0, 1.0).astype(np.float32)
    train = replace(train, labels=values)
    config = two_tower_config(max_epochs=60)
    joint = config.model.model_copy(update={"retrieval_weight": 1.0})
    config = config.model_copy(update={"model": joint, "feedback": FeedbackConfig(kind="explicit")})
    model = model_for(config, num_users=10)
    user_nums = np.arange(1, 11)
    fit(model, train, config=config, user_nums=user_nums)
    queries = encode_histories(model, train, user_nums=user_nums)
    candidates = encode_catalogue(model)
    best = np.argsort(-(queries @ candidates.T), axis=1) + 1
    for row in range(10):
        taken = train.of(row)[0]
        assert set(best[row, : len(taken)]) == set(taken)
    users = np.repeat(np.arange(10), train.lengths)
    with torch.no_grad():
        predicted = model.rating_head(
            torch.from_numpy(queries[users, :8]),
            torch.from_numpy(candidates[train.item_nums - 1, :8]),
        ).numpy()
    np.testing.assert_allclose(predicted, values, atol=0.5)
