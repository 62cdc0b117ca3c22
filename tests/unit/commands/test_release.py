"""`raysys release`: other releases out of those that there are."""

import json
from pathlib import Path

import pytest

from benchmarks.random_release import publish_random_release
from raysys.cli import main
from raysys.commands.released_model import ReleasedModel
from raysys.config import GruConfig, IndexConfig
from raysys.release import CONFIG, Release, list_releases, open_release
from raysys.training.search_files import SearchFiles


@pytest.fixture
def source(tmp_path: Path) -> Release:
    return publish_random_release(
        tmp_path / "releases",
        num_items=90,
        num_users=20,
        mean_length=10,
        model=GruConfig(hidden_dimension=16),
        index=IndexConfig(num_partitions=4),
    )


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict:
    code = main(["release", *map(str, arguments), "--json"])
    line: dict = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == (0 if line["ok"] else 1)
    return line


def test_a_release_gets_another_index_and_keeps_all_else(
    source: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "other"
    line = run(
        source.path, "--releases", target, "--index", "HNSW8", "--partitions", 2, capsys=capsys
    )
    made = open_release(target)
    assert line["name"] == made.name != source.name
    assert (line["index"], line["partitions"]) == ("HNSW8", 2)
    made.verify()
    assert made.manifest.num_partitions == 2
    assert made.manifest.index_factory == "HNSW8"
    assert made.manifest.lineage["reindexed_from"] == source.name
    assert made.manifest.lineage["seed"] == source.manifest.lineage["seed"]
    assert made.manifest.metrics == source.manifest.metrics
    assert made.manifest.watermark == source.manifest.watermark
    index = made.settings().index
    assert (index.factory, index.num_partitions) == ("HNSW8", 2)
    assert made.read_json(CONFIG)["model"] == source.read_json(CONFIG)["model"]
    differing = {
        name
        for name in made.manifest.files.keys() | source.manifest.files.keys()
        if made.manifest.files.get(name) != source.manifest.files.get(name)
    }
    assert {name for name in differing if not name.startswith("index/")} == {CONFIG}


def test_without_a_word_the_index_stays_and_the_model_ranks_alike(
    source: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(source.path.parent, "--releases", tmp_path / "other", capsys=capsys)
    made = open_release(tmp_path / "other")
    searched = [
        {name: file for name, file in release.manifest.files.items() if "partition-" in name}
        for release in (source, made)
    ]
    assert searched[0] == searched[1]
    models = [ReleasedModel(release) for release in (source, made)]
    lists = [model.ranked(model.histories, 5, max_seen_items=100) for model in models]
    assert lists[0] == lists[1]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--index", "Nonsense"], "ConfigError", "Nonsense"),
        (["--partitions", "0"], "ConfigError", "greater than or equal to 1"),
    ],
)
def test_an_index_that_cannot_be_built_leaves_nothing_behind(
    source: Release,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    error: str,
    message: str,
) -> None:
    target = tmp_path / "other"
    line = run(source.path, "--releases", target, *arguments, capsys=capsys)
    assert line["error"] == error
    assert message in line["message"]
    assert list_releases(target) == []
    assert not target.exists() or not list(target.iterdir())


def test_a_damaged_release_is_not_copied(
    source: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = source.path / "model/weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    line = run(source.path, "--releases", tmp_path / "other", capsys=capsys)
    assert line["error"] == "DamagedReleaseError"
    assert not (tmp_path / "other").exists()


def test_what_is_neither_a_release_nor_a_search_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = run(tmp_path, "--releases", tmp_path / "other", capsys=capsys)
    assert line["error"] == "ReleaseNotFoundError"
    assert "neither a release nor the directory of a search" in line["message"]


def test_a_search_that_has_learnt_nothing_yet_is_not_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = SearchFiles(tmp_path / "search")
    files.claim({"metric": "ndcg_at_10"})
    files.trial(1).begin({"bptt": 8})
    line = run(files.directory, "--releases", tmp_path / "other", capsys=capsys)
    assert line["error"] == "TrainingError"
    assert "no trial that learnt for an epoch" in line["message"]
    assert not (tmp_path / "other").exists()
