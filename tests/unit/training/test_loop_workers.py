"""Several workers learn what one would learn from the same batches."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from raysys.errors import TrainingError
from raysys.training.loop import fit
from tests.unit.training.ranks import fit_in_ranks
from tests.unit.training.worlds import (
    LOSSES,
    gru_config,
    model_for,
    rings,
    transformer_config,
    two_tower_config,
    uncut_transformer_config,
    weights_of,
    with_model,
    worlds_of_genres,
)


@pytest.mark.parametrize("row_updates_from", [1, 1000])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("make_config", [gru_config, uncut_transformer_config, two_tower_config])
def test_workers_together_learn_what_one_learns_from_the_same_batches(
    make_config, loss, row_updates_from
):
    # One batch holds everything, so that it does not matter who reads what: 7 users against 17,
    # and for the GRU one worker is out of batches long before the other.
    config = make_config(
        batch_size=400,
        max_epochs=2,
        loss=loss,
        num_negatives=6,
        learning_rate=0.01,
        row_updates_from=row_updates_from,
    )
    train, user_nums = rings(), np.arange(1, 25)
    alone = model_for(config)
    expected = fit(alone, train, config=config, user_nums=user_nums)

    rows = [np.arange(7), np.arange(7, 24)]
    together = fit_in_ranks(
        [train.take(part) for part in rows], config, [user_nums[part] for part in rows]
    )
    for model, results in together:
        assert [r.loss for r in results] == pytest.approx([r.loss for r in expected], rel=1e-5)
        for weight, reference in zip(weights_of(model), weights_of(alone), strict=True):
            torch.testing.assert_close(weight, reference, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("row_updates_from", [1, 1000])
@pytest.mark.parametrize("make_config", [gru_config, uncut_transformer_config, two_tower_config])
def test_workers_together_read_features_and_context_as_one_does(make_config, row_updates_from):
    config = make_config(batch_size=400, max_epochs=2, row_updates_from=row_updates_from)
    config = with_model(config, context_dropout=0.0, id_dropout=0.0)
    train, features = worlds_of_genres()
    train = replace(train, contexts=np.arange(train.num_interactions) % 6)
    known = {"features": features, "context_sizes": (2, 3)}
    alone = model_for(config, **known)
    reached = [*alone.context.parameters(), *alone.item_tower.projection.parameters()]
    untrained = [weight.detach().clone() for weight in reached]
    user_nums = np.arange(1, 11)
    expected = fit(alone, train, config=config, user_nums=user_nums)
    assert not any(map(torch.equal, untrained, reached))

    rows = [np.arange(3), np.arange(3, 10)]
    together = fit_in_ranks(
        [train.take(part) for part in rows], config, [user_nums[part] for part in rows], **known
    )
    for model, results in together:
        assert [r.loss for r in results] == pytest.approx([r.loss for r in expected], rel=1e-5)
        for weight, reference in zip(weights_of(model), weights_of(alone), strict=True):
            torch.testing.assert_close(weight, reference, atol=2e-4, rtol=1e-3)


def test_all_workers_name_the_users_whose_loss_was_no_number():
    config = two_tower_config(max_epochs=1, batch_size=1000)
    train = replace(rings(), weights=np.ones(24 * 8, np.float32))
    assert train.weights is not None
    train.weights[5 * 8] = math.inf
    errors = fit_in_ranks(
        [train.take(range(4, 6)), train.take(range(6, 24))],
        config,
        [np.arange(5, 7), np.arange(7, 25)],
    )
    assert all(isinstance(results, TrainingError) for _, results in errors)
    first, second = (str(results) for _, results in errors)
    assert first == second
    assert "Users in the batch: 'user-04', 'user-05'. Lower" in first


@pytest.mark.parametrize("make_config", [gru_config, transformer_config])
def test_a_worker_whose_batches_end_early_waits_for_the_others(make_config):
    config = make_config(batch_size=2, max_epochs=2)
    train = rings()
    together = fit_in_ranks([train.take(range(2)), train.take(range(2, 24))], config, [None] * 2)
    first, second = together
    assert all(map(torch.equal, weights_of(first[0]), weights_of(second[0])))
    assert [r.loss for r in first[1]] == [r.loss for r in second[1]]
