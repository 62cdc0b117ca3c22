"""`raysys evaluate` and `raysys recommend`: a release asked without a cluster."""

import json
from pathlib import Path

import pytest

from raysys.cli import main
from raysys.config import (
    EvaluationConfig,
    IndexConfig,
    PipelineConfig,
    TimeSplit,
    TwoTowerConfig,
)
from raysys.release import Release
from tests.unit.commands.builders import release_untrained
from tests.unit.dataset.builders import Row, write_dataset

NUM_ITEMS, LENGTH = 12, 8
CONFIG = PipelineConfig(
    split=TimeSplit(test_share=0.2, validation_share=0.1),
    model=TwoTowerConfig(embedding_dim=8),
    evaluation=EvaluationConfig(ks=(1, 10)),
    index=IndexConfig(num_partitions=3),
)


def shard(prefix: str) -> list[Row]:
    """Every user goes on from another item, one a second; all of them at the same times."""
    return [
        (f"{prefix}{user}", f"i{(user + step) % NUM_ITEMS:02}", step * 1_000_000)
        for user in range(5)
        for step in range(LENGTH)
    ]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("data") / "dataset", [shard("a"), shard("b")])


@pytest.fixture(scope="module")
def release(dataset: Path) -> Release:
    return release_untrained(dataset, dataset.parent / "releases", CONFIG)


def run(*arguments: object, capsys: pytest.CaptureFixture[str]) -> dict:
    code = main([*map(str, arguments), "--json"])
    line: dict = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert code == (0 if line["ok"] else 1)
    return line


def test_what_is_measured_again_is_what_was_published(
    dataset: Path, release: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    line = run("evaluate", dataset, "--release", release.path.parent, capsys=capsys)
    assert line["release"] == release.name
    assert line["evaluation"]["split"] == "global time split"
    means = line["evaluation"]["models"]["two_tower"]["means"]
    assert means == pytest.approx(release.manifest.metrics)
    assert 0 <= means["ndcg_at_10"] <= means["hit_rate_at_10"] <= 1


def test_another_import_is_refused_since_it_may_have_been_trained_on(
    release: Release, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_dataset(tmp_path / "other", [shard("a")], import_id="import-1x", files={})
    line = run("evaluate", other, "--release", release.path, capsys=capsys)
    assert line["error"] == "ReleaseMismatchError"
    assert "was trained on import import-1, but" in line["message"]


def test_a_user_gets_as_many_different_unseen_items_as_asked_for(
    release: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--user", "a0", "b3", "--num", 4)
    line = run("recommend", "--release", release.path, *asked, capsys=capsys)
    assert line["release"] == release.name
    # Each has seen 8 of the 12 items, so the list holds the other 4.
    assert sorted(line["recommendations"]["a0"]) == ["i08", "i09", "i10", "i11"]
    assert sorted(line["recommendations"]["b3"]) == ["i00", "i01", "i02", "i11"]


@pytest.mark.parametrize(
    ("asked", "error"),
    [(("--user", "nobody"), "UnknownIdError"), (("--user", "a0", "--num", 0), "ConfigError")],
)
def test_who_is_not_known_or_asks_for_nothing_is_told_so(
    asked: tuple[object, ...], error: str, release: Release, capsys: pytest.CaptureFixture[str]
) -> None:
    line = run("recommend", "--release", release.path, *asked, capsys=capsys)
    assert line["error"] == error
