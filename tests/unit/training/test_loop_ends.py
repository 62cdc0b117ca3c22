"""When training ends and what it leaves, and how it is taken up again."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from raysys.config import (
    EvaluationConfig,
    SequenceConfig,
)
from raysys.dataset.histories import Histories
from raysys.errors import TrainingError
from raysys.training.checkpoint import Checkpoint
from raysys.training.loop import fit
from tests.unit.training.worlds import (
    gru_config,
    model_for,
    rings,
    transformer_config,
    two_tower_config,
    weights_of,
)


@pytest.mark.parametrize(
    "loss", [{"loss": "full_softmax"}, {"loss": "sampled_softmax", "row_updates_from": 10}]
)
@pytest.mark.parametrize("make_config", [gru_config, transformer_config, two_tower_config])
def test_a_training_taken_up_from_its_checkpoint_ends_as_if_never_stopped(
    tmp_path, make_config, loss
):
    user_nums = np.arange(1, 25)
    config = make_config(
        max_epochs=4, warmup_steps=9, ema_decay=0.9, accumulate_steps=2, num_negatives=8, **loss
    )
    if isinstance(config.model, SequenceConfig):
        model_config = config.model.model_copy(update={"dropout": 0.3})
        config = config.model_copy(update={"model": model_config})

    def save(result, checkpoint):
        checkpoint.save(tmp_path / f"{result.epoch}.pt")

    whole = model_for(config)
    results = fit(whole, rings(), config=config, user_nums=user_nums, on_epoch=save)

    resumed = model_for(config)
    start = Checkpoint.load(tmp_path / "2.pt")
    resumed_results = fit(resumed, rings(), config=config, user_nums=user_nums, start=start)

    assert all(map(torch.equal, weights_of(whole), weights_of(resumed)))
    assert [r.loss for r in resumed_results] == [r.loss for r in results]
    assert resumed_results[:2] == results[:2]


def test_training_stops_when_the_metric_stays_below_its_best_and_keeps_the_best_weights():
    values = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    seen = []

    def validate(model):
        seen.append(weights_of(model))
        return {"ndcg_at_10": next(values), "mrr_at_10": 0.0}

    config = gru_config(patience=2)
    model = model_for(config)
    results = fit(model, rings(), config=config, validate=validate)
    assert [result.metrics["ndcg_at_10"] for result in results] == [0.1, 0.5, 0.4, 0.3]
    assert all(map(torch.equal, weights_of(model), seen[1]))
    assert not model.training


@pytest.mark.parametrize("stopped_after", [None, 1])
@pytest.mark.parametrize(("before", "kept"), [(0.6, 0), (0.5, 0), (0.4, 2)])
def test_a_trained_model_stays_as_it_is_where_no_epoch_is_better(before, kept, stopped_after):
    config = gru_config(max_epochs=3)
    values = iter([before, 0.3, 0.5, 0.2])
    seen, checkpoints = [], []

    def validate(model):
        seen.append(weights_of(model))
        return {"ndcg_at_10": next(values), "mrr_at_10": 0.0}

    def stop(result, checkpoint):
        checkpoints.append(checkpoint.copy())
        return result.epoch == stopped_after

    model = model_for(config)
    calls = {"config": config, "validate": validate, "is_trained": True}
    results = fit(model, rings(), on_epoch=stop, **calls)
    if stopped_after is not None:
        values = iter([before, 0.5, 0.2])
        model = model_for(config)  # begins with the same weights
        first, seen = seen[:2], []
        results = fit(model, rings(), start=checkpoints[-1], **calls)
        seen = first + seen[1:]
    assert [result.epoch for result in results] == [1, 2, 3]
    assert all(map(torch.equal, weights_of(model), seen[kept]))
    assert not all(map(torch.equal, seen[0], seen[2]))


def test_without_validation_every_epoch_runs_and_the_last_is_kept():
    config = two_tower_config(max_epochs=3, patience=1)
    last = []
    model = model_for(config)
    fit(
        model,
        rings(),
        config=config,
        user_nums=np.arange(1, 25),
        on_epoch=lambda result, checkpoint: last.append(weights_of(model)),
    )
    assert len(last) == 3
    assert all(map(torch.equal, weights_of(model), last[-1]))


@pytest.mark.parametrize("taken_up_after", [0, 2, 3])
def test_a_refit_is_the_training_it_repeats_up_to_its_epoch(taken_up_after: int):
    config = gru_config(max_epochs=5)
    checkpoints: list[Checkpoint] = []
    fit(
        model_for(config),
        rings(),
        config=config,
        on_epoch=lambda result, checkpoint: checkpoints.append(checkpoint.copy()),
    )
    start = checkpoints[taken_up_after - 1] if taken_up_after else None
    model = model_for(config)
    results = fit(model, rings(), config=config, start=start, num_epochs=3)
    assert [result.epoch for result in results] == [1, 2, 3]
    expected = checkpoints[2].weights
    assert all(torch.equal(each, expected[name]) for name, each in model.state_dict().items())


def test_a_metric_that_validation_does_not_measure_is_named():
    config = gru_config().model_copy(update={"evaluation": EvaluationConfig(metric_k=7)})
    with pytest.raises(TrainingError, match=r"stop by ndcg_at_7.*measured ndcg_at_10"):
        fit(model_for(config), rings(), config=config, validate=lambda model: {"ndcg_at_10": 0.1})


def test_a_loss_that_is_no_number_ends_the_training_and_names_the_step_and_its_users():
    # Two lanes, and every history is one segment of 7 targets: step 4 reads two users of the 24.
    config = gru_config(batch_size=2)
    config = config.model_copy(update={"model": config.model.model_copy(update={"bptt": 8})})
    order = np.random.default_rng((42, 0, 0)).permutation(24)
    weights = np.ones(24 * 8, np.float32)
    weights[order[7] * 8 + 7] = 3e38  # times a loss of 2.5, it is no float32
    model, train = model_for(config), replace(rings(), weights=weights)
    before = weights_of(model)
    with pytest.raises(TrainingError) as refused:
        fit(model, train, config=config)
    assert "loss of step 4 of epoch 1 is inf" in str(refused.value)
    assert f"batch: 'user-{order[6]:02}', 'user-{order[7]:02}'. Lower" in str(refused.value)
    assert "learning_rate (now 0.02)" in str(refused.value)
    assert all(map(torch.equal, weights_of(model), before))  # the best that there was


def test_what_was_best_before_the_loss_was_no_number_is_kept():
    config = two_tower_config(max_epochs=9, gradient_clip=None)
    saved = []

    def poison(result, checkpoint):
        saved.append(weights_of(model))
        if result.epoch == 2:
            model.query_tower.ids.weight.data[3] = math.inf

    model = model_for(config)
    with pytest.raises(TrainingError, match=r"of epoch 3 is (nan|inf)"):
        fit(
            model,
            rings(),
            config=config,
            user_nums=np.arange(1, 25),
            validate=lambda model: {"ndcg_at_10": 1.0 + len(saved)},
            on_epoch=poison,
        )
    assert all(map(torch.equal, weights_of(model), saved[1]))


def test_a_gradient_that_is_no_number_ends_the_training_before_it_changes_a_weight():
    config = two_tower_config(batch_size=2)
    user_nums, model = np.arange(1, 25), model_for(config)
    # A loss of 3e38 is a number; the square of its gradient's norm is none.
    weights = np.ones(24 * 8, np.float32)
    weights[8:16] = 1e38
    before = weights_of(model)
    with pytest.raises(TrainingError, match=r"gradient of step \d+ of epoch 1 is inf.*'user-01'"):
        fit(model, replace(rings(), weights=weights), config=config, user_nums=user_nums)
    assert all(map(torch.equal, weights_of(model), before))


def test_histories_too_short_to_learn_from_are_refused():
    single = Histories.from_lists(["a"], [[1]], [[0]])
    with pytest.raises(TrainingError, match="nothing to learn from"):
        fit(model_for(gru_config()), single, config=gru_config())


def test_a_two_tower_without_user_numbers_is_refused():
    with pytest.raises(TrainingError, match="Pass user_nums"):
        fit(model_for(two_tower_config()), rings(), config=two_tower_config())
