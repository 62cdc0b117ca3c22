import copy
import math
import threading
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from raysys.config import (
    EvaluationConfig,
    FeedbackConfig,
    GruConfig,
    PipelineConfig,
    SequenceConfig,
    TrainingConfig,
    TransformerConfig,
    TwoTowerConfig,
)
from raysys.dataset.feature_table import FeatureTable, FeatureTables
from raysys.dataset.features import fit_features
from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.errors import TrainingError
from raysys.logs.schema import Field, ValueType
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.training.checkpoint import Checkpoint, StepResult
from raysys.training.loop import fit

NUM_ITEMS = 12


@pytest.fixture(autouse=True)
def _one_thread():
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # steps this small only wait for each other
    yield
    torch.set_num_threads(num_threads)


def rings(num_users: int = 24, length: int = 8) -> Histories:
    """A planted world: whoever took item n takes item n + 1 next, and 1 after the last."""
    lists = [
        [(start + step) % NUM_ITEMS + 1 for step in range(length)] for start in range(num_users)
    ]
    return Histories.from_lists(
        [f"user-{row:02}" for row in range(num_users)], lists, [range(length)] * num_users
    )


def gru_config(**training: object) -> PipelineConfig:
    settings = {"learning_rate": 0.02, "batch_size": 8, "max_epochs": 12} | training
    return PipelineConfig(
        model=GruConfig(hidden_dimension=16, bptt=4, dropout=0.0),
        training=TrainingConfig(**settings),
    )


def transformer_config(window: int = 16, **training: object) -> PipelineConfig:
    settings = {"learning_rate": 0.02, "batch_size": 4, "max_epochs": 12} | training
    return PipelineConfig(
        model=TransformerConfig(hidden_dimension=16, window=window, num_layers=1, dropout=0.0),
        training=TrainingConfig(**settings),
    )


def uncut_transformer_config(**training: object) -> PipelineConfig:
    """One row holds all that a worker reads, so it does not matter where histories are cut."""
    return transformer_config(window=200, **training)


def two_tower_config(**training: object) -> PipelineConfig:
    settings = {"learning_rate": 0.05, "batch_size": 32, "max_epochs": 20} | training
    return PipelineConfig(
        model=TwoTowerConfig(embedding_dim=8), training=TrainingConfig(**settings)
    )


def model_for(config: PipelineConfig, num_users: int = 24):
    torch.manual_seed(0)
    return build_model(config.model, num_items=NUM_ITEMS, num_users=num_users)


def weights_of(model) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in model.parameters()]


@pytest.mark.parametrize("make_config", [gru_config, transformer_config])
def test_a_sequential_model_learns_what_comes_next(make_config):
    config = make_config()
    model = model_for(config)
    results = fit(model, rings(), config=config)
    assert results[-1].loss < 0.4 < results[0].loss
    histories = Histories.from_lists(["a", "b"], [[1, 2, 3], [10, 11, 12]], [[0, 1, 2]] * 2)
    scores = encode_histories(model, histories) @ encode_catalogue(model).T
    scores[[0, 0, 0, 1, 1, 1], [0, 1, 2, 9, 10, 11]] = -np.inf  # the seen, which may score anything
    assert (scores.argmax(axis=1) + 1).tolist() == [4, 1]


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


@pytest.mark.parametrize("full_softmax_up_to", [NUM_ITEMS, NUM_ITEMS - 1])
def test_two_towers_learn_who_likes_what(full_softmax_up_to):
    # Users of even rows take items 1 to 6, users of odd rows items 7 to 12.
    lists = [list(range(1, 7)) if row % 2 == 0 else list(range(7, 13)) for row in range(10)]
    train = Histories.from_lists([f"u{row}" for row in range(10)], lists, [range(6)] * 10)
    config = two_tower_config(full_softmax_up_to=full_softmax_up_to)
    model = model_for(config, num_users=10)
    user_nums = np.arange(1, 11)
    fit(model, train, config=config, user_nums=user_nums)
    scores = encode_histories(model, train, user_nums=user_nums) @ encode_catalogue(model).T
    best = np.argsort(-scores, axis=1)[:, :6] + 1
    assert all(set(best[row]) == set(lists[row]) for row in range(10))


LOSSES = ["full_softmax", "sampled_softmax", "in_batch_softmax", "bce", "gbce", "bpr"]


@pytest.mark.parametrize("loss", LOSSES)
def test_each_loss_teaches_a_gru_what_comes_next(loss):
    config = gru_config(loss=loss, num_negatives=8)
    model = model_for(config)
    results = fit(model, rings(), config=config)
    assert results[-1].loss < results[0].loss
    histories = Histories.from_lists(["a", "b"], [[1, 2, 3], [10, 11, 12]], [[0, 1, 2]] * 2)
    scores = encode_histories(model, histories) @ encode_catalogue(model).T
    scores[[0, 0, 0, 1, 1, 1], [0, 1, 2, 9, 10, 11]] = -np.inf  # the seen, which may score anything
    assert (scores.argmax(axis=1) + 1).tolist() == [4, 1]


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


