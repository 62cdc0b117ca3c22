"""Who is a stranger to a model gets the popular list, from evaluation as from a server."""

import numpy as np
import pytest

from raysys.commands.released_model import ReleasedModel
from raysys.config import (
    EvaluationConfig,
    GruConfig,
    ModelConfig,
    PipelineConfig,
    TimeSplit,
    TrainingConfig,
    TwoTowerConfig,
)
from raysys.dataset.popularity import popularity_counts
from raysys.dataset.splits import split
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.evaluate import evaluate
from raysys.release import Release
from raysys.serving.ranking import popular_without
from raysys.serving.release_parts import ReleaseParts
from tests.unit.commands.builders import release_trained
from tests.unit.dataset.builders import Row, write_dataset

EARLY, LATE = [f"e{n}" for n in range(8)], [f"l{n}" for n in range(4)]
"""Users who do six things in the first hour, and users who do four behind the end of it."""


def rows() -> list[Row]:
    random = np.random.default_rng(2)

    def some(user: str, count: int, since: int) -> list[Row]:
        items = np.minimum(random.geometric(0.2, count), 14)
        return [(user, f"i{item:02}", since + place) for place, item in enumerate(items.tolist())]

    return [row for user in EARLY for row in some(user, 6, 0)] + [
        row for user in LATE for row in some(user, 4, 100)
    ]


@pytest.fixture(scope="module", params=[TwoTowerConfig(), GruConfig(hidden_dimension=8)])
def release(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Release:
    model: ModelConfig = request.param
    directory = tmp_path_factory.mktemp("strangers")
    config = PipelineConfig(
        split=TimeSplit(test_share=0.2, validation_share=0.05),
        model=model,
        training=TrainingConfig(max_epochs=2, batch_size=8),
        evaluation=EvaluationConfig(ks=(3,), metric_k=3),
    )
    dataset = write_dataset(directory / "dataset", [rows()])
    return release_trained(dataset, directory / "releases", config)


def test_who_was_not_learnt_from_is_measured_by_the_popular_list(release: Release) -> None:
    model = ReleasedModel(release)
    parts = split(model.histories, release.settings().split)
    popular = FixedRanking(popularity_counts([parts.train], len(model.items)))
    expected = evaluate(popular, parts.test, [3]).means()
    # Every user of the test part is late, so they have nothing before it, or were not learnt from.
    assert set(parts.test.relevant.user_ids.to_pylist()) <= set(LATE)
    if release.manifest.model_kind == "two_tower":
        assert release.manifest.metrics == pytest.approx(expected)


def test_strangers_are_ranked_what_a_server_gives_them(release: Release) -> None:
    model, parts = ReleasedModel(release), ReleaseParts.load(release)
    users = LATE if release.manifest.model_kind == "two_tower" else EARLY[:2]
    histories = model.histories.take(model.histories.rows_of(users))
    if release.manifest.model_kind == "gru":
        histories = histories.where(np.zeros(histories.num_interactions, bool))
    ranked = model.ranked(histories, 5, max_seen_items=100)
    seen = histories.newest_distinct(100)
    for row, found in enumerate(ranked):
        served = popular_without(parts.popular, seen.of(row)[0], 5)
        assert found == model.items.ids_of(served)


def test_who_was_learnt_from_is_no_stranger(release: Release) -> None:
    model = ReleasedModel(release)
    histories = model.histories.take(model.histories.rows_of(EARLY))
    top = model.retriever.top_k(histories.inputs(), 3, excluded=None)
    popular = FixedRanking(model.counts).first(len(EARLY), 3, None)
    assert not np.array_equal(top.scores, popular.scores)
    assert (top.scores != popular.scores).any(axis=1).all()
