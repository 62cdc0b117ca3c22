"""A search by the commands that an operator types: killed, gone on with, published."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from raysys import storage
from raysys.cli import main
from raysys.commands.released_model import ReleasedModel
from raysys.config import LeaveLastOut
from raysys.dataset.dataset import open_dataset
from raysys.dataset.splits import split
from raysys.evaluation.evaluate import evaluate
from raysys.release import CONFIG, open_release
from raysys.training.search_files import SearchFiles
from tests.wiring.running_command import RunningCommand, running_command

pytestmark = pytest.mark.ray

NUM_ITEMS, NUM_USERS, LENGTH = 12, 24, 9
MAX_EPOCHS = 4  # ASHA compares after 1 and 3
TRIALS = 4
# With the mask, and such a half-life, all but each user's last step is hardly learnt from: trials
# with it are worse, and as bad as each other, whatever runs beside them.
SETTINGS = f"""
model: {{kind: gru, hidden_dimension: 32, bptt: 8, dropout: 0.0, recency_mask: false,
         recency_half_life: 0.1}}
training: {{learning_rate: 0.02, batch_size: 8, max_epochs: {MAX_EPOCHS}, patience: 100}}
index: {{num_partitions: 2}}
"""
TUNE = ["tune", "dataset", "--releases", "releases", "--search", "search", "--trials", str(TRIALS)]
TUNE += ["--allow-little-data"]
TUNE += ["--config", "settings.yaml", "--space", "recency_mask=true,false", "--space", "bptt=8"]


def raysys(*arguments: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Run a command in this process: those that need Ray would fail in it."""
    main([*arguments, "--json"])
    line: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    return line


@pytest.fixture
def _world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a directory with a dataset in which item n is followed by item n + 1."""
    monkeypatch.chdir(tmp_path)
    rows = [
        f"user-{user:02},item-{(user + step) % NUM_ITEMS:02},{1_000_000 + step}"
        for user in range(NUM_USERS)
        for step in range(LENGTH)
    ]
    Path("log.csv").write_text("\n".join(["USER_ID,ITEM_ID,TIMESTAMP", *rows]) + "\n")
    Path("settings.yaml").write_text(SETTINGS)
    asked = ("import", "--interactions", "log.csv", "--to", "dataset", "--shards", "2")
    with running_command(*asked, directory=tmp_path) as command:
        assert command.result()["ok"]


def kill_once_a_trial_has_learnt(command: RunningCommand, files: SearchFiles) -> None:
    """Kill a search, the command alone, while a trial waits for its first verdict."""
    while not any(files.directory.glob("trials/*/results.json")):
        assert command.process.poll() is None, command.process.communicate()
        time.sleep(0.02)
    command.kill()


@pytest.mark.usefixtures("_world")
def test_a_search_that_was_killed_goes_on_and_its_best_trial_is_published(
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = SearchFiles(Path("search").absolute())
    with running_command(*TUNE, directory=Path.cwd()) as command:
        kill_once_a_trial_has_learnt(command, files)
    begun = {trial.number: trial for trial in files.trials()}
    assert any(trial.status == "open" and trial.values for trial in begun.values())
    assert not Path("releases").exists()
    other = raysys(*TUNE, "--seed", "9", capsys=capsys)
    assert "holds a search with another seed" in other["message"]

    with storage.locked(files.directory):
        second = raysys(*TUNE, capsys=capsys)
    assert "Another `raysys tune` is at work" in second["message"]

    with running_command(*TUNE, directory=Path.cwd()) as command:
        line = command.result()
    trials = files.trials()
    assert len(trials) == line["trials"] == TRIALS
    for trial in trials:
        before = begun[trial.number].values if trial.number in begun else []
        assert trial.values[: len(before)] == pytest.approx(before)
    _check_what_was_spent(files, line)
    _check_release(files, line)
    _check_other_index(line, capsys)


def _check_what_was_spent(files: SearchFiles, line: dict[str, Any]) -> None:
    defaults, *others = files.trials()
    assert defaults.hyperparameters == {"bptt": 8, "recency_mask": False}
    assert (defaults.status, len(defaults.values)) == ("finished", MAX_EPOCHS)
    stopped = [trial for trial in others if trial.status == "stopped"]
    assert stopped
    assert all(trial.hyperparameters["recency_mask"] for trial in stopped)
    assert {len(trial.values) for trial in stopped} <= {1, 3}
    epochs = sum(len(trial.values) for trial in [defaults, *others])
    assert line["epochs"] == epochs < line["epochs_to_the_end"] == TRIALS * MAX_EPOCHS
    assert line["ratio"] == pytest.approx(epochs / (TRIALS * MAX_EPOCHS))
    assert line["defaults"] == max(defaults.values)
    assert line["best"]["best"] == max(max(trial.values) for trial in [defaults, *others])
    assert not any(files.directory.glob("trials/*/run"))


def _check_release(files: SearchFiles, line: dict[str, Any]) -> None:
    """The published weights are those that reached the best value, not some later ones."""
    release = open_release(Path(line["release"]))
    release.verify()
    model = ReleasedModel(release)
    histories = open_dataset(Path("dataset")).histories(model.items)
    held = split(histories, LeaveLastOut()).validation
    measured = evaluate(model.retriever, held, [10]).means()["ndcg_at_10"]
    assert measured == pytest.approx(line["best"]["best"], abs=1e-6)
    winner = line["best"]["hyperparameters"]
    settings = release.read_json(CONFIG)["model"]
    assert {name: settings[name] for name in winner} == winner
    search = release.manifest.lineage["search"]
    assert search["best"] == line["best"]["number"]
    assert search["trials"] == [trial.to_json() for trial in files.trials()]


def _check_other_index(line: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    made = raysys(
        "release", "search", "--releases", "others", "--index", "HNSW8", "--partitions", "1",
        capsys=capsys,
    )  # fmt: skip
    first, other = open_release(Path(line["release"])), open_release(Path(made["release"]))
    weights = "model/weights.safetensors"
    assert other.manifest.files[weights] == first.manifest.files[weights]
    assert other.manifest.metrics == first.manifest.metrics
    assert (other.manifest.index_factory, other.manifest.num_partitions) == ("HNSW8", 1)

    path = Path("search/search.json")
    path.write_text(path.read_text().replace(first.manifest.lineage["import_id"], "another"))
    refused = raysys("release", "search", "--releases", "none", capsys=capsys)
    assert refused["error"] == "DatasetError"
    assert not Path("none").exists()