def test_users_who_were_never_seen_get_what_the_others_of_their_bucket_like():
    # Known users take items 7 to 12; those without an embedding of their own take items 1 to 6.
    known = Vocabulary.from_ids(f"known-{row}" for row in range(5))
    users = [f"{kind}-{row}" for kind in ("known", "rare") for row in range(5)]
    lists = [[*range(7, 13)]] * 5 + [[*range(1, 7)]] * 5
    train = Histories.from_lists(users, lists, [range(6)] * 10)
    config = two_tower_config()
    buckets = config.model.model_copy(update={"num_user_buckets": 2})
    config = config.model_copy(update={"model": buckets})
    model = model_for(config, num_users=5)
    fit(model, train, config=config, user_nums=known.numbers(users, num_buckets=2))
    asked = Histories.from_lists(["new-1", "new-2", "new-3", "known-3"], [[]] * 4, [[]] * 4)
    nums = known.numbers(asked.user_ids, num_buckets=model.num_user_buckets)
    scores = encode_histories(model, asked, user_nums=nums) @ encode_catalogue(model).T
    best = np.argsort(-scores, axis=1)[:, :6] + 1
    assert [sorted(row) for row in best.tolist()] == [[*range(1, 7)]] * 3 + [[*range(7, 13)]]


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


@pytest.mark.parametrize("make_config", [gru_config, transformer_config])
def test_the_same_call_gives_the_same_weights(make_config):
    config = make_config(max_epochs=2)
    config = config.model_copy(update={"model": config.model.model_copy(update={"dropout": 0.5})})
    models = [model_for(config), model_for(config)]
    for model in models:
        torch.manual_seed(np.random.randint(1000))  # what happened before does not matter
        fit(model, rings(), config=config)
    assert all(map(torch.equal, weights_of(models[0]), weights_of(models[1])))


def test_training_leaves_the_global_random_numbers_as_they_were():
    torch.manual_seed(7)
    expected = torch.rand(3)
    model = model_for(gru_config(max_epochs=1))
    torch.manual_seed(7)
    fit(model, rings(), config=gru_config(max_epochs=1))
    assert torch.equal(torch.rand(3), expected)


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


class Threads:
    """Workers as threads of this process, which sum by turns in the order of their rank."""

    def __init__(self, rank: int, num_ranks: int, shared: dict) -> None:
        self.rank, self.num_ranks, self._shared = rank, num_ranks, shared

    def _exchange(self, value):
        self._shared[self.rank] = value
        self._shared["barrier"].wait()
        values = [self._shared[rank] for rank in range(self.num_ranks)]
        self._shared["barrier"].wait()
        return values

    def sum_(self, tensors):
        everyones = self._exchange([tensor.detach().clone() for tensor in tensors])
        with torch.no_grad():
            for tensor, parts in zip(tensors, zip(*everyones, strict=True), strict=True):
                tensor.copy_(sum(parts))

    def gather(self, nums):
        return torch.cat(self._exchange(nums))

    def gather_rows(self, nums, rows):
        return torch.cat(self._exchange(nums)), torch.cat(self._exchange(rows))

    def broadcast_(self, tensors):
        first = self._exchange([tensor.detach().clone() for tensor in tensors])[0]
        with torch.no_grad():
            for tensor, value in zip(tensors, first, strict=True):
                tensor.copy_(value)


def fit_in_ranks(parts: list[Histories], config: PipelineConfig, user_nums: list) -> list:
    shared = {"barrier": threading.Barrier(len(parts), timeout=30)}
    models = [model_for(config) for _ in parts]
    results: list = [None] * len(parts)

    def work(rank: int) -> None:
        comm = Threads(rank, len(parts), shared)
        try:
            results[rank] = fit(
                models[rank], parts[rank], config=config, user_nums=user_nums[rank], comm=comm
            )
        except TrainingError as error:
            results[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(zip(models, results, strict=True))


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
        max_epochs=3,
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


def worlds_of_genres() -> tuple[Histories, FeatureTables]:
    """Items 1 to 6 are of genre a, 7 to 12 of b; users of even rows take a. Item 12 is new."""
    lists = [list(range(1, 7)) if row % 2 == 0 else list(range(7, 12)) for row in range(10)]
    times = [range(len(items)) for items in lists]
    train = Histories.from_lists([f"u{row}" for row in range(10)], lists, times)
    genre = Field("GENRE", ValueType.STRING, is_categorical=True)
    table = pa.table({"genre": ["a"] * 6 + ["b"] * 6})
    encoder = fit_features([table], [genre])
    return train, FeatureTables(items=FeatureTable.of(table, encoder))


@pytest.mark.parametrize("full_softmax_up_to", [NUM_ITEMS, NUM_ITEMS - 1])
def test_who_likes_a_genre_finds_an_item_of_it_that_nobody_has_met(full_softmax_up_to):
    train, features = worlds_of_genres()
    config = two_tower_config(full_softmax_up_to=full_softmax_up_to)
    torch.manual_seed(0)
    model = build_model(config.model, num_items=NUM_ITEMS, num_users=10, features=features)
    fit(model, train, config=config, user_nums=np.arange(1, 11))
    queries = encode_histories(model, train, user_nums=np.arange(1, 11))
    scores = queries @ encode_catalogue(model).T
    of_the_new, of_a = scores[:, 11], scores[:, :6].max(axis=1)
    assert (of_the_new > of_a).tolist() == [row % 2 == 1 for row in range(10)]


def test_training_with_features_is_the_same_when_it_is_cut_off_and_taken_up_again():
    train, features = worlds_of_genres()
    config = two_tower_config(max_epochs=4)
    config = config.model_copy(
        update={"model": config.model.model_copy(update={"hidden_layers": (4,)})}
    )

    def trained(**options):
        torch.manual_seed(0)
        model = build_model(config.model, num_items=NUM_ITEMS, num_users=10, features=features)
        fit(model, train, config=config, user_nums=np.arange(1, 11), **options)
        return weights_of(model)

    kept: list[Checkpoint] = []
    whole = trained(on_epoch=lambda _, checkpoint: kept.append(copy.deepcopy(checkpoint)))
    again = trained(start=kept[1])
    assert all(torch.equal(*pair) for pair in zip(whole, again, strict=True))


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
