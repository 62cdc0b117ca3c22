"""What one step of training is: its batches, its rate, its numbers."""

import numpy as np
import pytest
import torch

from raysys.config import (
    GruConfig,
)
from raysys.training.checkpoint import StepResult
from raysys.training.loop import fit
from tests.unit.training.worlds import (
    NUM_ITEMS,
    gru_config,
    model_for,
    rings,
    two_tower_config,
    weights_of,
)


def test_each_step_tells_how_far_its_epoch_is() -> None:
    config = gru_config(max_epochs=2, batch_size=6)
    told: list[StepResult] = []
    results = fit(model_for(config), rings(), config=config, on_step=told.append)
    for result in results:
        steps = [step for step in told if step.epoch == result.epoch]
        shares = [step.share for step in steps]
        # 24 users in 6 lanes of 4 steps, 7 targets each: 4 rounds of two segments, of 4 and of 3.
        assert shares == pytest.approx(np.cumsum([24, 18] * 4) / 168)
        assert steps[-1].loss == result.loss
        assert steps[-1].learning_rate == result.learning_rate
    # The rate falls in a straight line over both epochs; the last step begins before the end.
    rates = [step.learning_rate for step in told]
    done = [0.0, *np.cumsum([24, 18] * 8)[:-1] / 168]
    assert rates == pytest.approx([0.02 * (1 - each / 2) for each in done])


def test_the_loss_is_the_weighted_mean_over_the_epochs_examples():
    # Zero weights score alike the items that a user has not seen: log(12 - seen) for each example.
    config = gru_config(max_epochs=1, learning_rate=1e-12)
    half_life = 3.0
    config = config.model_copy(
        update={"model": config.model.model_copy(update={"recency_half_life": half_life})}
    )
    model = model_for(config)
    with torch.no_grad():
        for weight in model.parameters():
            weight.zero_()
    (result,) = fit(model, rings(), config=config)
    num_seen = np.arange(1, 8)  # histories are 8 long, so the newest target came after 7
    recency = 0.5 ** ((7 - num_seen) / half_life)
    by_hand = np.average(np.log(NUM_ITEMS - num_seen), weights=recency)
    assert result.loss == pytest.approx(by_hand, rel=1e-5)


def test_a_learning_rate_that_decays_ends_near_zero():
    rates = []

    def note(result, checkpoint):
        rates.append(checkpoint.optimizer["optimizer"]["torch"]["param_groups"][0]["lr"])

    config = gru_config(max_epochs=4, learning_rate=0.02)
    fit(model_for(config), rings(), config=config, on_epoch=note)
    # 8 lanes of 7 examples, three times; the last batch begins when 144 of 168 are learnt
    assert rates == pytest.approx([0.02 * (1 - (epoch + 6 / 7) / 4) for epoch in range(4)])


def test_accumulated_batches_make_the_step_of_one_batch_that_holds_them_all():
    # 192 pairs: an epoch is 4 steps of 48, or of 3 batches of 16; the order of reading is the same.
    whole, parts = (
        two_tower_config(max_epochs=3, batch_size=48),
        two_tower_config(max_epochs=3, batch_size=16, accumulate_steps=3),
    )
    models = [model_for(whole), model_for(parts)]
    results = [
        fit(model, rings(), config=config, user_nums=np.arange(1, 25))
        for model, config in zip(models, (whole, parts), strict=True)
    ]
    assert [r.loss for r in results[1]] == pytest.approx([r.loss for r in results[0]])
    for weight, reference in zip(*map(weights_of, models), strict=True):
        torch.testing.assert_close(weight, reference, atol=1e-4, rtol=1e-4)


def test_a_last_step_may_have_fewer_batches_than_the_others():
    config = two_tower_config(max_epochs=1, batch_size=50, accumulate_steps=3)
    steps = []
    fit(
        model_for(config),
        rings(),
        config=config,
        user_nums=np.arange(1, 25),
        on_epoch=lambda result, checkpoint: steps.append(
            checkpoint.optimizer["optimizer"]["num_steps"]
        ),
    )
    assert steps == [2]  # 3 batches of 50, and one of 42


def test_the_average_of_the_weights_is_what_is_validated_and_kept():
    config = gru_config(max_epochs=3, ema_decay=0.9)
    validated, checkpoints = [], []

    def validate(model):
        validated.append(weights_of(model))
        return {"ndcg_at_10": float(len(validated))}

    model = model_for(config)
    fit(
        model,
        rings(),
        config=config,
        validate=validate,
        on_epoch=lambda result, checkpoint: checkpoints.append(
            [weight.clone() for weight in checkpoint.weights.values()]
        ),
    )
    assert all(map(torch.equal, weights_of(model), validated[-1]))
    plain = model_for(gru_config(max_epochs=3))
    fit(plain, rings(), config=gru_config(max_epochs=3))
    assert all(map(torch.equal, weights_of(plain), checkpoints[-1]))  # it learns as without
    assert not torch.equal(weights_of(plain)[0], validated[-1][0])


@pytest.mark.parametrize("make_config", [gru_config, two_tower_config])
def test_products_in_bfloat16_learn_nearly_the_same(make_config):
    results = {}
    for precision in ("auto", "float32", "bfloat16"):
        config = make_config(max_epochs=4, precision=precision)
        model = model_for(config)
        results[precision] = [
            r.loss for r in fit(model, rings(), config=config, user_nums=np.arange(1, 25))
        ]
        assert {weight.dtype for weight in weights_of(model)} == {torch.float32}
    assert results["auto"] == results["float32"]  # on a CPU
    assert results["bfloat16"] != results["float32"]
    assert results["bfloat16"] == pytest.approx(results["float32"], rel=0.01)


@pytest.mark.parametrize("make_config", [gru_config, two_tower_config])
def test_where_every_step_reaches_every_row_it_does_not_matter_how_rows_are_changed(make_config):
    # One step an epoch, of all users and items.
    weights, losses = [], []
    for row_updates_from in (1, 1000):
        config = make_config(
            max_epochs=3,
            batch_size=1000,
            loss="in_batch_softmax",
            ema_decay=0.5,
            row_updates_from=row_updates_from,
        )
        if isinstance(config.model, GruConfig):
            model_config = config.model.model_copy(update={"bptt": 16})
            config = config.model_copy(update={"model": model_config})
        model = model_for(config)
        results = fit(model, rings(), config=config, user_nums=np.arange(1, 25))
        weights.append(weights_of(model))
        losses.append([result.loss for result in results])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    for by_row, whole in zip(*weights, strict=True):
        torch.testing.assert_close(by_row, whole, atol=1e-4, rtol=1e-4)
