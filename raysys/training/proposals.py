"""Which hyperparameters a search tries next: Optuna proposes, through Ray Tune's door to it."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from ray.tune.search.optuna import OptunaSearch

from raysys.training.search_files import SearchFiles, Trial
from raysys.training.space import Choice, Range, Space, Value

VALUE = "value"
"""What a trial reports to Ray Tune: the best of the metric so far."""
DEFAULTS = 1
"""The number of the trial that has the defaults."""
_RANDOM_TRIALS = 5  # before Optuna's model proposes


class Proposals(OptunaSearch):
    """Goes on with trials that were cut off, then has the defaults, then asks Optuna."""

    def __init__(
        self, files: SearchFiles, space: Space, defaults: Mapping[str, Value], *, seed: int
    ) -> None:
        distributions = {name: _distribution(each) for name, each in space.dimensions.items()}
        super().__init__(space=distributions, metric=VALUE, mode="max", seed=seed)
        trials = files.trials()
        self._files = files
        self._chosen_from = space
        self._defaults = defaults
        self._first_seed = seed
        self._open = [trial for trial in trials if trial.status == "open"]
        self._num_trials = len(trials)
        self._numbers: dict[str, int] = {}  # of trials, by their ids in Ray Tune
        for trial in trials:
            if trial.status != "open":
                self._learn_from(trial)

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """Return the config of the next trial, whose files are there by then."""
        if self._open:
            trial = self._open.pop(0)
            number, hyperparameters = trial.number, trial.hyperparameters
        else:
            self._num_trials += 1
            number = self._num_trials
            hyperparameters = self._new_hyperparameters(trial_id, number)
            self._files.trial(number).begin(hyperparameters)
        self._numbers[trial_id] = number
        return {"number": number, "hyperparameters": hyperparameters}

    def _new_hyperparameters(self, trial_id: str, number: int) -> dict[str, Value]:
        if number == DEFAULTS:
            return dict(self._defaults)
        # Seeded by the number: a search that goes on does not draw the same once more.
        seed = np.random.SeedSequence((self._first_seed, number)).generate_state(1)[0]
        study: Any = self._ot_study
        study.sampler = optuna.samplers.TPESampler(seed=int(seed), n_startup_trials=_RANDOM_TRIALS)
        return super().suggest(trial_id) or {}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Do nothing: Optuna does not stop trials here."""

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        trial = self._files.trial(self._numbers[trial_id]).read()
        if trial_id in self._ot_trials:
            value = {VALUE: trial.best} if trial.values else None
            super().on_trial_complete(trial_id, value, error=not trial.values)
        else:
            self._learn_from(trial)

    def _learn_from(self, trial: Trial) -> None:
        if trial.values and trial.hyperparameters in self._chosen_from:
            self.add_evaluated_point(trial.hyperparameters, trial.best)


def _distribution(dimension: Range | Choice) -> BaseDistribution:
    if isinstance(dimension, Choice):
        return CategoricalDistribution(dimension.values)
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return IntDistribution(dimension.low, dimension.high)
    return FloatDistribution(dimension.low, dimension.high)
