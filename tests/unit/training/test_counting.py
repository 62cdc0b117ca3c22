"""What is counted is the same however many count, and through the same door as what is learnt."""

import math

import numpy as np
import pytest
import torch

from raysys.config import PipelineConfig, PopularityConfig, TrendingConfig
from raysys.dataset import histories as histories_module
from raysys.dataset.histories import Histories
from raysys.errors import TrainingError
from raysys.models.build import build_model
from raysys.models.counted import Counted
from raysys.training.checkpoint import Checkpoint
from raysys.training.counting import recount
from raysys.training.loop import fit
from tests.unit.training.ranks import fit_in_ranks

HOUR_US = 3_600_000_000
NUM_ITEMS = 12

POPULARITY = PopularityConfig()
LATELY = PopularityConfig(half_life_days=0.5)
TRENDING = TrendingConfig(trend_discovery_frequency="3 hours")


def log() -> Histories:
    """Return three days of an hour's interaction each; item 5 comes on the last one."""
    random = np.random.default_rng(3)
    times = [np.sort(random.integers(0, 72, 30)) * HOUR_US for _ in range(24)]
    items = [np.where(t >= 70 * HOUR_US, 5, random.integers(6, NUM_ITEMS, len(t))) for t in times]
    return Histories.from_lists([f"u{row:02}" for row in range(24)], items, times)


def counted(config: PopularityConfig | TrendingConfig, train: Histories, **options):
    model = build_model(config, num_items=NUM_ITEMS, num_users=0)
    return model, fit(model, train, config=PipelineConfig(model=config), **options)


def scores_of(model) -> list[float]:
    return model.items.ids.weight[:, 0].tolist()


def test_popularity_is_the_log_of_the_count_and_its_surprise_that_of_the_shares():
    train = Histories.from_lists(["a", "b"], [[1, 2, 0], [1, 1]], [[1, 2, 3], [1, 2]])
    model, [result] = counted(POPULARITY, train)
    expected = [0, math.log(4), math.log(2), *[0.0] * (NUM_ITEMS - 2)]
    assert scores_of(model) == pytest.approx(expected)
    # Counted once more each, the shares are 4, 2 and ten times 1 of 16.
    assert result.loss == pytest.approx(-(3 * math.log(4 / 16) + math.log(2 / 16)) / 4)
    assert (result.epoch, result.metrics) == (1, {})
    assert not model.training


def test_ages_are_counted_back_from_the_newest_interaction_in_days():
    train = Histories.from_lists(["a", "b"], [[1, 2], [3]], [[0, 24 * HOUR_US], [12 * HOUR_US]])
    model, _ = counted(LATELY, train)
    assert scores_of(model)[1:4] == pytest.approx(np.log1p([0.25, 1.0, 0.5]).tolist())


def test_what_came_up_in_the_newest_window_is_first():
    model, _ = counted(TRENDING, log())
    assert int(np.argmax(scores_of(model))) == 5
    model, _ = counted(POPULARITY, log())
    assert int(np.argmax(scores_of(model))) != 5


@pytest.mark.parametrize("config", [POPULARITY, LATELY, TRENDING], ids=str)
def test_workers_and_blocks_count_together_what_one_counts(config, monkeypatch):
    alone, [expected] = counted(config, log())
    monkeypatch.setattr(histories_module, "BLOCK_INTERACTIONS", 50)
    parts = [log().take(range(7)), log().take(range(7, 24)), log().take([])]
    together = fit_in_ranks(parts, PipelineConfig(model=config), [None] * 3)
    for model, [result] in together:
        assert scores_of(model) == pytest.approx(scores_of(alone), rel=1e-6)
        assert result.loss == pytest.approx(expected.loss, rel=1e-6)
    for config_of_counts in (POPULARITY, TRENDING):
        if config is config_of_counts:  # whole numbers add up exactly
            assert torch.equal(together[0][0].items.ids.weight, alone.items.ids.weight)


def test_it_is_validated_told_and_taken_up_as_an_epoch():
    told: list[Checkpoint] = []
    model, results = counted(
        POPULARITY,
        log(),
        validate=lambda model: {"ndcg_at_10": 0.5 if model.items.ids.weight.any() else 0.0},
        on_epoch=lambda result, checkpoint: told.append(checkpoint),
    )
    [checkpoint] = told
    assert checkpoint.results == results
    assert results[0].metrics == {"ndcg_at_10": 0.5}
    again, found = counted(POPULARITY, log().take([0]), start=checkpoint.copy())
    assert found == results
    assert torch.equal(again.items.ids.weight, model.items.ids.weight)


def test_nothing_to_count_is_refused():
    nothing = Histories.from_lists(["a"], [[0]], [[1]])
    with pytest.raises(TrainingError, match="nothing to count"):
        counted(TRENDING, nothing)


@pytest.mark.parametrize("config", [POPULARITY, LATELY, TRENDING], ids=str)
def test_counted_anew_it_is_what_it_had_been_counted_from_that(config):
    expected, _ = counted(config, log())
    model, _ = counted(config, log().last(5))
    assert scores_of(model) != scores_of(expected)
    assert isinstance(model, Counted)
    recount(model, log().blocks)
    assert scores_of(model) == scores_of(expected)
