"""Two towers of items learn which items the same people took, and how much popularity counts."""

import numpy as np
import pytest
import torch

from raysys.config import ItemToItemConfig, PipelineConfig, TrainingConfig
from raysys.dataset.histories import Histories
from raysys.models.build import build_model
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.training.loop import fit
from tests.unit.histories import histories_of
from tests.unit.training import worlds
from tests.unit.training.ranks import fit_in_ranks


def config_of(discount: float = 0.5, **training: object) -> PipelineConfig:
    settings = {"learning_rate": 0.02, "batch_size": 64, "max_epochs": 30, "weight_decay": 0.0}
    return PipelineConfig(
        model=ItemToItemConfig(item_id_hidden_dim=8, popularity_discount_factor=discount),
        training=TrainingConfig(**settings | training),
    )


def model_for(config: PipelineConfig, num_items: int, features=None):
    torch.manual_seed(4)
    return build_model(config.model, num_items=num_items, num_users=0, features=features)


def scores_of(model) -> np.ndarray:
    """Return the score of each item, (N, N), for somebody whose newest item is that of the row."""
    asked = histories_of([[item] for item in range(1, model.num_items + 1)])
    return encode_histories(model, asked) @ encode_catalogue(model).T


def tastes() -> Histories:
    """Return people who take the odd or the even ones of items 2 to 9, and all of them item 1."""
    random = np.random.default_rng(0)
    odd, even = [3, 5, 7, 9], [2, 4, 6, 8]
    lists = [random.permutation([*taste, 1, 1]) for _ in range(20) for taste in (odd, even)]
    return histories_of([each.tolist() for each in lists])


@pytest.mark.parametrize(("discount", "is_first"), [(0.0, True), (1.0, False)])
def test_a_discount_takes_what_everybody_has_behind_what_the_same_people_have(discount, is_first):
    config = config_of(discount)
    model = model_for(config, 9)
    results = fit(model, tastes(), config=config)
    assert results[-1].loss < results[0].loss
    scores = scores_of(model)
    np.fill_diagonal(scores, -np.inf)
    for item in range(2, 10):
        order = (np.argsort(-scores[item - 1]) + 1).tolist()
        kind = {other for other in range(2, 10) if other % 2 == item % 2} - {item}
        assert (order[0] == 1) == is_first
        assert set(order[:4]) == kind | {1} if is_first else set(order[:3]) == kind


@pytest.mark.parametrize("discount", [0.0, 0.5, 1.0])
def test_a_score_is_the_log_of_how_likely_it_follows_less_so_much_of_its_popularity(discount):
    # Histories of two: the one is always the other's context. Items 1 to 4 in known proportions.
    counts = np.array([[0, 90, 60, 20], [90, 0, 25, 25], [60, 25, 0, 15], [20, 25, 15, 0]])
    lists = [[i + 1, j + 1] for i in range(4) for j in range(i) for _ in range(counts[i, j])]
    settings = {"batch_size": len(lists) * 2, "max_epochs": 100, "learning_rate": 0.05}
    config = config_of(discount, ema_decay=0.9, **settings)
    model = model_for(config, 4)
    fit(model, histories_of(lists), config=config)
    popularity = counts.sum(axis=0) / counts.sum()
    with np.errstate(divide="ignore"):
        expected = np.log(counts) - discount * np.log(popularity)
    found = scores_of(model)
    for row in range(4):
        others = [other for other in range(4) if other != row]
        mine, truth = found[row, others], expected[row, others]
        np.testing.assert_allclose(mine - mine.mean(), truth - truth.mean(), atol=0.06)


def test_a_training_taken_up_from_its_checkpoint_ends_as_if_never_stopped():
    config = config_of(max_epochs=4)
    checkpoints = []
    whole = model_for(config, 9)
    fit(
        whole,
        tastes(),
        config=config,
        on_epoch=lambda result, checkpoint: checkpoints.append(checkpoint.copy()),
    )
    again = model_for(config, 9)
    fit(again, tastes(), config=config, start=checkpoints[1])
    for weight, reference in zip(again.parameters(), whole.parameters(), strict=True):
        assert torch.equal(weight, reference)


def test_workers_together_learn_what_one_learns_from_the_same_pairs():
    # Of two interactions each is the other's context, whoever draws.
    lists = [[1 + row % 5, 6 + row % 3] for row in range(30)]
    config = config_of(batch_size=200, max_epochs=3)
    alone = worlds.model_for(config)
    expected = fit(alone, histories_of(lists), config=config)
    found = fit_in_ranks([histories_of(lists[:7]), histories_of(lists[7:])], config, [None] * 2)
    for model, results in found:
        assert [r.loss for r in results] == pytest.approx([r.loss for r in expected], rel=1e-5)
        for weight, reference in zip(model.parameters(), alone.parameters(), strict=True):
            torch.testing.assert_close(weight, reference, atol=2e-4, rtol=1e-3)


def test_an_item_that_nobody_has_met_has_the_neighbors_of_its_genre_and_is_one():
    train, features = worlds.worlds_of_genres()  # items 7 to 12 are of one genre, nobody has met 12
    config = config_of(max_epochs=40)
    model = model_for(config, 12, features)
    model.forget_items(np.bincount(train.item_nums, minlength=13) == 0)
    fit(model, train, config=config)
    scores = scores_of(model)
    assert set((np.argsort(-scores[11, :11])[:5] + 1).tolist()) == set(range(7, 12))
    for item in range(7, 12):
        assert scores[item - 1, 11] > scores[item - 1, :6].max()
