"""ASHA as a search uses it: fed by hand with what trials would report."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from raysys.training.halving import EPOCH, Halving, rungs
from raysys.training.proposals import VALUE
from raysys.training.search_files import SearchFiles

MAX_EPOCHS = 9


@pytest.fixture
def files(tmp_path: Path) -> SearchFiles:
    files = SearchFiles(tmp_path / "search")
    files.claim({"metric": "ndcg_at_10"})
    return files


def trial_of(files: SearchFiles, halving: Halving, number: int) -> Any:
    files.trial(number).begin({})
    trial = SimpleNamespace(trial_id=f"t{number}", config={"number": number})
    halving.on_trial_add(None, trial)
    return trial


def report(halving: Halving, trial: Any, epoch: int, value: float) -> str:
    return halving.on_trial_result(None, trial, {EPOCH: epoch, VALUE: value})


@pytest.mark.parametrize(
    ("max_epochs", "expected"), [(1, set()), (2, {1}), (9, {1, 3}), (10, {2, 6}), (20, {4, 12})]
)
def test_trials_are_compared_after_a_fifth_of_the_epochs_and_then_threefold(
    max_epochs: int, expected: set[int]
) -> None:
    assert rungs(max_epochs) == expected


def test_a_trial_below_the_best_third_is_told_to_end_and_tune_is_not(files: SearchFiles) -> None:
    halving = Halving(files, MAX_EPOCHS)
    trials = [trial_of(files, halving, number) for number in range(1, 6)]
    # Each is compared with the values before it: the first has none to be compared with.
    values = [0.30, 0.10, 0.40, 0.29, 0.35]
    decisions = {
        report(halving, trial, 1, value) for trial, value in zip(trials, values, strict=True)
    }
    assert decisions == {"CONTINUE"}
    verdicts = {number: files.trial(number).verdicts() for number in range(1, 6)}
    # Thresholds, the 66.7th percentile of the values before: -, 0.30, 0.2333.., 0.3333.., 0.30
    assert verdicts == {
        1: {"1": False},
        2: {"1": True},
        3: {"1": False},
        4: {"1": True},
        5: {"1": False},
    }


def test_the_defaults_are_never_stopped_but_count_for_the_others(files: SearchFiles) -> None:
    halving = Halving(files, MAX_EPOCHS)
    defaults, other, third = (trial_of(files, halving, number) for number in (1, 2, 3))
    report(halving, other, 1, 0.5)
    report(halving, defaults, 1, 0.1)
    report(halving, third, 1, 0.45)
    assert files.trial(1).verdicts() == {"1": False}
    # of 0.5 and 0.1 the percentile is 0.3667; without the defaults' 0.1 it would be 0.5
    assert files.trial(3).verdicts() == {"1": False}


def test_between_the_rungs_and_at_the_end_nothing_is_said(files: SearchFiles) -> None:
    halving = Halving(files, MAX_EPOCHS)
    trial = trial_of(files, halving, 2)
    for epoch in (1, 2, 3, 4, 10):
        assert report(halving, trial, epoch, 0.1) == "CONTINUE"
    assert files.trial(2).verdicts() == {"1": False, "3": False}


def test_a_search_that_goes_on_compares_with_the_trials_from_before(
    files: SearchFiles,
) -> None:
    began = Halving(files, MAX_EPOCHS)
    trial = trial_of(files, began, 2)
    _has_learnt(files, 2, [0.5, 0.5])
    report(began, trial, 1, 0.5)
    files.trial(2).end("stopped")

    goes_on = Halving(files, MAX_EPOCHS)
    report(goes_on, trial_of(files, goes_on, 3), 1, 0.4)
    assert files.trial(3).verdicts() == {"1": True}


def test_a_trial_that_was_cut_off_before_its_verdict_gets_it_at_once(files: SearchFiles) -> None:
    began = Halving(files, MAX_EPOCHS)
    for number, value in ((1, 0.5), (2, 0.1), (3, 0.5)):
        trial_of(files, began, number)
        _has_learnt(files, number, [value, 0.9])
    for number in (1, 3):  # the process was killed before it judged trial 2
        files.trial(number).judge(1, is_over=False)

    goes_on = Halving(files, MAX_EPOCHS)
    for number in (1, 2, 3):
        trial = SimpleNamespace(trial_id=f"u{number}", config={"number": number})
        goes_on.on_trial_add(None, trial)
    assert files.trial(2).verdicts() == {"1": True}
    assert files.trial(3).verdicts() == {"1": False}


def _has_learnt(files: SearchFiles, number: int, values: list[float]) -> None:
    rows = ", ".join(f'{{"metrics": {{"ndcg_at_10": {value}}}}}' for value in values)
    (files.trial(number).directory / "results.json").write_text(f"[{rows}]")
