"""From a simulated log to lists, by the commands that an operator types."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from raysys.logs.simulator import Simulator

pytestmark = pytest.mark.ray

SETTINGS = """
model: {kind: two_tower, embedding_dim: 16}
training: {optimizer: adagrad, learning_rate: 0.1, batch_size: 512, max_epochs: 2}
split: {kind: time, test_share: 0.2, validation_share: 0.1}
index: {num_partitions: 3}
"""


def raysys(directory: Path, *arguments: str, expect: int = 0) -> dict:
    done = subprocess.run(
        [sys.executable, "-m", "raysys", *arguments, "--json"],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == expect, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_train_evaluate_and_recommend_agree_on_one_release(tmp_path: Path) -> None:
    files = Simulator(seed=1, num_users=60, num_items=80, mean_history=20).write(tmp_path / "log")
    (tmp_path / "settings.yaml").write_text(SETTINGS)

    imported = raysys(
        tmp_path, "import", "--interactions", str(files.interactions), "--items", str(files.items),
        "--to", "dataset", "--shards", "3",
    )  # fmt: skip
    assert imported["ok"]
    assert imported["rows_in"] == imported["rows_accepted"] > 0
    assert imported["users"] == 60

    trained = raysys(
        tmp_path, "train", "dataset", "--releases", "releases", "--config", "settings.yaml"
    )
    means = trained["evaluation"]["models"]["two_tower"]["means"]
    assert 0 <= means["ndcg_at_10"] <= means["hit_rate_at_10"] <= 1
    assert trained["evaluation"]["split"] == "global time split"

    evaluated = raysys(tmp_path, "evaluate", "dataset", "--release", "releases")
    assert evaluated["release"] == trained["name"]
    assert evaluated["evaluation"] == trained["evaluation"]

    recommended = raysys(
        tmp_path, "recommend", "--release", "releases", "--user", "u1", "--num", "5"
    )
    assert recommended["release"] == trained["name"]
    assert len(set(recommended["recommendations"]["u1"])) == 5

    nobody = raysys(tmp_path, "recommend", "--release", "releases", "--user", "nobody", expect=1)
    assert nobody["error"] == "UnknownIdError"

    other = Simulator(seed=2, num_users=30, num_items=40, mean_history=20).write(tmp_path / "other")
    raysys(tmp_path, "import", "--interactions", str(other.interactions), "--to", "dataset")
    refused = raysys(tmp_path, "evaluate", "dataset", "--release", "releases", expect=1)
    assert refused["error"] == "ReleaseMismatchError"
