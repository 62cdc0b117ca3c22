"""Training of towers that read features."""

import copy

import numpy as np
import pytest
import torch

from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.training.checkpoint import Checkpoint
from raysys.training.loop import fit
from tests.unit.training.worlds import (
    NUM_ITEMS,
    two_tower_config,
    weights_of,
    worlds_of_genres,
)


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
