"""What models learn of small worlds whose answers are planted."""

import numpy as np
import pytest
import torch

from raysys.dataset.histories import Histories
from raysys.dataset.vocabulary import Vocabulary
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.training.loop import fit
from tests.unit.training.worlds import (
    LOSSES,
    NUM_ITEMS,
    gru_config,
    model_for,
    rings,
    transformer_config,
    two_tower_config,
    weights_of,
)


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
