"""A search's directory, also when the process was killed at the worst moment."""

from pathlib import Path

import pytest
import torch

from raysys import storage
from raysys.config import GruConfig
from raysys.errors import ConfigError, SourceError
from raysys.models.base import EmbeddingModel
from raysys.models.build import build_model
from raysys.models.weights import load_model
from raysys.training.checkpoint import EpochResult
from raysys.training.search_files import SearchFiles, Trial, TrialFiles, best_of

SEARCH = {"metric": "ndcg_at_10", "seed": 1, "space": {"bptt": "2:32"}}
VOCABULARY = "abc"


@pytest.fixture
def files(tmp_path: Path) -> SearchFiles:
    files = SearchFiles(tmp_path / "search")
    files.claim(SEARCH)
    return files


@pytest.fixture
def trial(files: SearchFiles) -> TrialFiles:
    trial = files.trial(1)
    trial.begin({"bptt": 8})
    return trial


def model_of_epoch(epoch: int) -> EmbeddingModel:
    model = build_model(GruConfig(hidden_dimension=8), num_items=3, num_users=1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(epoch)
    return model


def results(*values: float) -> list[EpochResult]:
    return [
        EpochResult(epoch, 1.0, {"ndcg_at_10": value}, 1.0, 1.0, 0.1)
        for epoch, value in enumerate(values, start=1)
    ]


def learn(trial: TrialFiles, *values: float) -> None:
    """Take down every epoch in turn, up to the last of `values`."""
    for epoch in range(1, len(values) + 1):
        trial.keep(
            model_of_epoch(epoch), results(*values[:epoch]), num_users=1, vocabulary=VOCABULARY
        )


def epoch_of_best_model(trial: TrialFiles) -> int:
    model = load_model(trial.best_model(), vocabulary=VOCABULARY)
    return int(next(model.parameters()).flatten()[-1])


def test_a_trial_keeps_the_model_of_its_best_epoch_and_no_other(trial: TrialFiles) -> None:
    learn(trial, 0.1, 0.3, 0.2, 0.3)
    read = trial.read()
    assert read == Trial(1, {"bptt": 8}, "open", [0.1, 0.3, 0.2, 0.3])
    assert (read.best_epoch, read.best) == (2, 0.3)
    assert epoch_of_best_model(trial) == 2
    assert len(list(trial.directory.glob("model-*"))) == 1


def test_epochs_that_are_learnt_again_after_a_kill_change_nothing(trial: TrialFiles) -> None:
    learn(trial, 0.1, 0.3, 0.2)
    learn(trial, 0.1, 0.3, 0.2, 0.4)
    assert trial.read().values == [0.1, 0.3, 0.2, 0.4]
    assert epoch_of_best_model(trial) == 4


def test_a_kill_before_the_epoch_was_taken_down_leaves_the_best_model_so_far(
    trial: TrialFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(trial, 0.1, 0.3)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_json", _die)
        with pytest.raises(KeyboardInterrupt):
            learn(trial, 0.1, 0.3, 0.4)
    assert trial.read().values == [0.1, 0.3]
    assert epoch_of_best_model(trial) == 2
    learn(trial, 0.1, 0.3, 0.4)
    assert epoch_of_best_model(trial) == 3


def test_how_a_trial_ended_and_what_was_said_of_its_epochs_comes_back(trial: TrialFiles) -> None:
    learn(trial, 0.2)
    trial.judge(1, is_over=False)
    trial.judge(3, is_over=True)
    assert trial.verdicts() == {"1": False, "3": True}
    trial.end("failed", "no luck")
    read = trial.read()
    assert (read.status, read.reason, read.values) == ("failed", "no luck", [0.2])


def test_a_row_of_the_table_has_no_value_where_nothing_was_learnt(trial: TrialFiles) -> None:
    assert trial.read().to_json() == {
        "number": 1,
        "hyperparameters": {"bptt": 8},
        "status": "open",
        "epochs": 0,
        "best_epoch": None,
        "best": None,
        "reason": None,
    }


def test_trials_come_in_the_order_of_their_numbers(files: SearchFiles) -> None:
    for number in (10, 2, 1):
        files.trial(number).begin({"bptt": number})
    assert [trial.number for trial in files.trials()] == [1, 2, 10]


def test_the_best_trial_is_the_first_with_the_highest_value_of_any_epoch() -> None:
    trials = [
        Trial(1, {}, "finished", [0.1, 0.2]),
        Trial(2, {}, "stopped", [0.5, 0.1]),
        Trial(3, {}, "finished", [0.3, 0.5]),
        Trial(4, {}, "failed", []),
    ]
    assert best_of(trials) == trials[1]
    assert best_of(trials[3:]) is None


def test_the_same_search_goes_on_and_another_one_is_refused_by_what_differs(
    files: SearchFiles,
) -> None:
    files.claim(dict(SEARCH))
    with pytest.raises(ConfigError, match="another seed and another space, and its trials"):
        files.claim(SEARCH | {"seed": 2, "space": {"bptt": "2:8"}})
    assert files.search() == SEARCH


def test_a_directory_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("of great value")
    with pytest.raises(ConfigError, match="holds 'thesis.txt'"):
        SearchFiles(tmp_path).claim(SEARCH)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_directory_without_a_search_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="There is no search at"):
        SearchFiles(tmp_path / "nothing").search()


def _die(*_: object) -> None:
    raise KeyboardInterrupt
