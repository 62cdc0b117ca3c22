"""`raysys combine`: releases of one dataset become one that ranks by the mean of their scores."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from raysys.cli import main
from raysys.commands.released_model import ReleasedModel
from raysys.config import (
    EvaluationConfig,
    GruConfig,
    IndexConfig,
    ModelConfig,
    PipelineConfig,
    TimeSplit,
    TransformerConfig,
    TwoTowerConfig,
)
from raysys.dataset.event_types import EventTypes
from raysys.index.new_items import vectors_of_new_items
from raysys.index.shard import open_shard
from raysys.models.encode import encode_catalogue, encode_histories
from raysys.release import Release, open_release
from raysys.serving.encoder import ReleaseEncoder
from raysys.serving.exchange import EncodeRequest
from tests.unit.commands.builders import release_untrained
from tests.unit.dataset.builders import TypedRow, write_dataset

NUM_USERS, NUM_ITEMS, LENGTH = 20, 15, 8


def rows() -> list[TypedRow]:
    random = np.random.default_rng(3)
    return [
        (
            f"u{user:02}",
            f"i{int(random.integers(NUM_ITEMS)):02}",
            step * 1_000_000,
            ("view", "buy", "view")[(user + step) % 3],
        )
        for user in range(NUM_USERS)
        for step in range(LENGTH)
    ]


def config_of(model: ModelConfig, **changes: object) -> PipelineConfig:
    config = PipelineConfig(
        split=TimeSplit(test_share=0.2, validation_share=0.1),
        model=model,
        evaluation=EvaluationConfig(ks=(1, 10)),
        index=IndexConfig(num_partitions=3),
    )
    return config.model_copy(update=changes)


GRU = config_of(GruConfig(hidden_dimension=8))
TRANSFORMER = config_of(TransformerConfig(hidden_dimension=16, event_types=False))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", [rows()])


def release_of(dataset: Path, name: str, config: PipelineConfig) -> Release:
    return release_untrained(dataset, dataset.parent / name, config)


@pytest.fixture(scope="module")
def gru(dataset: Path) -> Release:
    return release_of(dataset, "gru", GRU)


@pytest.fixture(scope="module")
def transformer(dataset: Path) -> Release:
    return release_of(dataset, "transformer", TRANSFORMER)


@pytest.fixture(scope="module")
def together(dataset: Path, gru: Release, transformer: Release) -> Release:
    releases = dataset.parent / "together"
    words = ["--release", gru.path, "--release", transformer.path, "--weights", "1,3"]
    assert main(["combine", *map(str, [dataset, *words, "--releases", releases])]) == 0
    return open_release(releases)


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict:
    code = main([*map(str, arguments), "--json"])
    line: dict = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == (0 if line["ok"] else 1)
    return line


def test_lists_follow_the_weighted_mean_of_the_scores(
    gru: Release, transformer: Release, together: Release
) -> None:
    model = ReleasedModel(together)
    members = [ReleasedModel(gru), ReleasedModel(transformer)]
    scores = [
        encode_histories(each.model, model.histories) @ encode_catalogue(each.model).T
        for each in members
    ]
    expected = 0.25 * scores[0] + 0.75 * scores[1]
    seen = model.histories.newest_distinct(100)
    for row in range(NUM_USERS):
        expected[row, model.histories.of(row)[0] - 1] = -np.inf
    best = np.argmax(expected, axis=1) + 1
    assert [ids[0] for ids in model.ranked(model.histories, 1, max_seen_items=100)] == [
        model.items.ids_of(np.array([num]))[0] for num in best
    ]
    # What is served is what evaluation ranks.
    histories = model.histories
    request = EncodeRequest(
        together.name,
        histories.user_ids.to_pylist(),
        histories.offsets,
        histories.item_nums,
        histories.occurred_at_us,
        histories.event_types,
        np.zeros(len(histories), np.int64),
    )
    queries = ReleaseEncoder.load(together).encode(request)
    top = open_shard(together, 0, 1).search(queries, 5, seen)
    served = [model.items.ids_of(row[row > 0]) for row in top.item_nums]
    assert served == model.ranked(histories, 5, max_seen_items=100)


def test_it_says_what_it_is_made_of_and_is_measured_again_alike(
    dataset: Path,
    gru: Release,
    transformer: Release,
    together: Release,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = together.manifest
    assert (manifest.recipe, manifest.model_kind) == ("ensemble", "ensemble")
    members = [member["release"] for member in manifest.lineage["members"]]
    assert members == [gru.name, transformer.name]
    line = run("evaluate", dataset, "--release", together.path, capsys=capsys)
    means = line["evaluation"]["models"]["ensemble"]["means"]
    assert means == pytest.approx(manifest.metrics)


def test_where_a_member_has_learnt_from_validation_the_baselines_do_too(
    dataset: Path, gru: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = TRANSFORMER.training.model_copy(update={"refit": True})
    refit = release_of(dataset, "refit", TRANSFORMER.model_copy(update={"training": training}))
    words = ["--release", gru.path, "--release", refit.path, "--releases", tmp_path / "made"]
    line = run("combine", dataset, *words, capsys=capsys)
    assert open_release(Path(line["release"])).settings().training.refit


def test_a_member_that_reads_types_of_events_finds_them_in_whatever_order_they_are_named(
    dataset: Path, gru: Release, transformer: Release, tmp_path: Path, capsys
) -> None:
    words = ["--release", transformer.path, "--release", gru.path, "--releases", tmp_path / "made"]
    made = ReleasedModel(
        open_release(Path(run("combine", dataset, *words, capsys=capsys)["release"]))
    )
    assert made.event_types == EventTypes(names=("view", "buy"))
    members = [member.num_event_types for member, _ in made.model.each()]
    assert members == [0, 2]


def test_a_member_that_numbers_types_in_another_order_is_refused(
    dataset: Path, gru: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = {"view": "buy", "buy": "view"}
    log = write_dataset(tmp_path / "log", [[(*row[:3], swapped[row[3]]) for row in rows()]])
    other = release_untrained(log, tmp_path / "other", GRU)
    words = ["--release", gru.path, "--release", other.path, "--releases", tmp_path / "made"]
    line = run("combine", dataset, *words, capsys=capsys)
    assert line["error"] == "ReleaseMismatchError"
    assert "in another order (buy, view) than this release would (view, buy)" in line["message"]


def test_new_items_have_a_place(together: Release) -> None:
    assert vectors_of_new_items(together)([{"genres": "War"}]).shape == (1, 32)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (config_of(TwoTowerConfig(embedding_dim=8)), "ConfigError", "is a two_tower model"),
        (
            config_of(GruConfig(hidden_dimension=8), split=TimeSplit()),
            "ReleaseMismatchError",
            "different settings of split",
        ),
    ],
)
def test_what_cannot_rank_together_is_refused(
    config: PipelineConfig,
    error: str,
    message: str,
    dataset: Path,
    gru: Release,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = release_untrained(dataset, tmp_path / "other", config)
    words = ["--release", gru.path, "--release", other.path, "--releases", tmp_path / "made"]
    line = run("combine", dataset, *words, capsys=capsys)
    assert line["error"] == error
    assert message in line["message"]
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "needs two releases or more"),
        (["--weights", "1"], "needs two releases"),
        (["--release", "GRU", "--weights", "1"], "2 members need as many weights, but got 1"),
        (["--release", "GRU", "--weights", "1,x"], "--weights takes a number for each release"),
        (["--release", "GRU", "--weights", "1,-1"], "greater than 0"),
    ],
)
def test_too_few_releases_and_odd_weights_are_refused(
    words: list[str],
    message: str,
    dataset: Path,
    gru: Release,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    named = [str(gru.path) if word == "GRU" else word for word in words]
    asked = ["--release", gru.path, *named, "--releases", tmp_path / "made"]
    line = run("combine", dataset, *asked, capsys=capsys)
    assert line["error"] == "ConfigError"
    assert message in line["message"]


def test_another_import_is_refused_since_it_may_have_been_trained_on(
    gru: Release, transformer: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_dataset(tmp_path / "other", [rows()], import_id="import-1x", files={})
    words = ["--release", gru.path, "--release", transformer.path, "--releases", tmp_path / "made"]
    line = run("combine", other, *words, capsys=capsys)
    assert line["error"] == "ReleaseMismatchError"
    assert "was trained on import import-1, but" in line["message"]


def test_an_ensemble_is_neither_trained_nor_updated_itself(
    dataset: Path, gru: Release, together: Release, tmp_path: Path, capsys
) -> None:
    settings = tmp_path / "ensemble.yaml"
    settings.write_text(yaml.safe_dump(together.settings().model_dump(mode="json")))
    made = ["--releases", tmp_path / "made"]
    line = run("train", dataset, "--config", settings, *made, capsys=capsys)
    assert "join them with `raysys combine`" in line["message"]
    line = run("update", dataset, "--release", together.path, *made, capsys=capsys)
    assert f"Update its members ({gru.name}, " in line["message"]
