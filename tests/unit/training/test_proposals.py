"""What Optuna is asked and told, and what it must not be asked twice."""

from pathlib import Path

import optuna
import pytest

from raysys.recipes import USER_PERSONALIZATION
from raysys.training.proposals import Proposals
from raysys.training.search_files import SearchFiles
from raysys.training.space import Space

SPACE = Space.of(USER_PERSONALIZATION, ["hidden_dimension=32:64", "recency_mask=true,false"])
DEFAULTS = {"hidden_dimension": 149, "recency_mask": True}  # outside of the space, on purpose


@pytest.fixture(autouse=True)
def _quiet() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.fixture
def files(tmp_path: Path) -> SearchFiles:
    files = SearchFiles(tmp_path / "search")
    files.claim({"metric": "ndcg_at_10"})
    return files


def proposals_of(files: SearchFiles, seed: int = 7) -> Proposals:
    return Proposals(files, SPACE, DEFAULTS, seed=seed)


def learnt(files: SearchFiles, number: int, *values: float) -> None:
    rows = ", ".join(f'{{"metrics": {{"ndcg_at_10": {value}}}}}' for value in values)
    (files.trial(number).directory / "results.json").write_text(f"[{rows}]")
    files.trial(number).end("finished")


def test_the_defaults_come_first_and_the_rest_lies_in_the_space(files: SearchFiles) -> None:
    proposals = proposals_of(files)
    configs = [proposals.suggest(f"t{number}") for number in range(1, 9)]
    assert configs[0] == {"number": 1, "hyperparameters": DEFAULTS}
    assert [config["number"] for config in configs] == list(range(1, 9))
    assert all(config["hyperparameters"] in SPACE for config in configs[1:])
    assert len({str(config["hyperparameters"]) for config in configs}) > 5
    written = [trial.hyperparameters for trial in files.trials()]
    assert written == [config["hyperparameters"] for config in configs]


def test_a_search_that_goes_on_draws_what_it_would_have_drawn(
    files: SearchFiles, tmp_path: Path
) -> None:
    at_once = proposals_of(files)
    drawn = [at_once.suggest(f"t{number}") for number in range(1, 6)]

    cut_off = SearchFiles(tmp_path / "cut-off")
    cut_off.claim({"metric": "ndcg_at_10"})
    first = proposals_of(cut_off)
    for number in range(1, 4):
        first.suggest(f"t{number}")
    for number in range(1, 4):
        cut_off.trial(number).end("failed")  # known, without a value that Optuna could learn from
    second = proposals_of(cut_off)
    assert [second.suggest("u4"), second.suggest("u5")] == drawn[3:]


def test_trials_that_were_cut_off_go_on_before_new_ones_begin(files: SearchFiles) -> None:
    first = proposals_of(files)
    drawn = [first.suggest(f"t{number}") for number in range(1, 4)]
    learnt(files, 2, 0.3)

    second = proposals_of(files)
    assert second.suggest("u1") == drawn[0]
    assert second.suggest("u3") == drawn[2]
    assert second.suggest("u4")["number"] == 4


def test_optuna_learns_the_best_value_of_every_trial_in_the_space(files: SearchFiles) -> None:
    first = proposals_of(files)
    for number in (1, 2, 3):
        first.suggest(f"t{number}")
    learnt(files, 1, 0.9)
    learnt(files, 2, 0.1, 0.4, 0.2)
    files.trial(3).end("failed", "no luck")
    for number in (1, 2, 3):
        first.on_trial_complete(f"t{number}", {"value": 0.0})
    known = {trial.number: trial for trial in first._ot_study.trials}
    assert [trial.state.name for trial in known.values()] == ["COMPLETE", "FAIL"]
    assert known[0].value == 0.4

    second = proposals_of(files)
    assert [trial.value for trial in second._ot_study.trials] == [0.4]
