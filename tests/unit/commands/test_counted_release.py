"""What is counted is released, measured, served and updated as what is learnt."""

import json
from pathlib import Path

import numpy as np
import pytest

from raysys.cli import main
from raysys.commands import update as update_command
from raysys.commands.console import Console
from raysys.commands.going_on import open_update
from raysys.commands.released_model import ReleasedModel
from raysys.commands.update import update_and_report
from raysys.config import (
    EvaluationConfig,
    IndexConfig,
    PipelineConfig,
    PopularityConfig,
    TimeSplit,
    TrendingConfig,
)
from raysys.dataset.popularity import popularity_counts, trend_scores, window_counts
from raysys.dataset.splits import split
from raysys.errors import DamagedReleaseError
from raysys.evaluation.baselines.fixed_ranking import FixedRanking
from raysys.evaluation.evaluate import evaluate
from raysys.models.encode import encode_catalogue
from raysys.release import RANKING, Release, open_release
from raysys.serving.messages import Query
from raysys.serving.release_parts import ReleaseParts
from tests.unit.commands.builders import release_trained, trained_in_this_process
from tests.unit.dataset.builders import Row, write_dataset
from tests.unit.serving.released_world import answers

NUM_USERS, LENGTH = 20, 9
MINUTE_US = 60_000_000
MODELS = [PopularityConfig(), TrendingConfig(trend_discovery_frequency="30 minutes")]


def rows() -> list[Row]:
    """Every ten minutes each user takes something, ever higher items as time goes by."""
    random = np.random.default_rng(5)
    return [
        (f"u{user:02}", f"i{int(random.integers(step, step + 12)):02}", step * 10 * MINUTE_US)
        for user in range(NUM_USERS)
        for step in range(LENGTH)
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", [rows()])


def config_of(model: PopularityConfig | TrendingConfig) -> PipelineConfig:
    return PipelineConfig(
        split=TimeSplit(test_share=0.2, validation_share=0.1),
        model=model,
        evaluation=EvaluationConfig(ks=(3, 10)),
        index=IndexConfig(num_partitions=3),
    )


@pytest.fixture(scope="module", params=MODELS, ids=lambda model: model.kind)
def release(request: pytest.FixtureRequest, dataset: Path) -> Release:
    model = request.param
    return release_trained(dataset, dataset.parent / model.kind, config_of(model))


def scores_of(release: Release, blocks: list, num_items: int) -> np.ndarray:
    """Return what counting these users gives, by the functions of the baselines."""
    model = release.settings().model
    if isinstance(model, TrendingConfig):
        newest = max(int(block.occurred_at_us.max()) for block in blocks)
        counts = window_counts(blocks, num_items, now_us=newest, window_s=model.window_s)
        return trend_scores(counts)
    return np.log1p(popularity_counts(blocks, num_items))


def test_the_report_knows_the_training_part_alone_and_the_release_everything(
    release: Release,
) -> None:
    model = ReleasedModel(release)
    num_items = len(model.items)
    parts = split(model.histories, release.settings().split)
    learnt = scores_of(release, [parts.train], num_items)
    expected = evaluate(FixedRanking(learnt), parts.test, (3, 10)).means()
    assert release.manifest.metrics == pytest.approx(expected)
    everything = scores_of(release, [model.histories], num_items)
    catalogue = encode_catalogue(model.model)[:, 0]
    np.testing.assert_allclose(catalogue, everything[1:], rtol=1e-6)
    assert not np.allclose(catalogue, learnt[1:])


def test_measured_again_it_is_as_good_as_it_was(
    release: Release, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(dataset), "--release", str(release.path), "--json"]) == 0
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    [(kind, first), *_] = line["evaluation"]["models"].items()
    assert kind == release.manifest.model_kind
    assert first["means"] == pytest.approx(release.manifest.metrics)


def test_what_is_served_is_what_evaluation_ranks_strangers_included(
    release: Release, tmp_path: Path
) -> None:
    model = ReleasedModel(release)
    num_items = len(model.items)
    ranked = model.ranked(model.histories, 5, max_seen_items=100)
    users = [Query(user_id, None, 5) for user_id in model.histories.user_ids.to_pylist()]
    everybody = [Query("a stranger", None, num_items), Query(None, None, num_items)]
    *served, stranger, nobody = answers(release, tmp_path, [*users, *everybody])
    assert [answer.item_ids for answer in served] == ranked
    nothing = model.histories.take([0]).where(np.zeros(LENGTH, bool))
    [expected] = model.ranked(nothing, num_items, max_seen_items=100)
    assert stranger.item_ids == nobody.item_ids == expected
    source = {"popularity_count": "popular", "trending_now": "trending"}
    for answer in (*served, stranger, nobody):
        assert answer.source == source[release.manifest.model_kind]
        assert (answer.reason, answer.scores) == (None, None)


def test_a_release_without_its_list_is_refused(release: Release) -> None:
    files = {name: file for name, file in release.manifest.files.items() if name != RANKING}
    manifest = release.manifest.model_copy(update={"files": files})
    with pytest.raises(DamagedReleaseError, match=RANKING):
        ReleaseParts.load(Release(release.path, manifest))


def test_an_update_counts_anew_what_the_dataset_holds_now(
    release: Release, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = (LENGTH + 30) * 10 * MINUTE_US
    news = [(f"u{user:02}", "new", later) for user in range(NUM_USERS) for _ in range(20)]
    grown = write_dataset(
        tmp_path / "grown", [sorted([*rows(), *news], key=lambda r: (r[0], r[2]))]
    )
    update = open_update(release, grown)
    monkeypatch.setattr(
        update_command, "training_now", lambda config, console: trained_in_this_process(config)
    )
    result = update_and_report(update, tmp_path / "made", Console(as_json=True), epochs=3)
    assert (result["epochs"], result["new_items"]) == (1, 1)
    made = ReleasedModel(open_release(tmp_path / "made"))
    [first] = made.ranked(made.histories.take([0]).where(np.zeros(29, bool)), 1, max_seen_items=9)
    assert first == ["new"]
    [served] = answers(made.release, tmp_path, [Query(None, None, 1)])
    assert served.item_ids == ["new"]
    everything = scores_of(made.release, [made.histories], len(made.items))
    np.testing.assert_allclose(encode_catalogue(made.model)[:, 0], everything[1:], rtol=1e-6)
